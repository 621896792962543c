//! The journal in the database: reading it, also without a store, and how the events of a file that had none are chained into it.

use super::database::{Database, Kind};
use super::failed;
use super::tables::{ENTRY, read_entry};
use crate::StoreError;
use crate::journal::{Entry, Head, Journal, NOTHING};
use async_trait::async_trait;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Connection};

/// The journal of a database that is only read: nothing in it is changed, not even what an older firedamp wrote.
#[derive(Debug)]
pub struct SqlJournal {
    database: Database,
    readers: AnyPool,
}

impl SqlJournal {
    /// Opens `sqlite:PATH` or `postgres://USER@HOST/DATABASE`.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let database = Database::of(url)?;
        Ok(Self { readers: database.readers().await?, database })
    }
}

#[async_trait]
impl Journal for SqlJournal {
    async fn journal(&self, after: i64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        entries(&self.readers, after, limit).await
    }

    async fn unlike_journal(&self) -> Result<Option<(String, i64)>, StoreError> {
        unlike(&self.readers, &self.database).await
    }
}

/// A page of entries. One whose columns are not of their types any more was changed: it is given as one that agrees with nothing.
pub(super) async fn entries(pool: &AnyPool, after: i64, limit: usize) -> Result<Vec<Entry>, StoreError> {
    match page(pool, after, limit).await {
        Ok(page) => Ok(page),
        Err(_) if limit > 1 => Box::pin(entries(pool, after, limit / 2)).await,
        Err(e) => {
            let sql = "SELECT seq FROM journal WHERE seq > $1 ORDER BY seq LIMIT 1";
            let seq = sqlx::query_scalar(sql).bind(after).fetch_optional(pool).await.map_err(failed)?;
            Ok(vec![Entry { seq: seq.ok_or(e)?, ..Entry::unreadable() }])
        }
    }
}

async fn page(pool: &AnyPool, after: i64, limit: usize) -> Result<Vec<Entry>, StoreError> {
    let sql = format!("SELECT {ENTRY} FROM journal WHERE seq > $1 ORDER BY seq LIMIT $2");
    let query = sqlx::query(AssertSqlSafe(sql)).bind(after).bind(limit as i64);
    query.fetch_all(pool).await.map_err(failed)?.iter().map(read_entry).collect()
}

pub(super) async fn unlike(pool: &AnyPool, database: &Database) -> Result<Option<(String, i64)>, StoreError> {
    let field = |name| database.field(name);
    // An alarm that was taken out of the list, or is hidden in it by the columns that lists are made by.
    let differs = format!(
        "SELECT a.id, coalesce(j.seq, 0) FROM alarms AS a LEFT JOIN journal AS j ON j.seq = (SELECT max(seq) FROM journal \
         WHERE alarm_id = a.id AND alarm <> '') WHERE a.alarm IS DISTINCT FROM j.alarm OR a.id IS DISTINCT FROM {} \
         OR a.rule IS DISTINCT FROM {} OR a.site IS DISTINCT FROM {} OR a.region IS DISTINCT FROM {} \
         OR a.active IS DISTINCT FROM CASE {} WHEN 'active' THEN 1 ELSE 0 END \
         OR a.severity IS DISTINCT FROM CASE {} WHEN 'red' THEN 0 WHEN 'orange' THEN 1 WHEN 'yellow' THEN 2 ELSE 3 END LIMIT 1",
        field("id"),
        field("rule"),
        field("site"),
        field("region"),
        field("state"),
        field("severity"),
    );
    let is_gone = "SELECT alarm_id, max(seq) FROM journal WHERE alarm <> '' AND NOT EXISTS (SELECT 1 FROM alarms WHERE id = alarm_id) \
                   GROUP BY alarm_id LIMIT 1";
    for sql in [differs, is_gone.to_owned()] {
        let found = sqlx::query_as(AssertSqlSafe(sql)).fetch_optional(pool).await.map_err(failed)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Brings a database to this format. Events that were written before there was a journal are chained in the transaction that makes it, and
/// never again: a journal whose hashes somebody takes away is not mended.
pub(super) async fn migrate(database: &Database, connection: &mut AnyConnection) -> Result<(), StoreError> {
    let migrator = database.migrator();
    let not_ours = |e| database.not_ours(&e);
    if database.kind == Kind::Postgres || !is_before(connection).await? {
        return migrator.run(connection).await.map_err(not_ours);
    }
    let mut transaction = connection.begin_with(database.begin(true)).await.map_err(failed)?;
    // Two may open it at once: the second finds it done.
    let is_before = is_before(&mut transaction).await?;
    migrator.run(&mut *transaction).await.map_err(not_ours)?;
    if is_before {
        chain(&mut transaction).await?;
    }
    transaction.commit().await.map_err(failed)
}

/// Whether it is of the release that had no journal: only files are.
async fn is_before(connection: &mut AnyConnection) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'events'";
    Ok(sqlx::query(sql).fetch_optional(connection).await.map_err(failed)?.is_some())
}

/// Chains the events of that release.
async fn chain(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let mut head = NOTHING;
    loop {
        let sql = format!("SELECT {ENTRY} FROM journal WHERE seq > $1 ORDER BY seq LIMIT 10000");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(head.seq);
        let page = query.fetch_all(&mut *connection).await.map_err(failed)?;
        if page.is_empty() {
            return Ok(());
        }
        for row in &page {
            let entry = read_entry(row)?;
            head = Head { seq: entry.seq, hash: entry.hash_after(&head.hash) };
            let query = sqlx::query("UPDATE journal SET hash = $1 WHERE seq = $2");
            let query = query.bind(&head.hash[..]).bind(head.seq);
            query.execute(&mut *connection).await.map_err(failed)?;
        }
        tracing::info!(entries = head.seq, "alarm events are chained into the journal");
    }
}
