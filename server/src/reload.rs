//! Rules and catalog change while running: when a file changes or on SIGHUP everything is read again, whole, and taken only
//! when it holds no error. The rules of each partition then come into force through a record of the log.

use crate::config::{Config, Loaded};
use crate::runners::own::OwnAlarms;
use crate::versions::Version;
use model::{Catalog, Problems};
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What is in force in this process.
pub struct Active {
    /// The catalog of edge, live values and storage.
    pub catalog: Arc<RwLock<Arc<Catalog>>>,
    /// The version the rules are to activate.
    pub versions: watch::Sender<Arc<Version>>,
    /// The files as they were read.
    pub loaded: RwLock<Arc<Loaded>>,
}

impl Active {
    /// Reads all files again and takes them when they hold no error.
    ///
    /// # Errors
    /// All mistakes; then nothing has changed.
    pub fn reload(&self, config: &Config) -> Result<(), Problems> {
        let (loaded, problems) = Loaded::read(config);
        let Some(loaded) = loaded else { return Err(problems) };
        // The rules hear of it first: a reading of a new point then finds its rules in force or on their way.
        self.versions.send_replace(loaded.version.clone());
        *self.catalog.write().expect("no holder of this lock panics") = loaded.catalog.clone();
        *self.loaded.write().expect("no holder of this lock panics") = Arc::new(loaded);
        Ok(())
    }
}

/// Watches files and SIGHUP until stopped.
pub async fn watch(config: Arc<Config>, active: Arc<Active>, own: OwnAlarms, stop: CancellationToken) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        return tracing::error!("SIGHUP cannot be caught; rules and points are not reloaded");
    };
    let mut before = stamps(&config);
    loop {
        let asked = tokio::select! {
            _ = stop.cancelled() => return,
            _ = hangup.recv() => true,
            _ = tokio::time::sleep(LOOK) => false,
        };
        let now = stamps(&config);
        if !asked && now == before {
            continue;
        }
        before = now;
        match active.reload(&config) {
            Ok(()) => {
                tracing::info!("rules and catalog read again");
                own.clear("reload-refused", "config", "rules and catalog are read".to_owned());
            }
            Err(problems) => {
                let first = problems.0.iter().find(|p| p.level == model::problem::Level::Error);
                let first = first.map(ToString::to_string).unwrap_or_default();
                tracing::error!(
                    "rules and catalog stay as they were, {} mistakes:\n{problems}",
                    problems.errors()
                );
                own.raise(
                    "reload-refused",
                    "config",
                    format!("rules and catalog stay as they were: {first}"),
                );
            }
        }
    }
}

/// Paths with their times and lengths; a change of any is a change.
fn stamps(config: &Config) -> Vec<(PathBuf, Option<(SystemTime, u64)>)> {
    let mut paths: Vec<PathBuf> =
        config.catalog.sites.iter().chain(&config.catalog.points).cloned().collect();
    paths.push(crate::config::registered_file(config));
    for path in &config.rules.paths {
        paths.push(path.clone());
        if let Ok(dir) = std::fs::read_dir(path) {
            paths.extend(dir.flatten().map(|e| e.path()));
        }
    }
    paths.sort();
    let stamp = |p: &PathBuf| std::fs::metadata(p).ok().and_then(|m| Some((m.modified().ok()?, m.len())));
    paths.iter().map(|p| (p.clone(), stamp(p))).collect()
}
