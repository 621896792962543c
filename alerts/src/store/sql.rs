//! The alarm store in a database: one SQLite file (WAL, synchronous FULL) or PostgreSQL, by the same statements ([`tables`]) and migrations
//! (`alerts/migrations`). One connection writes, a few read. What returns is on disk, but for `delivered`, which the next commit takes
//! along: where the power fails before, the message is sent again with the same key. A database of the release before opens, one of a
//! newer release is refused; one that went away is connected to again by the next transaction.

use super::{KEEP_DELIVERED, Looked, REMEMBER, TRIED, Work};
use crate::flood::LIST_AFTER;
use crate::journal::{Checkpoint, Entry, Head, Journal, NOTHING, Signer};
use crate::metrics::StoreMetrics;
use crate::receiver::Receiver;
use crate::tell::LIST;
use crate::*;
use database::Database;
use prometheus::Registry;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Connection, Row as _};
use std::sync::Arc;
use tables::{ENTRY, HEAD, SHELVES, Transaction, read_entry, read_head, read_shelf};
use tokio::sync::{Mutex, watch};

mod database;
mod journal;
mod tables;

pub use journal::SqlJournal;

/// Alarms in a database.
#[derive(Debug)]
pub struct SqlStore {
    routes: RoutesInForce,
    places: Arc<dyn Places>,
    database: Database,
    writer: Mutex<Writer>,
    readers: AnyPool,
    /// The routes that clocks were looked at by, and when.
    looked: Mutex<Option<Looked>>,
    changed: watch::Sender<u64>,
    metrics: StoreMetrics,
}

/// The one writing connection.
#[derive(Debug)]
struct Writer {
    connection: AnyConnection,
    /// A transaction began and it is not known that it ended well. SQLite ends one by itself when the disk is full, and sqlx
    /// does not hear of it: such a connection would refuse every transaction from then on. One to a server may be cut.
    doubtful: bool,
}

impl Writer {
    /// With a connection that is in no transaction.
    async fn ready(&mut self, database: &Database) -> Result<&mut Self, StoreError> {
        if self.doubtful {
            self.connection = database.writer().await?;
            self.doubtful = false;
        }
        Ok(self)
    }
}

fn failed(e: impl std::fmt::Display) -> StoreError {
    StoreError::Database(e.to_string())
}

impl From<sqlx::Error> for StoreError {
    fn from(e: sqlx::Error) -> Self {
        failed(e)
    }
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Format(format!("a row cannot be read: {e}")))
}

impl SqlStore {
    /// Opens `sqlite:PATH`, or makes it, or `postgres://USER@HOST/DATABASE`, which must exist.
    ///
    /// # Errors
    /// When the database cannot be used or is of a newer format.
    pub async fn open(url: &str, receivers: Vec<Receiver>, registry: &Registry) -> Result<Self, StoreError> {
        let database = Database::of(url)?;
        database.make_folder()?;
        let mut connection = database.writer().await?;
        journal::migrate(&database, &mut connection).await?;
        Ok(Self {
            routes: RoutesInForce::new(Arc::new(Routes::of_receivers(receivers))),
            places: Arc::new(NoPlaces),
            readers: database.readers().await?,
            database,
            writer: Mutex::new(Writer { connection, doubtful: false }),
            looked: Mutex::new(None),
            changed: watch::Sender::new(0),
            metrics: StoreMetrics::register(registry).map_err(failed)?,
        })
    }

    /// Writes names and regions of `places` into alarms that open from now on.
    #[must_use]
    pub fn with_places(self, places: Arc<dyn Places>) -> Self {
        Self { places, ..self }
    }

    /// With routes that may be replaced, instead of the receivers' own keys.
    #[must_use]
    pub fn with_routes(self, routes: RoutesInForce) -> Self {
        self.metrics.expect(&routes.get());
        Self { routes, ..self }
    }

