//! The alarm store in one SQLite file: WAL, synchronous FULL, one writing connection, a few reading ones. The migrations stand in
//! `alerts/migrations`; a file of the release before opens, one of a newer release is refused.

use super::{Tables, Work, dead_letter};
use crate::life::{Class, Row};
use crate::receiver::Receiver;
use crate::*;
use prometheus::Registry;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Row as _, SqliteConnection, SqlitePool};
use std::str::FromStr;
use std::time::Duration;
use tokio::sync::{Mutex, watch};

/// Reading connections: the API, the dispatcher's tasks and the event feed.
const READERS: u32 = 4;

/// Alarms in SQLite.
#[derive(Debug)]
pub struct SqliteStore {
    receivers: Vec<Receiver>,
    writer: Mutex<SqliteConnection>,
    readers: SqlitePool,
    changed: watch::Sender<u64>,
    commit_seconds: prometheus::Histogram,
}

fn failed(e: impl std::fmt::Display) -> StoreError {
    StoreError::Database(e.to_string())
}

impl SqliteStore {
    /// Opens `sqlite:PATH` or makes it.
    ///
    /// # Errors
    /// When the file cannot be used or is of a newer format.
    pub async fn open(url: &str, receivers: Vec<Receiver>, registry: &Registry) -> Result<Self, StoreError> {
        let path = url.strip_prefix("sqlite:").unwrap_or(url);
        if let Some(dir) = std::path::Path::new(path).parent() {
            std::fs::create_dir_all(dir).map_err(failed)?;
        }
        let options = SqliteConnectOptions::from_str("sqlite:")
            .map_err(failed)?
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10))
            .disable_statement_logging();
        let mut writer = SqliteConnection::connect_with(&options).await.map_err(failed)?;
        let migrations = sqlx::migrate!("./migrations");
        migrations.run(&mut writer).await.map_err(|e| StoreError::Format(e.to_string()))?;
        let readers =
            SqlitePoolOptions::new().max_connections(READERS).connect_with(options.read_only(true)).await;
        let buckets = prometheus::exponential_buckets(0.000_1, 2.0, 16).map_err(failed)?;
        let opts = prometheus::HistogramOpts::new(
            "firedamp_alerts_commit_seconds",
            "seconds of a transaction on alarms",
        );
        let commit_seconds = prometheus::Histogram::with_opts(opts.buckets(buckets)).map_err(failed)?;
        registry.register(Box::new(commit_seconds.clone())).map_err(failed)?;
        let (readers, changed) = (readers.map_err(failed)?, watch::Sender::new(0));
        Ok(Self { receivers, writer: Mutex::new(writer), readers, changed, commit_seconds })
    }

    async fn transact<R>(
        &self,
        work: impl AsyncFnOnce(&mut Work<'_, Transaction<'_>>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let timer = self.commit_seconds.start_timer();
        let mut writer = self.writer.lock().await;
        let inner = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let mut tables = Transaction { inner };
        let result = work(&mut Work { tables: &mut tables, receivers: &self.receivers }).await?;
        tables.inner.commit().await.map_err(failed)?;
        drop(timer);
        self.changed.send_modify(|n| *n += 1);
        Ok(result)
    }

    async fn count(&self, sql: &'static str) -> Result<u64, StoreError> {
        let n: i64 = sqlx::query_scalar(sql).fetch_one(&self.readers).await.map_err(failed)?;
        Ok(n as u64)
    }
}

struct Transaction<'c> {
    inner: sqlx::Transaction<'c, sqlx::Sqlite>,
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Format(format!("a row cannot be read: {e}")))
}

fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("alarms are plain data with text keys")
}

const ROW: &str = "class, point_id, partition_no, told, held, top, last_transition, changed, levels, alarm";

