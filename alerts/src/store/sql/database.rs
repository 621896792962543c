//! What SQLite and PostgreSQL do differently: how one connects, how a transaction begins, and the few words of SQL that are not the same.
//! There is one set of migrations, written for SQLite; [`postgres`] says the same in PostgreSQL's words.

use super::failed;
use crate::StoreError;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions, Connection, Executor, SqlSafeStr};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;
use url::Url;

/// Reading connections: the API, the dispatcher's tasks and the event feed.
const READERS: u32 = 4;

/// For each connection to SQLite. The cache is in KiB where negative: a flood of alarms changes pages all over the indexes.
const PRAGMAS: &str = "PRAGMA busy_timeout = 10000; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536";

/// For each connection to PostgreSQL: a process that is gone holds no lock for longer, and waits for none.
const SETTINGS: &str = "SET idle_in_transaction_session_timeout = '30s'; SET lock_timeout = '30s'; SET tcp_keepalives_idle = 10; \
                        SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";
/// How long a server may take for an answer or a transaction.
const ANSWER: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 60 });

/// Which database it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

/// How the database is reached.
#[derive(Clone, Debug)]
pub(super) struct Database {
    pub kind: Kind,
    /// As people know it: a path, or a URL without its password.
    pub name: String,
    url: Url,
}

