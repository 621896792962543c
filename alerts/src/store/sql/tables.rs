//! The reads and writes of one transaction in a database. Placeholders are numbered, as both databases know them; times, numbers and
//! flags are 64-bit integers.

use super::super::{Settled, ShelfKey, Shelves, Tables, text};
use super::{failed, json};
use crate::flood::Flood;
use crate::journal::{Entry, Hash, Head, NOTHING};
use crate::life::{Class, Clock, Row};
use crate::{Counts, OnShelf, OutboxRow, StoreError};
use async_trait::async_trait;
use model::{AlarmState, Micros};
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Row as _};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

/// One transaction.
pub(super) struct Transaction<'c> {
    pub inner: sqlx::Transaction<'c, Any>,
}

const ROW: &str = "class, point_id, partition_no, held, last_transition, decided, told, top, levels, alarm, since, next_at, begun, escalated, \
                   reminded";

/// Rows of one statement.
const TOGETHER: usize = 64;

/// So many rows a statement, or one, so that both forms stay prepared.
fn together<T>(all: &[T]) -> impl Iterator<Item = &[T]> {
    let (together, single) = all.split_at(all.len() / TOGETHER * TOGETHER);
    together.chunks(TOGETHER).chain(single.chunks(1))
}

/// `($1, $2), ($3, $4)`: placeholders of so many rows.
fn places(rows: usize, columns: usize) -> String {
    let mut out = String::new();
    for n in 0..rows * columns {
        let before = if n % columns > 0 {
            ", "
        } else if n > 0 {
            "), ("
        } else {
            "("
        };
        let _ = write!(out, "{before}${}", n + 1);
    }
    out + ")"
}

fn class_of(stored: i64) -> Result<Class, StoreError> {
    Class::stored(stored).ok_or_else(|| StoreError::Format(format!("an alarm has class {stored}")))
}

fn flag(r: &AnyRow, column: usize) -> Result<bool, StoreError> {
    r.try_get::<i64, _>(column).map(|n| n != 0).map_err(failed)
}

fn read_clock(r: &AnyRow) -> Result<Option<Clock>, StoreError> {
    let column = |i: usize| r.try_get(i).map_err(failed);
    let next = r.try_get(11).map_err(failed)?;
    let clock =
        Clock { since: column(10)?, next, begun: column(12)?, escalated: column(13)?, reminded: column(14)? };
    Ok((clock.since != 0).then_some(clock))
}

fn read_row(r: &AnyRow) -> Result<Row, StoreError> {
    let class = class_of(r.try_get(0).map_err(failed)?)?;
    let column = |i: usize| r.try_get::<&str, _>(i).map_err(failed);
    Ok(Row {
        class,
        point_id: r.try_get(1).map_err(failed)?,
        partition: r.try_get::<i64, _>(2).map_err(failed)? as u32,
        held: flag(r, 3)?,
        last_transition: r.try_get(4).map_err(failed)?,
        decided: r.try_get(5).map_err(failed)?,
        told: json(column(6)?)?,
        top: json(column(7)?)?,
        levels: json(column(8)?)?,
        alarm: json(column(9)?)?,
        clock: read_clock(r)?,
    })
}

/// Columns of [`read_shelf`], by when each comes back.
pub(super) const SHELVES: &str = "SELECT rule, point_id, class, shelf FROM shelves ORDER BY until";

pub(super) fn read_shelf(r: &AnyRow) -> Result<(ShelfKey, OnShelf), StoreError> {
    let class = class_of(r.try_get(2).map_err(failed)?)?;
    let key = (r.try_get(0).map_err(failed)?, r.try_get(1).map_err(failed)?, class);
    Ok((key, json(r.try_get(3).map_err(failed)?)?))
}

/// Number and hash of the newest entry of the journal.
pub(super) const HEAD: &str = "SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1";

/// Columns of [`read_entry`].
pub(super) const ENTRY: &str = "seq, at, event, alarm_id, rose, by, note, detail, alarm, hash";

pub(super) fn read_head(r: &AnyRow) -> Result<Head, StoreError> {
    Ok(Head { seq: r.try_get(0).map_err(failed)?, hash: hash(r, 1)? })
}