fn read_row(r: &SqliteRow) -> Result<Row, StoreError> {
    let class = match r.get::<i64, _>(0) {
        1 => Class::Late,
        2 => Class::Drill,
        _ => Class::Live,
    };
    Ok(Row {
        class,
        point_id: r.get(1),
        partition: r.get::<i64, _>(2) as u32,
        told: r.get(3),
        held: r.get(4),
        top: json(r.get(5))?,
        last_transition: r.get(6),
        changed: r.get(7),
        levels: json(r.get(8))?,
        alarm: json(r.get(9))?,
    })
}

#[async_trait]
impl Tables for Transaction<'_> {
    async fn position(&mut self, partition: u32) -> Result<u64, StoreError> {
        let sql = "SELECT next FROM positions WHERE partition_no = ?";
        let next: Option<i64> = sqlx::query_scalar(sql)
            .bind(i64::from(partition))
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(next.unwrap_or(0) as u64)
    }

    async fn set_position(&mut self, partition: u32, next: u64) -> Result<(), StoreError> {
        let sql = "INSERT INTO positions VALUES (?, ?) ON CONFLICT DO UPDATE SET next = excluded.next";
        let query = sqlx::query(sql).bind(i64::from(partition)).bind(next as i64);
        query.execute(&mut *self.inner).await.map_err(failed).map(|_| ())
    }

    async fn remember(&mut self, id: &str, at: Micros) -> Result<bool, StoreError> {
        let query = sqlx::query("INSERT OR IGNORE INTO transitions VALUES (?, ?)").bind(id).bind(at);
        Ok(query.execute(&mut *self.inner).await.map_err(failed)?.rows_affected() > 0)
    }

    async fn forget(&mut self, before: Micros) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM transitions WHERE at < ?").bind(before);
        query.execute(&mut *self.inner).await.map_err(failed).map(|_| ())
    }

    async fn active(&mut self, rule: &str, point_id: i64, class: Class) -> Result<Option<Row>, StoreError> {
        let sql =
            format!("SELECT {ROW} FROM alarms WHERE rule = ? AND point_id = ? AND class = ? AND active = 1");
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(rule).bind(point_id).bind(class as i64);
        query.fetch_optional(&mut *self.inner).await.map_err(failed)?.as_ref().map(read_row).transpose()
    }

    async fn row(&mut self, id: &str) -> Result<Option<Row>, StoreError> {
        let sql = format!("SELECT {ROW} FROM alarms WHERE id = ?");
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id);
        query.fetch_optional(&mut *self.inner).await.map_err(failed)?.as_ref().map(read_row).transpose()
    }

    async fn held(&mut self, partition: u32) -> Result<Vec<Row>, StoreError> {
        let sql =
            format!("SELECT {ROW} FROM alarms WHERE held = 1 AND partition_no = ? ORDER BY changed, id");
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(i64::from(partition));
        query.fetch_all(&mut *self.inner).await.map_err(failed)?.iter().map(read_row).collect()
    }

    async fn put(&mut self, row: &Row) -> Result<(), StoreError> {
        let sql = "INSERT INTO alarms (id, class, rule, point_id, site, partition_no, active, opened, told, held, top, \
                   last_transition, changed, levels, alarm) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
                   ON CONFLICT (id) DO UPDATE SET active = excluded.active, told = excluded.told, held = excluded.held, \
                   top = excluded.top, last_transition = excluded.last_transition, changed = excluded.changed, \
                   levels = excluded.levels, alarm = excluded.alarm";
        let a = &row.alarm;
        let query = sqlx::query(sql)
            .bind(&a.id)
            .bind(row.class as i64)
            .bind(&a.rule)
            .bind(row.point_id)
            .bind(&a.site)
            .bind(i64::from(row.partition))
            .bind(a.state == model::AlarmState::Active)
            .bind(a.opened)
            .bind(row.told)
            .bind(row.held)
            .bind(text(&row.top))
            .bind(&row.last_transition)
            .bind(row.changed)
            .bind(text(&row.levels))
            .bind(text(a));
        query.execute(&mut *self.inner).await.map_err(failed).map(|_| ())
    }

    async fn event(
        &mut self,
        row: &Row,
        kind: EventKind,
        at: Micros,
        by: &str,
        note: &str,
    ) -> Result<i64, StoreError> {
        let sql = "INSERT INTO events (alarm_id, event, at, by, note, alarm) VALUES (?, ?, ?, ?, ?, ?)";
        let alarm = text(&row.alarm);
        let query =
            sqlx::query(sql).bind(&row.alarm.id).bind(kind.as_str()).bind(at).bind(by).bind(note).bind(alarm);
        Ok(query.execute(&mut *self.inner).await.map_err(failed)?.last_insert_rowid())
    }

    async fn rose_after(&mut self, id: &str, seq: i64) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM events WHERE alarm_id = ? AND seq > ? AND event IN ('raised', 'changed'))";
        sqlx::query_scalar(sql).bind(id).bind(seq).fetch_one(&mut *self.inner).await.map_err(failed)
    }

    async fn send(&mut self, message: &OutboxRow) -> Result<(), StoreError> {
        let sql = "INSERT OR IGNORE INTO outbox (key, receiver, body, state, attempts, created, next_at, error) \
                   VALUES (?, ?, ?, 0, 0, ?, ?, '')";
        let query = sqlx::query(sql)
            .bind(&message.key)
            .bind(&message.receiver)
            .bind(&message.body)
            .bind(message.created)
            .bind(message.next_at);
        query.execute(&mut *self.inner).await.map_err(failed).map(|_| ())
    }
}

