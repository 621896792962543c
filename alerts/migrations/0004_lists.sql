-- How much each receiver was told lately, and what it is told as one list instead.
CREATE TABLE floods (
    receiver TEXT PRIMARY KEY,
    due      INTEGER,                          -- when its list goes out; nothing while nothing is listed
    flood    TEXT NOT NULL                     -- JSON: times of the newest messages, and whether it is in a flood
);
CREATE TABLE listed (
    receiver TEXT NOT NULL,
    alarm_id TEXT NOT NULL,
    PRIMARY KEY (receiver, alarm_id)
) WITHOUT ROWID;