/// One that is no hash is none that fits.
fn hash(r: &AnyRow, column: usize) -> Result<Hash, StoreError> {
    Ok(r.try_get::<&[u8], _>(column).map_err(failed)?.try_into().unwrap_or_default())
}

pub(super) fn read_entry(r: &AnyRow) -> Result<Entry, StoreError> {
    let text = |i: usize| r.try_get(i).map_err(failed);
    Ok(Entry {
        seq: r.try_get(0).map_err(failed)?,
        at: r.try_get(1).map_err(failed)?,
        event: text(2)?,
        alarm_id: text(3)?,
        rose: flag(r, 4)?,
        by: text(5)?,
        note: text(6)?,
        detail: text(7)?,
        alarm: text(8)?,
        hash: hash(r, 9)?,
    })
}

/// Columns of [`read_outbox`].
pub(super) const OUTBOX: &str = "key, receiver, alarm_id, drill, quiet, body, attempts, created, next_at";

pub(super) fn read_outbox(r: &AnyRow) -> Result<OutboxRow, StoreError> {
    let text = |i: usize| r.try_get(i).map_err(failed);
    Ok(OutboxRow {
        key: text(0)?,
        receiver: text(1)?,
        alarm: text(2)?,
        drill: flag(r, 3)?,
        quiet: flag(r, 4)?,
        body: r.try_get(5).map_err(failed)?,
        attempts: r.try_get::<i64, _>(6).map_err(failed)? as u32,
        created: r.try_get(7).map_err(failed)?,
        next_at: r.try_get(8).map_err(failed)?,
    })
}

impl Transaction<'_> {
    async fn rows(&mut self, wanted: &str, value: i64) -> Result<Vec<Row>, StoreError> {
        let sql = format!("SELECT {ROW} FROM alarms WHERE {wanted}");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(value);
        query.fetch_all(&mut *self.inner).await.map_err(failed)?.iter().map(read_row).collect()
    }

    async fn is_empty(&mut self, sql: &'static str, value: Micros) -> Result<bool, StoreError> {
        let found = sqlx::query(sql).bind(value).fetch_optional(&mut *self.inner).await.map_err(failed)?;
        Ok(found.is_none())
    }
}