    /// A transaction that is on disk when this returns.
    async fn transact<R>(
        &self,
        work: impl AsyncFnOnce(&mut Work<'_, Transaction<'_>>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        self.transact_as(true, work).await
    }

    /// A transaction that is on disk when this returns, or only with the next one that is.
    async fn transact_as<R>(
        &self,
        synced: bool,
        work: impl AsyncFnOnce(&mut Work<'_, Transaction<'_>>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let timer = self.metrics.commit_seconds.start_timer();
        let mut writer = self.writer.lock().await;
        let Writer { connection, doubtful } = writer.ready(&self.database).await?;
        *doubtful = true;
        if !synced {
            self.database.set_synced(connection, false).await?;
        }
        let routes = self.routes.get();
        let done = async {
            let inner = connection.begin_with(self.database.begin(synced)).await.map_err(failed)?;
            let mut tables = Transaction { inner };
            let mut todo = Work::new(&mut tables, &routes, &*self.places);
            let result = work(&mut todo).await?;
            todo.finish().await?;
            let (did, written) = (std::mem::take(&mut todo.did), todo.written);
            let untold = std::mem::take(&mut todo.untold);
            tables.inner.commit().await.map_err(failed)?;
            Ok::<_, StoreError>((result, did, untold, written))
        };
        let (result, did, untold, written) = self.database.within(done).await?;
        // What is committed is done; a connection that cannot be put back is replaced by the next transaction.
        *doubtful = !synced && self.database.set_synced(connection, true).await.is_err();
        drop(timer);
        self.metrics.count(&did);
        self.metrics.untold(&untold);
        if written {
            self.changed.send_modify(|n| *n += 1);
        }
        Ok(result)
    }

    /// The place of an alarm in the list, for the page after it.
    async fn place_in_list(&self, id: &str) -> Result<Option<(i64, Micros, i64)>, StoreError> {
        let sql = "SELECT active, opened, n FROM alarms WHERE id = $1";
        self.database.within(sqlx::query_as(sql).bind(id).fetch_optional(&self.readers)).await
    }

    /// What a list asks: `$1` is the limit; site, severity, region and the place of the alarm before follow where they are asked for.
    fn listed(&self, filter: &AlarmFilter) -> String {
        let mut places = (2..).map(|n| format!("${n}"));
        let mut place = || places.next().unwrap_or_default();
        let mut wanted = vec!["1 = 1".to_owned()];
        if !filter.all {
            wanted.push("active = 1".to_owned());
        }
        if filter.site.is_some() {
            wanted.push(format!("site = {}", place()));
        }
        // One index answers: that of the site, else of the region, else of the severity.
        let aside = |is_aside: bool| if is_aside { self.database.aside() } else { "" };
        let (of_site, of_region) = (filter.site.is_some(), filter.region.is_some());
        if filter.severity.is_some() {
            wanted.push(format!("{}severity = {}", aside(of_site || of_region), place()));
        }
        if let Some(region) = &filter.region {
            // The forms that have an index; a text of another length finds what begins with it.
            let form = match region.len() {
                6 => "region".to_owned(),
                n => format!("substr(region, 1, {n})"),
            };
            wanted.push(format!("{}{form} = {}", aside(of_site), place()));
        }
        if filter.after.is_some() {
            wanted.push(format!("(active, opened, n) < ({}, {}, {})", place(), place(), place()));
        }
        let wanted = wanted.join(" AND ");
        format!("SELECT alarm FROM alarms WHERE {wanted} ORDER BY active DESC, opened DESC, n DESC LIMIT $1")
    }
}

#[async_trait]
impl Journal for SqlStore {
    async fn journal(&self, after: i64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.database.within(journal::entries(&self.readers, after, limit)).await
    }

    async fn unlike_journal(&self) -> Result<Option<(String, i64)>, StoreError> {
        self.database.within(journal::unlike(&self.readers, &self.database)).await
    }
}

#[async_trait]
impl AlarmStore for SqlStore {
    async fn position(&self, partition: u32) -> Result<u64, StoreError> {
        let sql = "SELECT next FROM positions WHERE partition_no = $1";
        let query = sqlx::query_scalar(sql).bind(i64::from(partition));
        let next: Option<i64> = self.database.within(query.fetch_optional(&self.readers)).await?;
        Ok(next.unwrap_or(0) as u64)
    }

    async fn apply(&self, batch: TransitionBatch) -> Result<Vec<AlarmEvent>, StoreError> {
        self.transact(async |work| work.apply(&batch).await).await
    }

    async fn act(&self, ids: &[String], act: &Act, now: Micros) -> Result<Vec<Outcome>, StoreError> {
        self.transact(async |work| work.act_all(ids, act, now).await).await
    }

    async fn record(&self, happened: Happened, now: Micros) -> Result<(), StoreError> {
        self.transact(async |work| work.record(&happened, now).await).await
    }

    async fn checkpoint(&self, signer: &Signer, now: Micros) -> Result<Checkpoint, StoreError> {
        self.transact(async |work| work.checkpoint(signer, now).await).await
    }

    async fn history(&self, id: &str) -> Result<Vec<Entry>, StoreError> {
        let sql = format!("SELECT {ENTRY} FROM journal WHERE alarm_id = $1 ORDER BY seq");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(id);
        self.database.within(query.fetch_all(&self.readers)).await?.iter().map(read_entry).collect()
    }

    async fn head(&self) -> Result<Head, StoreError> {
        let row = self.database.within(sqlx::query(HEAD).fetch_optional(&self.readers)).await?;
        row.as_ref().map_or(Ok(NOTHING), read_head)
    }

    async fn shelved(&self) -> Result<Vec<OnShelf>, StoreError> {
        let rows = self.database.within(sqlx::query(SHELVES).fetch_all(&self.readers)).await?;
        rows.iter().map(|row| Ok(read_shelf(row)?.1)).collect()
    }

    async fn list(&self, filter: &AlarmFilter) -> Result<Vec<Alarm>, StoreError> {
        let after = match &filter.after {
            None => None,
            Some(id) => match self.place_in_list(id).await? {
                Some(place) => Some(place),
                None => return Ok(Vec::new()),
            },
        };
        let sql = AssertSqlSafe(self.listed(filter));
        let mut query = sqlx::query_scalar::<_, String>(sql);
        query = query.bind(i64::try_from(filter.limit).unwrap_or(i64::MAX));
        if let Some(site) = &filter.site {
            query = query.bind(site);
        }
        if let Some(severity) = filter.severity {
            query = query.bind(severity as i64);
        }
        if let Some(region) = &filter.region {
            query = query.bind(region);
        }
        if let Some((active, opened, n)) = after {
            query = query.bind(active).bind(opened).bind(n);
        }
        let rows = self.database.within(query.fetch_all(&self.readers)).await?;
        rows.iter().map(|r| json(r)).collect()
    }

    async fn get(&self, id: &str) -> Result<Option<Alarm>, StoreError> {
        // Ids are hex digits: all that begin so stand between it and it with a `g` behind.
        let from = if id.len() < ID_DIGITS_MIN { "" } else { id };
        let sql = "SELECT alarm FROM alarms WHERE id >= $1 AND id < $2 LIMIT 2";
        let query = sqlx::query_scalar(sql).bind(from).bind(format!("{from}g"));
        let rows: Vec<String> = self.database.within(query.fetch_all(&self.readers)).await?;
        match &rows[..] {
            [one] if !from.is_empty() => json(one).map(Some),
            _ => Ok(None),
        }
    }

    async fn events_after(&self, seq: i64, limit: usize) -> Result<Vec<AlarmEvent>, StoreError> {
        let sql =
            "SELECT seq, event, at, alarm FROM journal WHERE seq > $1 AND alarm <> '' ORDER BY seq LIMIT $2";
        let query = sqlx::query(sql).bind(seq).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.database.within(query.fetch_all(&self.readers)).await?;
        let event = |r: &AnyRow| {
            let event = json(&format!("\"{}\"", r.try_get::<&str, _>(1).map_err(failed)?))?;
            let (seq, at) = (r.try_get(0).map_err(failed)?, r.try_get(2).map_err(failed)?);
            Ok(AlarmEvent { seq, event, at, alarm: json(r.try_get(3).map_err(failed)?)? })
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
        let columns = tables::OUTBOX;
        let earlier = "SELECT 1 FROM outbox AS e WHERE e.receiver = o.receiver AND e.state = 0 AND e.n < o.n";
        let sql = format!(
            "SELECT {columns} FROM outbox AS o WHERE receiver = $1 AND state = 0 AND next_at <= $2 AND (alarm_id = '' OR (NOT EXISTS ({earlier} \
             AND e.alarm_id = o.alarm_id) AND NOT EXISTS ({earlier} AND e.attempts < {TRIED} AND e.alarm_id = '{LIST}') AND (alarm_id <> '{LIST}' OR NOT EXISTS \
             ({earlier} AND e.attempts < {TRIED})))) ORDER BY n LIMIT $3"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(receiver).bind(now).bind(limit as i64);
        self.database.within(query.fetch_all(&self.readers)).await?.iter().map(tables::read_outbox).collect()
    }

    async fn delivered(&self, key: &str, now: Micros) -> Result<(), StoreError> {
        // Lost with the power, it is sent again with the same key: what is told must not wait for the disk once more.
        self.transact_as(false, async |work| work.delivered(key, now).await).await
    }

    async fn failed(
        &self,
        key: &str,
        error: &str,
        next_at: Option<Micros>,
        now: Micros,
    ) -> Result<(), StoreError> {
        self.transact(async |work| work.failed(key, error, next_at, now).await).await
    }

    async fn expire(&self, receiver: &str, created_before: Micros, now: Micros) -> Result<u64, StoreError> {
        let sql = "SELECT 1 FROM outbox WHERE receiver = $1 AND state = 0 AND attempts > 0 AND created < $2 LIMIT 1";
        let query = sqlx::query(sql).bind(receiver).bind(created_before);
        if self.database.within(query.fetch_optional(&self.readers)).await?.is_none() {
            return Ok(0);
        }
        self.transact(async |work| work.expire(receiver, created_before, now).await).await
    }

    async fn revive(&self, receiver: &str, now: Micros) -> Result<(), StoreError> {
        let sql = "UPDATE outbox SET next_at = $1 WHERE receiver = $2 AND state = 0 AND next_at > $1";
        let mut writer = self.writer.lock().await;
        let query = sqlx::query(sql).bind(now).bind(receiver);
        let Writer { connection, doubtful } = writer.ready(&self.database).await?;
        *doubtful = true;
        self.database.within(query.execute(&mut *connection)).await?;
        *doubtful = false;
        self.changed.send_modify(|n| *n += 1);
        Ok(())
    }

    async fn flush(&self, now: Micros) -> Result<(), StoreError> {
        let sql = "SELECT 1 FROM digest WHERE due <= $1 UNION ALL SELECT 1 FROM transitions WHERE at < $2 \
                   UNION ALL SELECT 1 FROM outbox WHERE state = 1 AND settled < $3 UNION ALL SELECT 1 FROM shelves WHERE until <= $1 \
                   UNION ALL SELECT 1 FROM alarms WHERE next_at <= $1 UNION ALL SELECT 1 FROM floods WHERE due <= $1 OR due > $4 LIMIT 1";
        let query =
            sqlx::query(sql).bind(now).bind(now - REMEMBER).bind(now - KEEP_DELIVERED).bind(now + LIST_AFTER);
        let mut looked = self.looked.lock().await;
        let routes = self.routes.get();
        let anew = Looked::is_due(looked.as_ref(), &routes, now);
        if anew || self.database.within(query.fetch_optional(&self.readers)).await?.is_some() {
            self.transact(async |work| work.flush(now, anew).await).await?;
        }
        *looked = Some(Looked { routes, at: now });
        Ok(())
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        let sql = "SELECT receiver, count(*), min(created) FROM outbox WHERE state = 0 GROUP BY receiver";
        let rows: Vec<(String, i64, Micros)> =
            self.database.within(sqlx::query_as(sql).fetch_all(&self.readers)).await?;
        let backlog = |(receiver, pending, oldest): (String, i64, Micros)| Backlog {
            receiver,
            pending: pending as u64,
            oldest,
        };
        Ok(rows.into_iter().map(backlog).collect())
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        let sql = "SELECT raised, cleared, withdrawn, sent, delivered, dead FROM totals";
        let row = self.database.within(sqlx::query(sql).fetch_one(&self.readers)).await?;
        let n = |i: usize| row.try_get::<i64, _>(i).map(|n| n as u64).map_err(failed);
        let (sent, delivered, dead) = (n(3)?, n(4)?, n(5)?);
        let pending = sent.saturating_sub(delivered + dead);
        Ok(Counts { raised: n(0)?, cleared: n(1)?, withdrawn: n(2)?, sent, delivered, pending, dead })
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{receivers, transition};
    use model::{To, Transition};
    use sqlx::Executor;
    use std::time::Duration;
    use tokio::net::{TcpListener, TcpStream};

    /// From now on it is written down of each entry of the journal what `PRAGMA synchronous` says inside its transaction.
    async fn watch(store: &SqlStore) {
        let sql = "CREATE TEMP TABLE seen (event TEXT, level INTEGER); CREATE TEMP TRIGGER see AFTER INSERT ON journal BEGIN \
                   INSERT INTO seen SELECT NEW.event, synchronous FROM pragma_synchronous; END";
        let mut writer = store.writer.lock().await;
        writer.ready(&store.database).await.unwrap().connection.execute(sql).await.unwrap();
    }

    /// What was seen: 2 is FULL, 1 is NORMAL.
    async fn seen(store: &SqlStore) -> Vec<(String, i64)> {
        let mut writer = store.writer.lock().await;
        let connection = &mut writer.ready(&store.database).await.unwrap().connection;
        sqlx::query_as("SELECT event, level FROM seen").fetch_all(connection).await.unwrap()
    }

    #[tokio::test]
    async fn only_what_was_delivered_is_not_synced() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("alarms.db").display());
        let store = SqlStore::open(&url, receivers(), &Registry::new()).await.unwrap();
        let raise = |n: u64| TransitionBatch {
            partition: 0,
            next: n,
            transitions: vec![Transition { rule: n.to_string(), ..transition(n, "alarm", To::On, 1.2) }],
            now: 2_000_000,
            hold: false,
        };
        let level = |event: &str, level| (event.to_owned(), level);
        watch(&store).await;
        store.apply(raise(1)).await.unwrap();
        let due = store.outbox_due("county", Micros::MAX, 10).await.unwrap();
        store.failed(&due[0].key, "not now", Some(3_000_000), 3_000_000).await.unwrap();
        store.delivered(&due[0].key, 3_000_000).await.unwrap();
        store.apply(raise(2)).await.unwrap();
        let expected = [level("raised", 2), level("failed", 2), level("delivered", 1), level("raised", 2)];
        assert_eq!(seen(&store).await, expected);
        // Where it fails in between, the connection is given up.
        let failing =
            store.transact_as(false, async |_| Err::<(), _>(StoreError::Database("as it should".to_owned())));
        failing.await.unwrap_err();
        watch(&store).await;
        store.apply(raise(3)).await.unwrap();
        assert_eq!(seen(&store).await, [level("raised", 2)]);
    }

    /// A way to a server that can be cut: then nothing comes through it any more, and no end either.
    async fn proxy(server: u16) -> (watch::Sender<bool>, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, (cut, is_cut)) = (listener.local_addr().unwrap().port(), watch::channel(false));
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let mut is_cut = is_cut.clone();
                tokio::spawn(async move {
                    let mut to = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                    let was_cut = async { is_cut.wait_for(|cut| *cut).await.map(|_| ()) };
                    tokio::select! {
                        _ = was_cut => std::future::pending().await,
                        _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                    }
                });
            }
        });
        (cut, port)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_server_that_is_cut_off_is_waited_for_no_longer_than_said() {
        let server = ::tests::postgres::start();
        let (cut, port) = proxy(server.port).await;
        let url = server.database().replace(&format!(":{}/", server.port), &format!(":{port}/"));
        let store = SqlStore::open(&url, receivers(), &Registry::new()).await.unwrap();
        let batch = |n| TransitionBatch {
            partition: 0,
            next: n,
            transitions: vec![transition(n, "alarm", if n == 1 { To::On } else { To::Off }, 1.2)],
            now: 2_000_000,
            hold: false,
        };
        store.apply(batch(1)).await.unwrap();
        cut.send_replace(true);
        let mut failed = vec![store.apply(batch(2)).await.map(|_| ()), store.revive("county", 9).await];
        failed.push(store.backlog().await.map(|_| ()));
        for failed in failed {
            assert!(failed.unwrap_err().to_string().contains("does not answer"));
        }
        cut.send_replace(false);
        assert_eq!(store.apply(batch(2)).await.unwrap().len(), 1);
        let readers_are_back = async {
            loop {
                match store.backlog().await {
                    Ok(backlog) => break backlog,
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        let backlog = tokio::time::timeout(Duration::from_secs(60), readers_are_back).await.unwrap();
        assert_eq!(backlog.iter().map(|b| b.pending).sum::<u64>(), 4, "raised and cleared, to two");
    }
}
