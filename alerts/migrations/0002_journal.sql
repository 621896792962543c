-- Events become the journal: also what is about no alarm, or changes none; each entry's hash covers the one before it. The events that
-- are there are chained when the file is opened.
ALTER TABLE events RENAME TO journal;
ALTER TABLE journal ADD COLUMN detail TEXT NOT NULL DEFAULT '';
ALTER TABLE journal ADD COLUMN hash BLOB NOT NULL DEFAULT x'';

-- The feed of alarms is asked for what is new ten times a second.
CREATE INDEX journal_of_alarms ON journal (seq) WHERE alarm <> '';

-- What a person put aside.
CREATE TABLE shelves (
    rule     TEXT NOT NULL,
    point_id INTEGER NOT NULL,
    class    INTEGER NOT NULL,
    until    INTEGER NOT NULL,
    shelf    TEXT NOT NULL,                    -- JSON: who, why, since when, up to which severity
    PRIMARY KEY (rule, point_id, class)
) WITHOUT ROWID;
CREATE INDEX shelves_over ON shelves (until);