#[async_trait]
impl AlarmStore for SqliteStore {
    async fn position(&self, partition: u32) -> Result<u64, StoreError> {
        let sql = "SELECT next FROM positions WHERE partition_no = ?";
        let next: Option<i64> = sqlx::query_scalar(sql)
            .bind(i64::from(partition))
            .fetch_optional(&self.readers)
            .await
            .map_err(failed)?;
        Ok(next.unwrap_or(0) as u64)
    }

    async fn apply(&self, batch: TransitionBatch) -> Result<Vec<AlarmEvent>, StoreError> {
        self.transact(async |work| work.apply(&batch).await).await
    }

    async fn acknowledge(
        &self,
        ids: &[String],
        by: &str,
        note: &str,
        seen_seq: Option<i64>,
        now: Micros,
    ) -> Result<Vec<AckOutcome>, StoreError> {
        self.transact(async |work| {
            let mut out = Vec::new();
            for id in ids {
                out.push(work.acknowledge(id, by, note, seen_seq, now).await?);
            }
            Ok(out)
        })
        .await
    }

    async fn clear(
        &self,
        ids: &[String],
        by: &str,
        note: &str,
        now: Micros,
    ) -> Result<Vec<AckOutcome>, StoreError> {
        self.transact(async |work| {
            let mut out = Vec::new();
            for id in ids {
                out.push(work.clear(id, by, note, now).await?);
            }
            Ok(out)
        })
        .await
    }