impl Database {
    /// From `sqlite:PATH` or `postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE`.
    pub fn of(url: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        // Without the URL: it may hold a password.
        let bad = |e: &dyn std::fmt::Display| StoreError::Format(format!("its address cannot be read: {e}"));
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let url = Url::parse(url).map_err(|e| bad(&e))?;
            let mut name = url.clone();
            // An URL without a host has no password either.
            let _ = name.set_password(None);
            return Ok(Self { kind: Kind::Postgres, name: name.into(), url });
        }
        let path = url.strip_prefix("sqlite:").unwrap_or(url);
        let whole = std::path::absolute(path).map_err(|e| bad(&e))?;
        let mut file = Url::parse("sqlite:///").map_err(|e| bad(&e))?;
        file.set_path(&whole.to_string_lossy().replace('%', "%25"));
        Ok(Self { kind: Kind::Sqlite, name: path.to_owned(), url: file })
    }

    /// Makes the folder of a file.
    pub fn make_folder(&self) -> Result<(), StoreError> {
        match Path::new(&self.name).parent() {
            Some(dir) if self.kind == Kind::Sqlite => {
                std::fs::create_dir_all(dir).map_err(|e| failed(format!("{}: {e}", dir.display())))
            }
            _ => Ok(()),
        }
    }

    fn options(&self, mode: &str) -> Result<AnyConnectOptions, StoreError> {
        let mut url = self.url.clone();
        if self.kind == Kind::Sqlite {
            url.set_query(Some(&format!("mode={mode}")));
        }
        Ok(AnyConnectOptions::from_str(url.as_str()).map_err(failed)?.disable_statement_logging())
    }

    /// The connection that writes; a file is made where there is none.
    pub async fn writer(&self) -> Result<AnyConnection, StoreError> {
        let named = |e: sqlx::Error| failed(format!("{}: {e}", self.name));
        let options = self.options("rwc")?;
        let opened = async {
            let mut connection = AnyConnection::connect_with(&options).await?;
            match self.kind {
                Kind::Sqlite => {
                    connection.execute("PRAGMA journal_mode = WAL").await?;
                    connection.execute(PRAGMAS).await?;
                }
                Kind::Postgres => _ = connection.execute(SETTINGS).await?,
            }
            Ok(connection)
        };
        self.within(async { opened.await.map_err(named) }).await
    }

    /// Connections that only read.
    pub async fn readers(&self) -> Result<AnyPool, StoreError> {
        let pool = AnyPoolOptions::new().max_connections(READERS);
        let pool = match self.kind {
            Kind::Sqlite => pool.after_connect(|connection, _| {
                Box::pin(async move { connection.execute(PRAGMAS).await.map(|_| ()) })
            }),
            Kind::Postgres => pool.after_connect(|connection, _| {
                Box::pin(async move {
                    connection.execute(SETTINGS).await?;
                    connection.execute("SET default_transaction_read_only = on").await.map(|_| ())
                })
            }),
        };
        let named = |e| failed(format!("{}: {e}", self.name));
        pool.connect_with(self.options("ro")?).await.map_err(named)
    }

    /// An answer, in time: a server that is cut off sends none and no refusal. A file answers always.
    pub async fn within<T, E: Into<StoreError>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, StoreError> {
        match self.kind {
            Kind::Sqlite => answer.await.map_err(E::into),
            Kind::Postgres => match tokio::time::timeout(ANSWER, answer).await {
                Ok(answered) => answered.map_err(E::into),
                Err(_) => Err(failed(format!("{} does not answer", self.name))),
            },
        }
    }

    /// Begins a transaction that no other writer is beside. What was only `delivered` need not be `synced`.
    pub fn begin(&self, synced: bool) -> &'static str {
        match (self.kind, synced) {
            (Kind::Sqlite, _) => "BEGIN IMMEDIATE",
            (Kind::Postgres, true) => "BEGIN; LOCK TABLE totals IN EXCLUSIVE MODE",
            (Kind::Postgres, false) => {
                "BEGIN; LOCK TABLE totals IN EXCLUSIVE MODE; SET LOCAL synchronous_commit = off"
            }
        }
    }

    /// Whether the commits of a connection to SQLite wait for the disk (`FULL`), or the next one that does takes them along (`NORMAL`, in
    /// WAL mode). In PostgreSQL the transaction says so itself.
    pub async fn set_synced(&self, connection: &mut AnyConnection, synced: bool) -> Result<(), StoreError> {
        let sql = if synced { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" };
        match self.kind {
            Kind::Sqlite => connection.execute(sql).await.map_err(failed).map(|_| ()),
            Kind::Postgres => Ok(()),
        }
    }

    /// A field of an alarm as it is stored.
    pub fn field(&self, name: &str) -> String {
        match self.kind {
            Kind::Sqlite => format!("a.alarm ->> '{name}'"),
            Kind::Postgres => format!("a.alarm::json ->> '{name}'"),
        }
    }

    /// A condition that SQLite is not to choose its index by.
    pub fn aside(&self) -> &'static str {
        match self.kind {
            Kind::Sqlite => "+",
            Kind::Postgres => "",
        }
    }

    /// Brings it to this format, in its own words.
    pub fn migrator(&self) -> Migrator {
        let migrator = sqlx::migrate!("./migrations");
        if self.kind == Kind::Sqlite {
            return migrator;
        }
        let migrations = migrator.iter().map(|m| {
            let sql = AssertSqlSafe(postgres(m.sql.as_str())).into_sql_str();
            Migration { sql, ..m.clone() }
        });
        Migrator::with_migrations(migrations.collect())
    }

    /// Why it could not be brought to this format.
    pub fn not_ours(&self, e: &MigrateError) -> StoreError {
        let name = &self.name;
        StoreError::Format(match e {
            MigrateError::VersionMissing(version) => format!(
                "{name} has format {version}, which this firedamp does not know: it was made by a newer one"
            ),
            e => format!("{name}: {e}"),
        })
    }
}

/// A migration in PostgreSQL's words. Texts compare as bytes, as they do in SQLite.
fn postgres(sqlite: &str) -> String {
    let words = [
        ("INTEGER PRIMARY KEY AUTOINCREMENT", "INTEGER GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"),
        ("n               INTEGER PRIMARY KEY", "n INTEGER GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"),
        (" WITHOUT ROWID", ""),
        ("DEFAULT x''", "DEFAULT ''"),
        (" INTEGER", " BIGINT"),
        (" BLOB", " BYTEA"),
        (" TEXT", " TEXT COLLATE \"C\""),
    ];
    words.into_iter().fold(sqlite.to_owned(), |sql, (here, there)| sql.replace(here, there))
}
