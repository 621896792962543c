//! The reads and writes of one transaction in SQLite.

use super::super::{Settled, ShelfKey, Tables, text};
use super::{failed, json};
use crate::journal::{Entry, Hash, Head, NOTHING};
use crate::life::{Class, Row};
use crate::{Counts, OutboxRow, StoreError};
use async_trait::async_trait;
use model::{AlarmState, Micros, Shelved};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _, Sqlite};

/// One transaction.
pub(super) struct Transaction<'c> {
    pub inner: sqlx::Transaction<'c, Sqlite>,
}

const ROW: &str = "class, point_id, partition_no, held, last_transition, decided, told, top, levels, alarm";

/// Messages of one statement.
const TOGETHER: usize = 64;

fn class_of(stored: i64) -> Result<Class, StoreError> {
    Class::stored(stored).ok_or_else(|| StoreError::Format(format!("an alarm has class {stored}")))
}

fn read_row(r: &SqliteRow) -> Result<Row, StoreError> {
    let class = class_of(r.try_get(0).map_err(failed)?)?;
    let column = |i: usize| r.try_get::<&str, _>(i).map_err(failed);
    Ok(Row {
        class,
        point_id: r.try_get(1).map_err(failed)?,
        partition: r.try_get(2).map_err(failed)?,
        held: r.try_get(3).map_err(failed)?,
        last_transition: r.try_get(4).map_err(failed)?,
        decided: r.try_get(5).map_err(failed)?,
        told: json(column(6)?)?,
        top: json(column(7)?)?,
        levels: json(column(8)?)?,
        alarm: json(column(9)?)?,
    })
}

/// Number and hash of the newest entry of the journal.
pub(super) const HEAD: &str = "SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1";

/// Columns of [`read_entry`].
pub(super) const ENTRY: &str = "seq, at, event, alarm_id, rose, by, note, detail, alarm, hash";

pub(super) fn read_head(r: &SqliteRow) -> Result<Head, StoreError> {
    Ok(Head { seq: r.try_get(0).map_err(failed)?, hash: hash(r, 1)? })
}

/// One that is no hash is none that fits.
fn hash(r: &SqliteRow, column: usize) -> Result<Hash, StoreError> {
    Ok(r.try_get::<&[u8], _>(column).map_err(failed)?.try_into().unwrap_or_default())
}

pub(super) fn read_entry(r: &SqliteRow) -> Result<Entry, StoreError> {
    let text = |i: usize| r.try_get(i).map_err(failed);
    Ok(Entry {
        seq: r.try_get(0).map_err(failed)?,
        at: r.try_get(1).map_err(failed)?,
        event: text(2)?,
        alarm_id: text(3)?,
        rose: r.try_get(4).map_err(failed)?,
        by: text(5)?,
        note: text(6)?,
        detail: text(7)?,
        alarm: text(8)?,
        hash: hash(r, 9)?,
    })
}

/// Columns of [`read_outbox`].
pub(super) const OUTBOX: &str = "key, receiver, alarm_id, drill, quiet, body, attempts, created, next_at";

pub(super) fn read_outbox(r: &SqliteRow) -> Result<OutboxRow, StoreError> {
    let read = || -> sqlx::Result<OutboxRow> {
        Ok(OutboxRow {
            key: r.try_get(0)?,
            receiver: r.try_get(1)?,
            alarm: r.try_get(2)?,
            drill: r.try_get(3)?,
            quiet: r.try_get(4)?,
            body: r.try_get(5)?,
            attempts: r.try_get(6)?,
            created: r.try_get(7)?,
            next_at: r.try_get(8)?,
        })
    };
    read().map_err(failed)
}

