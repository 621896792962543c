//! Opens log and table of a configuration itself, for commands when no server runs.

use super::Stop;
use crate::config::{Config, LogKind, load_catalog};
use anyhow::{Context, anyhow};
use model::{Clock, Problems, SystemClock};
use prometheus::Registry;
use std::sync::{Arc, RwLock};
use storage::Storage;
use stream::{EmbeddedLog, EmbeddedOptions, Log};

/// The table, read only.
pub async fn table(config: &Config) -> Result<Storage, Stop> {
    let catalog = load_catalog(config, &mut Problems::default());
    let catalog = Arc::new(RwLock::new(Arc::new(catalog)));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let table = Storage::open_read_only(config.storage.clone(), None, catalog, clock, &Registry::new()).await;
    Ok(table.with_context(|| format!("the table at {}", config.storage.url))?)
}

/// The log; the embedded one belongs to one process at a time.
pub async fn log(config: &Config) -> Result<Arc<dyn Log>, Stop> {
    if config.log.kind == LogKind::Kafka {
        return Err(anyhow!("with Kafka, ask the running server").into());
    }
    let options = EmbeddedOptions {
        dir: config.log.dir.clone(),
        partitions: config.log.partitions,
        retain_size: config.log.retain_size,
        disk_reserve: config.log.disk_reserve,
        ..EmbeddedOptions::default()
    };
    let log = EmbeddedLog::open(options, Arc::new(SystemClock), &Registry::new());
    Ok(Arc::new(log.with_context(|| format!("the log in {}", config.log.dir.display()))?))
}
