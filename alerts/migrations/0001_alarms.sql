-- Alarms, their events, the outbox, and where the reader of each partition stands. Times are microseconds UTC.
CREATE TABLE alarms (
    n               INTEGER PRIMARY KEY,       -- order in which they came
    id              TEXT NOT NULL UNIQUE,
    class           INTEGER NOT NULL,          -- 0 live, 1 late, 2 drill
    rule            TEXT NOT NULL,
    point_id        INTEGER NOT NULL,
    site            TEXT NOT NULL,
    region          TEXT NOT NULL,
    severity        INTEGER NOT NULL,          -- 0 red ... 3 blue
    partition_no    INTEGER NOT NULL,
    active          INTEGER NOT NULL,
    opened          INTEGER NOT NULL,
    held            INTEGER NOT NULL,
    last_transition TEXT NOT NULL,
    decided         INTEGER NOT NULL,
    told            TEXT NOT NULL,             -- JSON: who was told, and what
    top             TEXT NOT NULL,             -- JSON of the highest level it reached
    levels          TEXT NOT NULL,             -- JSON of the levels that are on
    alarm           TEXT NOT NULL              -- JSON as lists show it
);
-- An alarm never exists twice.
CREATE UNIQUE INDEX alarms_active ON alarms (rule, point_id, class) WHERE active = 1;
CREATE INDEX alarms_listed ON alarms (active, opened, n);
CREATE INDEX alarms_of_site ON alarms (site, active, opened, n);
CREATE INDEX alarms_of_severity ON alarms (severity, active, opened, n);
-- A region, a city, a province: each prefix of its own, so that a page of any of them is a walk along an index.
CREATE INDEX alarms_of_region ON alarms (region, active, opened, n);
CREATE INDEX alarms_of_city ON alarms (substr(region, 1, 4), active, opened, n);
CREATE INDEX alarms_of_province ON alarms (substr(region, 1, 2), active, opened, n);
CREATE INDEX alarms_held ON alarms (partition_no) WHERE held = 1;

-- Ids that were taken.
CREATE TABLE transitions (
    id TEXT PRIMARY KEY,
    at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX transitions_at ON transitions (at);

CREATE TABLE events (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    alarm_id TEXT NOT NULL,
    event    TEXT NOT NULL,
    rose     INTEGER NOT NULL,                 -- the alarm was worse after it
    at       INTEGER NOT NULL,
    by       TEXT NOT NULL,
    note     TEXT NOT NULL,
    alarm    TEXT NOT NULL
);
CREATE INDEX events_of_alarm ON events (alarm_id, seq);

CREATE TABLE outbox (
    n        INTEGER PRIMARY KEY AUTOINCREMENT, -- order in which they are told
    key      TEXT NOT NULL UNIQUE,
    receiver TEXT NOT NULL,
    alarm_id TEXT NOT NULL,                    -- empty for a digest
    drill    INTEGER NOT NULL,
    quiet    INTEGER NOT NULL,                 -- its loss raises no alarm
    body     BLOB NOT NULL,
    state    INTEGER NOT NULL,                 -- 0 pending, 1 delivered, 2 dead
    attempts INTEGER NOT NULL,
    created  INTEGER NOT NULL,
    next_at  INTEGER NOT NULL,
    settled  INTEGER,
    error    TEXT NOT NULL
);
CREATE INDEX outbox_pending ON outbox (receiver, n, next_at, alarm_id) WHERE state = 0;
CREATE INDEX outbox_of_alarm ON outbox (receiver, alarm_id, n) WHERE state = 0;
CREATE INDEX outbox_delivered ON outbox (settled) WHERE state = 1;

-- Alarms that wait for the next digest.
CREATE TABLE digest (
    alarm_id TEXT PRIMARY KEY,
    added    INTEGER NOT NULL,
    due      INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX digest_due ON digest (due);

CREATE TABLE positions (
    partition_no INTEGER PRIMARY KEY,
    next         INTEGER NOT NULL,
    held         INTEGER NOT NULL
);

-- Sums, so that nobody counts rows.
CREATE TABLE totals (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    raised    INTEGER NOT NULL,
    cleared   INTEGER NOT NULL,
    withdrawn INTEGER NOT NULL,
    sent      INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    dead      INTEGER NOT NULL
);
INSERT INTO totals VALUES (1, 0, 0, 0, 0, 0, 0);