    async fn list(&self, filter: &AlarmFilter) -> Result<Vec<Alarm>, StoreError> {
        let mut wanted = Vec::new();
        if !filter.all {
            wanted.push("active = 1");
        }
        if filter.site.is_some() {
            wanted.push("site = ?");
        }
        let wanted =
            if wanted.is_empty() { String::new() } else { format!("WHERE {}", wanted.join(" AND ")) };
        let sql = format!("SELECT alarm FROM alarms {wanted} ORDER BY active DESC, opened DESC LIMIT ?");
        let mut query = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(sql));
        if let Some(site) = &filter.site {
            query = query.bind(site);
        }
        let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
        let rows = query.bind(limit).fetch_all(&self.readers).await.map_err(failed)?;
        rows.iter().map(|r| json(r)).collect()
    }

    async fn get(&self, id: &str) -> Result<Option<Alarm>, StoreError> {
        let sql = "SELECT alarm FROM alarms WHERE id = ?";
        let row: Option<String> =
            sqlx::query_scalar(sql).bind(id).fetch_optional(&self.readers).await.map_err(failed)?;
        row.map(|r| json(&r)).transpose()
    }

    async fn last_seq(&self) -> Result<i64, StoreError> {
        let sql = "SELECT coalesce(max(seq), 0) FROM events";
        sqlx::query_scalar(sql).fetch_one(&self.readers).await.map_err(failed)
    }

    async fn events_after(&self, seq: i64, limit: usize) -> Result<Vec<AlarmEvent>, StoreError> {
        let sql = "SELECT seq, event, at, alarm FROM events WHERE seq > ? ORDER BY seq LIMIT ?";
        let query = sqlx::query(sql).bind(seq).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&self.readers).await.map_err(failed)?;
        let event = |r: &SqliteRow| {
            let event = json(&format!("\"{}\"", r.get::<&str, _>(1)))?;
            Ok(AlarmEvent { seq: r.get(0), event, at: r.get(2), alarm: json(r.get(3))? })
        };
        rows.iter().map(event).collect()
    }

    async fn raise_own(&self, alarm: OwnAlarm, now: Micros) -> Result<(), StoreError> {
        self.transact(async |work| work.own(&alarm, now).await).await.map(|_| ())
    }

    async fn outbox_due(
        &self,
        receiver: &str,
        now: Micros,
        limit: usize,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let sql = "SELECT key, receiver, body, attempts, created, next_at FROM outbox \
                   WHERE receiver = ? AND state = 0 AND next_at <= ? ORDER BY created, key LIMIT ?";
        let query = sqlx::query(sql).bind(receiver).bind(now).bind(limit as i64);
        let rows = query.fetch_all(&self.readers).await.map_err(failed)?;
        let row = |r: &SqliteRow| OutboxRow {
            key: r.get(0),
            receiver: r.get(1),
            body: r.get(2),
            attempts: r.get::<i64, _>(3) as u32,
            created: r.get(4),
            next_at: r.get(5),
        };
        Ok(rows.iter().map(row).collect())
    }

    async fn delivered(&self, key: &str, now: Micros) -> Result<(), StoreError> {
        let sql =
            "UPDATE outbox SET state = 1, attempts = attempts + 1, settled = ?, error = '' WHERE key = ?";
        let mut writer = self.writer.lock().await;
        sqlx::query(sql).bind(now).bind(key).execute(&mut *writer).await.map_err(failed).map(|_| ())
    }

    async fn failed(
        &self,
        key: &str,
        error: &str,
        next_at: Option<Micros>,
        now: Micros,
    ) -> Result<(), StoreError> {
        self.transact(async |work| {
            let sql = "UPDATE outbox SET attempts = attempts + 1, error = ?, state = ?, next_at = coalesce(?, next_at), \
                       settled = ? WHERE key = ? AND state = 0 RETURNING receiver";
            let state = if next_at.is_some() { 0 } else { 2 };
            let settled = next_at.is_none().then_some(now);
            let query = sqlx::query_scalar(sql).bind(error).bind(state).bind(next_at).bind(settled).bind(key);
            let receiver: Option<String> = query.fetch_optional(&mut *work.tables.inner).await.map_err(failed)?;
            if let (Some(receiver), None) = (receiver, next_at) {
                work.own(&dead_letter(&receiver, key, error), now).await?;
            }
            Ok(())
        })
        .await
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        let live = "class = 0 AND site <> 'firedamp'";
        debug_assert!(live.contains(own::SITE));
        Ok(Counts {
            raised: self.count("SELECT count(*) FROM alarms WHERE class = 0 AND site <> 'firedamp'").await?,
            cleared: self
                .count("SELECT count(*) FROM alarms WHERE class = 0 AND site <> 'firedamp' AND active = 0")
                .await?,
            sent: self.count("SELECT count(*) FROM outbox").await?,
            delivered: self.count("SELECT count(*) FROM outbox WHERE state = 1").await?,
            pending: self.count("SELECT count(*) FROM outbox WHERE state = 0").await?,
            dead: self.count("SELECT count(*) FROM outbox WHERE state = 2").await?,
        })
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
