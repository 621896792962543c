-- How long nobody has acknowledged an alarm, and what was done about that: columns, since the first delivery starts the clock.
ALTER TABLE alarms ADD COLUMN since INTEGER NOT NULL DEFAULT 0;     -- 0: no clock runs
ALTER TABLE alarms ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;     -- the decision that it began with
ALTER TABLE alarms ADD COLUMN escalated INTEGER NOT NULL DEFAULT 0; -- microseconds after `since` up to which it was; -1: other routes
ALTER TABLE alarms ADD COLUMN reminded INTEGER NOT NULL DEFAULT 0;  -- the same of reminders
ALTER TABLE alarms ADD COLUMN next_at INTEGER;                      -- when to look again
CREATE INDEX alarms_next ON alarms (next_at) WHERE next_at IS NOT NULL;