impl Transaction<'_> {
    async fn rows(&mut self, wanted: &str, value: i64) -> Result<Vec<Row>, StoreError> {
        let sql = format!("SELECT {ROW} FROM alarms WHERE {wanted}");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(value);
        query.fetch_all(&mut *self.inner).await.map_err(failed)?.iter().map(read_row).collect()
    }

    async fn is_empty(&mut self, sql: &'static str, value: Micros) -> Result<bool, StoreError> {
        let found: Option<i64> =
            sqlx::query_scalar(sql).bind(value).fetch_optional(&mut *self.inner).await.map_err(failed)?;
        Ok(found.is_none())
    }
}

#[async_trait]
impl Tables for Transaction<'_> {
    async fn position(&mut self, partition: u32) -> Result<u64, StoreError> {
        let sql = "SELECT next FROM positions WHERE partition_no = ?";
        let next: Option<i64> =
            sqlx::query_scalar(sql).bind(partition).fetch_optional(&mut *self.inner).await.map_err(failed)?;
        Ok(next.unwrap_or(0) as u64)
    }

    async fn set_position(&mut self, partition: u32, next: u64, held: bool) -> Result<(), StoreError> {
        let sql = "INSERT INTO positions VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET next = excluded.next, held = excluded.held";
        let query = sqlx::query(sql).bind(partition).bind(next as i64).bind(held);
        query.execute(&mut *self.inner).await.map_err(failed).map(|_| ())
    }

    async fn remember(&mut self, id: &str, at: Micros) -> Result<bool, StoreError> {
        let query = sqlx::query("INSERT OR IGNORE INTO transitions VALUES (?, ?)").bind(id).bind(at);
        Ok(query.execute(&mut *self.inner).await.map_err(failed)?.rows_affected() > 0)
    }

    async fn forget(
        &mut self,
        ids_before: Micros,
        delivered_before: Micros,
        limit: i64,
    ) -> Result<(), StoreError> {
        for (sql, before) in [
            (
                "DELETE FROM transitions WHERE id IN (SELECT id FROM transitions WHERE at < ? LIMIT ?)",
                ids_before,
            ),
            (
                "DELETE FROM outbox WHERE n IN (SELECT n FROM outbox WHERE state = 1 AND settled < ? LIMIT ?)",
                delivered_before,
            ),
        ] {
            sqlx::query(sql).bind(before).bind(limit).execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn active(&mut self, rule: &str, point_id: i64, class: Class) -> Result<Option<Row>, StoreError> {
        let sql =
            format!("SELECT {ROW} FROM alarms WHERE rule = ? AND point_id = ? AND class = ? AND active = 1");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(rule).bind(point_id).bind(class as i64);
        query.fetch_optional(&mut *self.inner).await.map_err(failed)?.as_ref().map(read_row).transpose()
    }

    async fn row(&mut self, id: &str) -> Result<Option<Row>, StoreError> {
        let sql = format!("SELECT {ROW} FROM alarms WHERE id = ?");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(id);
        query.fetch_optional(&mut *self.inner).await.map_err(failed)?.as_ref().map(read_row).transpose()
    }

    async fn held(&mut self, partition: u32) -> Result<Vec<Row>, StoreError> {
        self.rows("held = 1 AND partition_no = ? ORDER BY n", partition.into()).await
    }

    async fn put(&mut self, row: &Row) -> Result<(), StoreError> {
        let sql = "INSERT INTO alarms (id, class, rule, point_id, site, region, severity, partition_no, active, opened, held, \
                   last_transition, decided, told, top, levels, alarm) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
                   ON CONFLICT (id) DO UPDATE SET severity = excluded.severity, active = excluded.active, held = excluded.held, \
                   last_transition = excluded.last_transition, decided = excluded.decided, told = excluded.told, \
                   top = excluded.top, levels = excluded.levels, alarm = excluded.alarm";
        let a = &row.alarm;
        let query = sqlx::query(sql)
            .bind(&a.id)
            .bind(row.class as i64)
            .bind(&a.rule)
            .bind(row.point_id)
            .bind(&a.site)
            .bind(&a.place.region)
            .bind(a.severity as i64)
            .bind(row.partition)
            .bind(a.state == AlarmState::Active)
            .bind(a.opened)
            .bind(row.held)
            .bind(&row.last_transition)
            .bind(row.decided)
            .bind(text(&row.told))
            .bind(text(&row.top))
            .bind(text(&row.levels))
            .bind(text(a));
        query.execute(&mut *self.inner).await.map_err(failed).map(|_| ())
    }

    async fn head(&mut self) -> Result<Head, StoreError> {
        let row = sqlx::query(HEAD).fetch_optional(&mut *self.inner).await.map_err(failed)?;
        row.as_ref().map_or(Ok(NOTHING), read_head)
    }

    async fn append(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let sql = format!("INSERT INTO journal ({ENTRY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(entry.seq)
            .bind(entry.at)
            .bind(&entry.event)
            .bind(&entry.alarm_id)
            .bind(entry.rose)
            .bind(&entry.by)
            .bind(&entry.note)
            .bind(&entry.detail)
            .bind(&entry.alarm)
            .bind(&entry.hash[..]);
        query.execute(&mut *self.inner).await.map_err(failed).map(|_| ())
    }

    async fn shelf(&mut self, (rule, point_id, class): ShelfKey<'_>) -> Result<Option<Shelved>, StoreError> {
        let sql = "SELECT shelf FROM shelves WHERE rule = ? AND point_id = ? AND class = ?";
        let query = sqlx::query_scalar(sql).bind(rule).bind(point_id).bind(class as i64);
        let shelf: Option<String> = query.fetch_optional(&mut *self.inner).await.map_err(failed)?;
        shelf.map(|s| json(&s)).transpose()
    }

    async fn set_shelf(
        &mut self,
        (rule, point_id, class): ShelfKey<'_>,
        shelf: Option<&Shelved>,
    ) -> Result<(), StoreError> {
        let sql = match shelf {
            Some(_) => {
                "INSERT OR REPLACE INTO shelves (rule, point_id, class, until, shelf) VALUES (?, ?, ?, ?, ?)"
            }
            None => "DELETE FROM shelves WHERE rule = ? AND point_id = ? AND class = ?",
        };
        let mut query = sqlx::query(sql).bind(rule).bind(point_id).bind(class as i64);
        if let Some(shelf) = shelf {
            query = query.bind(shelf.until).bind(text(shelf));
        }
        query.execute(&mut *self.inner).await.map_err(failed).map(|_| ())
    }

    async fn shelves_over(
        &mut self,
        now: Micros,
        limit: usize,
    ) -> Result<Vec<(String, i64, Class)>, StoreError> {
        let sql = "SELECT rule, point_id, class FROM shelves WHERE until <= ? ORDER BY until LIMIT ?";
        let query = sqlx::query_as(sql).bind(now).bind(limit as i64);
        let rows: Vec<(String, i64, i64)> = query.fetch_all(&mut *self.inner).await.map_err(failed)?;
        rows.into_iter().map(|(rule, point_id, class)| Ok((rule, point_id, class_of(class)?))).collect()
    }

    async fn rose_after(&mut self, id: &str, seq: i64) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM journal WHERE alarm_id = ? AND seq > ? AND rose = 1)";
        sqlx::query_scalar(sql).bind(id).bind(seq).fetch_one(&mut *self.inner).await.map_err(failed)
    }

    async fn send(&mut self, messages: &[OutboxRow]) -> Result<u64, StoreError> {
        let mut new = 0;
        // Two forms of the statement only, so that both stay prepared.
        let (together, single) = messages.split_at(messages.len() / TOGETHER * TOGETHER);
        for some in together.chunks(TOGETHER).chain(single.chunks(1)) {
            let values = vec!["(?, ?, ?, ?, ?, ?, 0, 0, ?, ?, '')"; some.len()].join(", ");
            let sql = format!(
                "INSERT INTO outbox (key, receiver, alarm_id, drill, quiet, body, state, attempts, created, next_at, error) \
                 VALUES {values} ON CONFLICT (key) DO NOTHING"
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for m in some {
                query = query
                    .bind(&m.key)
                    .bind(&m.receiver)
                    .bind(&m.alarm)
                    .bind(m.drill)
                    .bind(m.quiet)
                    .bind(&m.body);
                query = query.bind(m.created).bind(m.next_at);
            }
            new += query.execute(&mut *self.inner).await.map_err(failed)?.rows_affected();
        }
        Ok(new)
    }

    async fn digest_add(&mut self, id: &str, now: Micros, due: Micros) -> Result<(), StoreError> {
        let query = sqlx::query("INSERT OR IGNORE INTO digest VALUES (?, ?, ?)").bind(id).bind(now).bind(due);
        query.execute(&mut *self.inner).await.map_err(failed).map(|_| ())
    }

    async fn digest_take(
        &mut self,
        now: Micros,
        held_before: Micros,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        if self.is_empty("SELECT 1 FROM digest WHERE due <= ? LIMIT 1", now).await? {
            return Ok(Vec::new());
        }
        let held = "SELECT 1 FROM positions WHERE held = 1 AND NOT EXISTS (SELECT 1 FROM digest WHERE added <= ?) LIMIT 1";
        if !self.is_empty(held, held_before).await? {
            return Ok(Vec::new());
        }
        let taken = "id IN (SELECT alarm_id FROM digest ORDER BY due, alarm_id LIMIT ?) ORDER BY n";
        let rows = self.rows(taken, limit as i64).await?;
        let sql = "DELETE FROM digest WHERE alarm_id IN (SELECT alarm_id FROM digest ORDER BY due, alarm_id LIMIT ?)";
        sqlx::query(sql).bind(limit as i64).execute(&mut *self.inner).await.map_err(failed)?;
        Ok(rows)
    }

    async fn settle(&mut self, key: &str, end: &Settled<'_>) -> Result<Option<OutboxRow>, StoreError> {
        let (state, error, next_at, settled) = match *end {
            Settled::Delivered { now } => (1, "", None, Some(now)),
            Settled::Again { error, next_at } => (0, error, Some(next_at), None),
            Settled::Dead { error, now } => (2, error, None, Some(now)),
        };
        let sql = format!(
            "UPDATE outbox SET state = ?, error = ?, next_at = coalesce(?, next_at), settled = ?, attempts = attempts + 1 \
             WHERE key = ? AND state = 0 RETURNING {OUTBOX}"
        );
        let query =
            sqlx::query(AssertSqlSafe(sql)).bind(state).bind(error).bind(next_at).bind(settled).bind(key);
        query.fetch_optional(&mut *self.inner).await.map_err(failed)?.as_ref().map(read_outbox).transpose()
    }

    async fn expire(
        &mut self,
        receiver: &str,
        created_before: Micros,
        now: Micros,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let sql = format!(
            "UPDATE outbox SET state = 2, settled = ? WHERE receiver = ? AND state = 0 AND attempts > 0 AND created < ? \
             RETURNING {OUTBOX}"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(now).bind(receiver).bind(created_before);
        query.fetch_all(&mut *self.inner).await.map_err(failed)?.iter().map(read_outbox).collect()
    }

    async fn add(&mut self, more: &Counts) -> Result<(), StoreError> {
        let sql = "UPDATE totals SET raised = raised + ?, cleared = cleared + ?, withdrawn = withdrawn + ?, sent = sent + ?, \
                   delivered = delivered + ?, dead = dead + ?";
        let mut query = sqlx::query(sql);
        for n in [more.raised, more.cleared, more.withdrawn, more.sent, more.delivered, more.dead] {
            query = query.bind(n as i64);
        }
        query.execute(&mut *self.inner).await.map_err(failed).map(|_| ())
    }
}