#[async_trait]
impl Tables for Transaction<'_> {
    async fn position(&mut self, partition: u32) -> Result<u64, StoreError> {
        let sql = "SELECT next FROM positions WHERE partition_no = $1";
        let query = sqlx::query_scalar(sql).bind(i64::from(partition));
        let next: Option<i64> = query.fetch_optional(&mut *self.inner).await.map_err(failed)?;
        Ok(next.unwrap_or(0) as u64)
    }

    async fn set_position(&mut self, partition: u32, next: u64, held: bool) -> Result<(), StoreError> {
        let sql = "INSERT INTO positions (partition_no, next, held) VALUES ($1, $2, $3) ON CONFLICT (partition_no) DO UPDATE SET \
                   next = excluded.next, held = excluded.held";
        let query = sqlx::query(sql).bind(i64::from(partition)).bind(next as i64).bind(i64::from(held));
        query.execute(&mut *self.inner).await.map_err(failed).map(|_| ())
    }

    async fn remember(&mut self, ids: &[String], at: Micros) -> Result<Vec<bool>, StoreError> {
        let mut new = HashSet::new();
        for some in together(ids) {
            let places = places(some.len(), 2);
            let sql = format!(
                "INSERT INTO transitions (id, at) VALUES {places} ON CONFLICT (id) DO NOTHING RETURNING id"
            );
            let mut query = sqlx::query_scalar::<_, String>(AssertSqlSafe(sql));
            for id in some {
                query = query.bind(id).bind(at);
            }
            new.extend(query.fetch_all(&mut *self.inner).await.map_err(failed)?);
        }
        Ok(ids.iter().map(|id| new.remove(id)).collect())
    }

    async fn forget(
        &mut self,
        ids_before: Micros,
        delivered_before: Micros,
        limit: i64,
    ) -> Result<(), StoreError> {
        for (sql, before) in [
            (
                "DELETE FROM transitions WHERE id IN (SELECT id FROM transitions WHERE at < $1 LIMIT $2)",
                ids_before,
            ),
            (
                "DELETE FROM outbox WHERE n IN (SELECT n FROM outbox WHERE state = 1 AND settled < $1 LIMIT $2)",
                delivered_before,
            ),
        ] {
            sqlx::query(sql).bind(before).bind(limit).execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn active(&mut self, keys: &[ShelfKey]) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        for some in together(keys) {
            let places = places(some.len(), 3);
            let sql = format!(
                "SELECT {ROW} FROM alarms WHERE active = 1 AND (rule, point_id, class) IN (VALUES {places})"
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (rule, point_id, class) in some {
                query = query.bind(rule).bind(point_id).bind(*class as i64);
            }
            for row in query.fetch_all(&mut *self.inner).await.map_err(failed)? {
                rows.push(read_row(&row)?);
            }
        }
        Ok(rows)
    }

    async fn row(&mut self, id: &str) -> Result<Option<Row>, StoreError> {
        let sql = format!("SELECT {ROW} FROM alarms WHERE id = $1");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(id);
        query.fetch_optional(&mut *self.inner).await.map_err(failed)?.as_ref().map(read_row).transpose()
    }

    async fn due(&mut self, now: Micros, limit: usize) -> Result<Vec<Row>, StoreError> {
        let sql = format!(
            "SELECT {ROW} FROM alarms WHERE next_at <= $1 AND partition_no NOT IN (SELECT partition_no FROM positions WHERE held = 1) \
             ORDER BY next_at, n LIMIT $2"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(now).bind(limit as i64);
        query.fetch_all(&mut *self.inner).await.map_err(failed)?.iter().map(read_row).collect()
    }

    async fn start_clock(&mut self, id: &str, now: Micros) -> Result<(), StoreError> {
        let sql =
            "UPDATE alarms SET next_at = next_at - (since - $1), since = $1 WHERE id = $2 AND since > $1";
        let query = sqlx::query(sql).bind(now).bind(id);
        query.execute(&mut *self.inner).await.map_err(failed).map(|_| ())
    }

    async fn look_at_clocks(&mut self, now: Micros) -> Result<(), StoreError> {
        let query =
            sqlx::query("UPDATE alarms SET next_at = $1, escalated = CASE WHEN escalated < 0 THEN escalated ELSE -1 - escalated END \
                   WHERE active = 1 AND since > 0")
                .bind(now);
        query.execute(&mut *self.inner).await.map_err(failed).map(|_| ())
    }

    async fn held(&mut self, partition: u32) -> Result<Vec<Row>, StoreError> {
        self.rows("held = 1 AND partition_no = $1 ORDER BY n", partition.into()).await
    }

    async fn put(&mut self, rows: &[(Arc<Row>, String)]) -> Result<(), StoreError> {
        for some in together(rows) {
            let places = places(some.len(), 22);
            let sql = format!(
                "INSERT INTO alarms (id, class, rule, point_id, site, region, severity, partition_no, active, opened, held, \
                 last_transition, decided, told, top, levels, alarm, next_at, since, begun, escalated, reminded) VALUES {places} \
                 ON CONFLICT (id) DO UPDATE SET next_at = excluded.next_at, since = excluded.since, begun = excluded.begun, \
                 escalated = excluded.escalated, reminded = excluded.reminded, \
                 severity = excluded.severity, active = excluded.active, held = excluded.held, \
                 last_transition = excluded.last_transition, decided = excluded.decided, told = excluded.told, \
                 top = excluded.top, levels = excluded.levels, alarm = excluded.alarm"
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (row, alarm) in some {
                let a = &row.alarm;
                query =
                    query.bind(&a.id).bind(row.class as i64).bind(&a.rule).bind(row.point_id).bind(&a.site);
                query = query.bind(&a.place.region).bind(a.severity as i64).bind(i64::from(row.partition));
                query = query.bind(i64::from(a.state == AlarmState::Active)).bind(a.opened);
                query = query.bind(i64::from(row.held)).bind(&row.last_transition).bind(row.decided);
                query = query.bind(text(&row.told)).bind(text(&row.top)).bind(text(&row.levels)).bind(alarm);
                let clock =
                    row.clock.unwrap_or(Clock { since: 0, begun: 0, escalated: 0, reminded: 0, next: None });
                query = query.bind(clock.next).bind(clock.since).bind(clock.begun);
                query = query.bind(clock.escalated).bind(clock.reminded);
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn head(&mut self) -> Result<Head, StoreError> {
        let row = sqlx::query(HEAD).fetch_optional(&mut *self.inner).await.map_err(failed)?;
        row.as_ref().map_or(Ok(NOTHING), read_head)
    }

    async fn append(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        for some in together(entries) {
            let sql = format!("INSERT INTO journal ({ENTRY}) VALUES {}", places(some.len(), 10));
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for e in some {
                query = query.bind(e.seq).bind(e.at).bind(&e.event).bind(&e.alarm_id).bind(i64::from(e.rose));
                query = query.bind(&e.by).bind(&e.note).bind(&e.detail).bind(&e.alarm).bind(&e.hash[..]);
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn shelves(&mut self) -> Result<Shelves, StoreError> {
        let rows = sqlx::query(SHELVES).fetch_all(&mut *self.inner).await.map_err(failed)?;
        rows.iter().map(read_shelf).collect()
    }

    async fn set_shelf(
        &mut self,
        (rule, point_id, class): &ShelfKey,
        shelf: Option<&OnShelf>,
    ) -> Result<(), StoreError> {
        let sql = match shelf {
            Some(_) => {
                "INSERT INTO shelves (rule, point_id, class, until, shelf) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (rule, point_id, class) DO UPDATE SET until = excluded.until, shelf = excluded.shelf"
            }
            None => "DELETE FROM shelves WHERE rule = $1 AND point_id = $2 AND class = $3",
        };
        let mut query = sqlx::query(sql).bind(rule).bind(point_id).bind(*class as i64);
        if let Some(shelf) = shelf {
            query = query.bind(shelf.shelved.until).bind(text(shelf));
        }
        query.execute(&mut *self.inner).await.map_err(failed).map(|_| ())
    }

    async fn rose_after(&mut self, id: &str, seq: i64) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM journal WHERE alarm_id = $1 AND seq > $2 AND rose = 1 LIMIT 1";
        let query = sqlx::query(sql).bind(id).bind(seq);
        Ok(query.fetch_optional(&mut *self.inner).await.map_err(failed)?.is_some())
    }

    async fn send(&mut self, messages: &[OutboxRow]) -> Result<u64, StoreError> {
        let mut new = 0;
        for some in together(messages) {
            let places = places(some.len(), 11);
            let sql = format!(
                "INSERT INTO outbox (key, receiver, alarm_id, drill, quiet, body, created, next_at, state, attempts, error) \
                 VALUES {places} ON CONFLICT (key) DO NOTHING"
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for m in some {
                query = query.bind(&m.key).bind(&m.receiver).bind(&m.alarm).bind(i64::from(m.drill));
                query = query.bind(i64::from(m.quiet)).bind(&m.body).bind(m.created).bind(m.next_at);
                query = query.bind(0_i64).bind(i64::from(m.attempts)).bind("");
            }
            new += query.execute(&mut *self.inner).await.map_err(failed)?.rows_affected();
        }
        Ok(new)
    }

    async fn floods(&mut self) -> Result<Vec<(String, Flood)>, StoreError> {
        let query = sqlx::query("SELECT receiver, due, flood FROM floods");
        let rows = query.fetch_all(&mut *self.inner).await.map_err(failed)?;
        let read = |r: &AnyRow| {
            let mut flood: Flood = json(r.try_get(2).map_err(failed)?)?;
            flood.due = r.try_get(1).map_err(failed)?;
            Ok((r.try_get(0).map_err(failed)?, flood))
        };
        rows.iter().map(read).collect()
    }

    async fn set_flood(&mut self, receiver: &str, flood: &Flood) -> Result<(), StoreError> {
        let sql = "INSERT INTO floods (receiver, due, flood) VALUES ($1, $2, $3) ON CONFLICT (receiver) DO UPDATE SET \
                   due = excluded.due, flood = excluded.flood";
        let query = sqlx::query(sql).bind(receiver).bind(flood.due).bind(text(flood));
        query.execute(&mut *self.inner).await.map_err(failed).map(|_| ())
    }

    async fn list(&mut self, listed: &[(String, String)]) -> Result<(), StoreError> {
        for some in together(listed) {
            let places = places(some.len(), 2);
            let sql = format!(
                "INSERT INTO listed (receiver, alarm_id) VALUES {places} ON CONFLICT (receiver, alarm_id) DO NOTHING"
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (receiver, alarm_id) in some {
                query = query.bind(receiver).bind(alarm_id);
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn listed_take(&mut self, receiver: &str, limit: usize) -> Result<Vec<Row>, StoreError> {
        let taken = "SELECT alarm_id FROM listed WHERE receiver = $1 ORDER BY alarm_id LIMIT $2";
        let sql = format!("SELECT {ROW} FROM alarms WHERE id IN ({taken}) ORDER BY n");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(receiver).bind(limit as i64);
        let rows = query.fetch_all(&mut *self.inner).await.map_err(failed)?;
        let sql = format!("DELETE FROM listed WHERE receiver = $1 AND alarm_id IN ({taken})");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(receiver).bind(limit as i64);
        query.execute(&mut *self.inner).await.map_err(failed)?;
        rows.iter().map(read_row).collect()
    }

    async fn digest_add(&mut self, id: &str, now: Micros, due: Micros) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO digest (alarm_id, added, due) VALUES ($1, $2, $3) ON CONFLICT (alarm_id) DO NOTHING";
        let query = sqlx::query(sql).bind(id).bind(now).bind(due);
        query.execute(&mut *self.inner).await.map_err(failed).map(|_| ())
    }

    async fn digest_take(
        &mut self,
        now: Micros,
        held_before: Micros,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        if self.is_empty("SELECT 1 FROM digest WHERE due <= $1 LIMIT 1", now).await? {
            return Ok(Vec::new());
        }
        let held = "SELECT 1 FROM positions WHERE held = 1 AND NOT EXISTS (SELECT 1 FROM digest WHERE added <= $1) LIMIT 1";
        if !self.is_empty(held, held_before).await? {
            return Ok(Vec::new());
        }
        let taken = "id IN (SELECT alarm_id FROM digest ORDER BY due, alarm_id LIMIT $1) ORDER BY n";
        let rows = self.rows(taken, limit as i64).await?;
        let sql = "DELETE FROM digest WHERE alarm_id IN (SELECT alarm_id FROM digest ORDER BY due, alarm_id LIMIT $1)";
        sqlx::query(sql).bind(limit as i64).execute(&mut *self.inner).await.map_err(failed)?;
        Ok(rows)
    }

    async fn settle(&mut self, key: &str, end: &Settled<'_>) -> Result<Option<OutboxRow>, StoreError> {
        let (state, error, next_at, settled) = match *end {
            Settled::Delivered { now } => (1_i64, "", None, Some(now)),
            Settled::Again { error, next_at } => (0, error, Some(next_at), None),
            Settled::Dead { error, now } => (2, error, None, Some(now)),
        };
        let sql = format!(
            "UPDATE outbox SET state = $1, error = $2, next_at = coalesce($3, next_at), settled = $4, attempts = attempts + 1 \
             WHERE key = $5 AND state = 0 RETURNING {OUTBOX}"
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
            "UPDATE outbox SET state = 2, settled = $1 WHERE receiver = $2 AND state = 0 AND attempts > 0 AND created < $3 \
             RETURNING {OUTBOX}"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(now).bind(receiver).bind(created_before);
        query.fetch_all(&mut *self.inner).await.map_err(failed)?.iter().map(read_outbox).collect()
    }

    async fn add(&mut self, more: &Counts) -> Result<(), StoreError> {
        let sql = "UPDATE totals SET raised = raised + $1, cleared = cleared + $2, withdrawn = withdrawn + $3, sent = sent + $4, \
                   delivered = delivered + $5, dead = dead + $6";
        let mut query = sqlx::query(sql);
        for n in [more.raised, more.cleared, more.withdrawn, more.sent, more.delivered, more.dead] {
            query = query.bind(n as i64);
        }
        query.execute(&mut *self.inner).await.map_err(failed).map(|_| ())
    }
}
