//! Rules, catalog and routes change while running: when a file changes or on SIGHUP everything is read again, whole, and taken only
//! when it holds no error. The rules of each partition then come into force through a record of the log. Whoever asks for it (the
//! watch, a request, a registration), files that are in force are not read again.

use crate::config::{Config, Hashes, Loaded, Stamps, stamps};
use crate::runners::own::OwnAlarms;
use crate::versions::Version;
use alerts::RoutesInForce;
use model::{Catalog, Problems};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What is in force in this process.
pub struct Active {
    /// The catalog of edge, live values and storage.
    pub catalog: Arc<RwLock<Arc<Catalog>>>,
    /// Who is told.
    pub routes: RoutesInForce,
    /// The version the rules are to activate.
    pub versions: watch::Sender<Arc<Version>>,
    /// The files as they were read.
    pub loaded: RwLock<Arc<Loaded>>,
    /// Told of each change, in order.
    reloaded: mpsc::UnboundedSender<Hashes>,
    in_force: Mutex<Stamps>,
    reloading: Mutex<()>,
}

impl Active {
    /// What was read at the start.
    pub fn new(
        loaded: Loaded,
        catalog: Arc<RwLock<Arc<Catalog>>>,
        routes: RoutesInForce,
        versions: watch::Sender<Arc<Version>>,
        reloaded: mpsc::UnboundedSender<Hashes>,
    ) -> Self {
        Self {
            reloaded,
            catalog,
            routes,
            versions,
            in_force: Mutex::new(loaded.stamps.clone()),
            loaded: RwLock::new(Arc::new(loaded)),
            reloading: Mutex::new(()),
        }
    }

    /// The files as they were when they came into force.
    pub fn in_force(&self) -> Stamps {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads all files again, beside the tasks, and takes them when they hold no error. Files that came into force while this waited
    /// its turn are not read again, unless a person asked for it.
    ///
    /// # Errors
    /// All mistakes; then nothing has changed.
    pub async fn reload(self: &Arc<Self>, config: &Arc<Config>, asked: bool) -> Result<(), Problems> {
        self.in_turn(config, move |active, config| match !asked && stamps(config) == active.in_force() {
            true => Ok(()),
            false => active.take(config),
        })
        .await
    }

    /// Changes files and takes them, in one turn: nobody else reads them before it is known whether they hold an error. Then `back`
    /// puts them as they were.
    ///
    /// # Errors
    /// Why the files cannot be written, or all mistakes.
    pub async fn change(
        self: &Arc<Self>,
        config: &Arc<Config>,
        write: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
        back: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        self.in_turn(config, move |active, config| {
            write()?;
            active.take(config).or_else(|problems| {
                back()?;
                Err(anyhow::anyhow!("not registered:\n{problems}"))
            })
        })
        .await
    }

    /// One after the other, so that what was read last is what is in force, and on a thread that may take its time: with a million
    /// points reading takes seconds.
    async fn in_turn<T: Send + 'static>(
        self: &Arc<Self>,
        config: &Arc<Config>,
        work: impl FnOnce(&Self, &Config) -> T + Send + 'static,
    ) -> T {
        let (active, config) = (self.clone(), config.clone());
        let turn = move || {
            let _one = active.reloading.lock().unwrap_or_else(PoisonError::into_inner);
            work(&active, &config)
        };
        tokio::task::spawn_blocking(turn).await.expect("reading files does not panic")
    }

    fn take(&self, config: &Config) -> Result<(), Problems> {
        let (loaded, problems) = Loaded::read(config);
        let Some(loaded) = loaded else { return Err(problems) };
        let read = loaded.stamps.clone();
        // The rules hear of it first: a reading of a new point then finds its rules in force or on their way.
        self.versions.send_replace(loaded.version.clone());
        *self.catalog.write().expect("no holder of this lock panics") = loaded.catalog.clone();
        self.routes.replace(loaded.routes.clone());
        let mut before = self.loaded.write().expect("no holder of this lock panics");
        if loaded.hashes != before.hashes {
            // In a process that keeps no journal nobody hears of it.
            let _ = self.reloaded.send(loaded.hashes.clone());
        }
        *before = Arc::new(loaded);
        drop(before);
        *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }
}

/// Watches files and SIGHUP until stopped.
pub async fn watch(config: Arc<Config>, active: Arc<Active>, own: OwnAlarms, stop: CancellationToken) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        return tracing::error!("SIGHUP cannot be caught; rules, points and routes are not reloaded");
    };
    // This process has started with the files: what an earlier one told of them is over.
    own.clear("reload-refused", "config", "rules, catalog and routes are read".to_owned());
    let mut refused: Option<Stamps> = None;
    loop {
        let asked = tokio::select! {
            _ = stop.cancelled() => return,
            _ = hangup.recv() => true,
            _ = tokio::time::sleep(LOOK) => false,
        };
        let now = stamps(&config);
        let is_in_force = now == active.in_force();
        if !asked && (is_in_force || refused.as_ref() == Some(&now)) {
            if is_in_force && refused.take().is_some() {
                own.clear("reload-refused", "config", "rules, catalog and routes are read".to_owned());
            }
            continue;
        }
        match active.reload(&config, asked).await {
            Ok(()) => {
                tracing::info!("rules, catalog and routes read again");
                refused = None;
                own.clear("reload-refused", "config", "rules, catalog and routes are read".to_owned());
            }
            Err(problems) => {
                refused = Some(now);
                let first = problems.0.iter().find(|p| p.level == model::problem::Level::Error);
                let first = first.map(ToString::to_string).unwrap_or_default();
                tracing::error!(
                    "rules, catalog and routes stay as they were, {} mistakes:\n{problems}",
                    problems.errors()
                );
                own.raise(
                    "reload-refused",
                    "config",
                    format!("rules, catalog and routes stay as they were: {first}"),
                );
            }
        }
    }
}
