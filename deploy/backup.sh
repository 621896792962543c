#!/usr/bin/env bash
# Backs up alarm database, log, rule snapshots and table of a data folder: deploy/backup.sh DATA_DIR BACKUP_DIR
# Order matters: alarms first, then snapshots and log, the table last. A restored alarm store or snapshot that is older than the log is
# brought up by replay, with the same ids; the other way round something would be missing. Stop firedamp for a copy of the log that
# is exact; a copy of a running one ends somewhere in its last records, and what devices sent after it is not in it.
set -euo pipefail
data=${1:?usage: backup.sh DATA_DIR BACKUP_DIR} to=${2:?usage: backup.sh DATA_DIR BACKUP_DIR}
[ -d "$data" ] || { echo "backup: $data is no folder" >&2; exit 2; }
[ ! -e "$to" ] || { echo "backup: $to is there already" >&2; exit 2; }
mkdir -p "$to"
if [ -e "$data/alarms.db" ]; then
  sqlite3 "$data/alarms.db" ".backup '$to/alarms.db'"
else
  echo "backup: there is no $data/alarms.db: alarms in PostgreSQL are saved by pg_dump, before the rest" >&2
fi
for part in rules log lake registered.csv; do
  [ ! -e "$data/$part" ] || cp -a "$data/$part" "$to/"
done
rm -f "$to/log/lock"
echo "backup: $(du -sh "$to" | cut -f1) in $to"
