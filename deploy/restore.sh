#!/usr/bin/env bash
# Restores a backup into an empty data folder: deploy/restore.sh BACKUP_DIR DATA_DIR. firedamp must not run.
set -euo pipefail
from=${1:?usage: restore.sh BACKUP_DIR DATA_DIR} data=${2:?usage: restore.sh BACKUP_DIR DATA_DIR}
[ -d "$from" ] || { echo "restore: $from is no folder" >&2; exit 2; }
[ -z "$(ls -A "$data" 2> /dev/null)" ] || { echo "restore: $data is not empty" >&2; exit 2; }
mkdir -p "$data"
cp -a "$from/." "$data/"
echo "restore: done; start firedamp, then compare: firedamp balance"
