-- Alarms, their events, the outbox, and where the reader of each partition stands.
CREATE TABLE alarms (
    id              TEXT PRIMARY KEY,
    class           INTEGER NOT NULL,          -- 0 live, 1 late, 2 drill
    rule            TEXT NOT NULL,
    point_id        INTEGER NOT NULL,
    site            TEXT NOT NULL,
    partition_no    INTEGER NOT NULL,
    active          INTEGER NOT NULL,
    opened          INTEGER NOT NULL,          -- microseconds UTC
    told            INTEGER NOT NULL,
    held            INTEGER NOT NULL,
    top             TEXT NOT NULL,             -- JSON of the highest level it reached
    last_transition TEXT NOT NULL,
    changed         INTEGER NOT NULL,
    levels          TEXT NOT NULL,             -- JSON of the levels that are on
    alarm           TEXT NOT NULL              -- JSON as lists show it
);
-- An alarm never exists twice.
CREATE UNIQUE INDEX alarms_active ON alarms (rule, point_id, class) WHERE active = 1;
CREATE INDEX alarms_listed ON alarms (active DESC, opened DESC);
CREATE INDEX alarms_of_site ON alarms (site, active DESC, opened DESC);
CREATE INDEX alarms_held ON alarms (partition_no) WHERE held = 1;

CREATE TABLE transitions (
    id TEXT PRIMARY KEY,
    at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX transitions_at ON transitions (at);

CREATE TABLE events (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    alarm_id TEXT NOT NULL,
    event    TEXT NOT NULL,
    at       INTEGER NOT NULL,
    by       TEXT NOT NULL,
    note     TEXT NOT NULL,
    alarm    TEXT NOT NULL
);
CREATE INDEX events_of_alarm ON events (alarm_id, seq);

CREATE TABLE outbox (
    key      TEXT PRIMARY KEY,
    receiver TEXT NOT NULL,
    body     BLOB NOT NULL,
    state    INTEGER NOT NULL,                 -- 0 pending, 1 delivered, 2 dead
    attempts INTEGER NOT NULL,
    created  INTEGER NOT NULL,
    next_at  INTEGER NOT NULL,
    settled  INTEGER,
    error    TEXT NOT NULL
);
CREATE INDEX outbox_due ON outbox (receiver, created, key) WHERE state = 0;

CREATE TABLE positions (
    partition_no INTEGER PRIMARY KEY,
    next         INTEGER NOT NULL
);
