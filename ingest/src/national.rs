//! National coal files (MT/T 1201.1-2023) from an inbox folder: CDSS and KGBH become readings, RYSS people's positions,
//! RYXX and RYQY a side file for the people page, CDDY is set aside for `[catalog]`. Times in the files are UTC+8.
//!
//! A file is complete when it ends with two pipes; writers may also write to a temporary name and rename. Every file
//! ends in a subfolder of the inbox (`done`, `partial`, `failed`, `duplicate`, `stale`, `unknown`, `catalog`), except
//! for `done` with a `.reason.txt` beside it; what decides is in [`judge`], how files are found and moved in [`inbox`].
//! The source keeps what it knows in `.firedamp` in the inbox: `seen.txt` ([`memory`]), `people/<mine>.json` ([`people`]).

pub mod catalog;
pub mod inbox;
pub mod judge;
pub mod memory;
pub mod people;
pub mod readings;
pub mod text;
pub mod units;

pub use catalog::catalog_from_file;
pub use people::{read_areas, read_people};

use crate::backoff::Backoff;
use crate::configure::{Common, Kind, Protocol, TimeFrom, duration};
use crate::keys::KeyDoc;
use crate::metrics::SourceMetrics;
use crate::outlet::Outlet;
use crate::{Context, Source};
use async_trait::async_trait;
use inbox::{Inbox, remove_old};
use model::Micros;
use model::time::{DAY, MINUTE, SECOND};
use model::toml_file::Section;
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Folder of the source's own files in the inbox.
pub const STATE_DIR: &str = ".firedamp";
/// How long a mine may send no snapshot of its people before health says so.
const SNAPSHOT_SILENT: Micros = 15 * MINUTE;
/// How often finished files are looked through for old ones.
const REMOVE_EVERY: Micros = 60 * MINUTE;
/// How long the file at hand is waited for at the end.
const DRAIN: Duration = Duration::from_secs(5);
/// Most troubles in the health message.
const TROUBLES_MAX: usize = 3;

/// The line of this protocol in [`crate::kinds`].
pub const KIND: Kind = Kind {
    name: "national",
    doc: "Reads national coal files (MT/T 1201.1) that are dropped into a folder.",
    keys: &[
        KeyDoc {
            key: "dir",
            kind: "path",
            default: "required",
            doc: "The inbox folder, made when it is not there; files may lie in subfolders.",
        },
        KeyDoc {
            key: "every",
            kind: "duration",
            default: "1s",
            doc: "How often the folder is looked at, 10 ms to 1 h.",
        },
        KeyDoc {
            key: "failed_after",
            kind: "duration",
            default: "10min",
            doc: "How long a file that does not end with two pipes may stand still before it fails.",
        },
        KeyDoc {
            key: "keep",
            kind: "duration",
            default: "30d",
            doc: "How long files in `done`, `stale` and `duplicate` are kept, by the time they were written; others stay.",
        },
    ],
    configure,
};

/// What the section says.
#[derive(Clone, Debug)]
pub struct Config {
    /// The inbox.
    pub dir: PathBuf,
    /// Scan interval.
    pub every: Duration,
    /// Patience with a file that is not complete.
    pub failed_after: Micros,
    /// How long finished files are kept.
    pub keep: Micros,
    /// Times of the records are ignored.
    pub receive_time: bool,
}

fn configure(common: &Common, section: &Section<'_>) -> Option<Protocol> {
    let dir = section.need_str("dir", "\"inbox\"");
    let every = duration(section, "every", SECOND, (10_000, 60 * MINUTE));
    let failed_after = duration(section, "failed_after", 10 * MINUTE, (SECOND, DAY));
    let keep = duration(section, "keep", 30 * DAY, (MINUTE, 3650 * DAY));
    let dir = dir?;
    if dir.value.is_empty() {
        section.file().error_at(dir.at, "`dir` is empty", "write the path of the inbox folder");
        return None;
    }
    let dir = section.path("dir")?.value;
    let summary = format!("files in {}", dir.display());
    let config = Config {
        dir,
        every: Duration::from_micros(every as u64),
        failed_after,
        keep,
        receive_time: common.time == TimeFrom::Receive,
    };
    Some(Protocol {
        make: std::sync::Arc::new(move || Box::new(National { config: config.clone() })),
        summary,
        points: Vec::new(),
    })
}

/// An inbox.
pub struct National {
    config: Config,
}

#[async_trait]
impl Source for National {
    async fn run(self: Box<Self>, context: Context, stop: CancellationToken) {
        let metrics = context.metrics.source(&context.info.name);
        let outlet = Outlet::start(context.clone(), metrics.clone(), stop.clone());
        let too_late = async {
            stop.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            // It stops by itself after the file at hand; the deadline is for a log that takes nothing more.
            biased;
            () = self.work(&context, &metrics, &outlet, &stop) => {}
            () = too_late => {}
        }
        metrics.connected.set(0);
        context.health.write().expect("no holder of this lock panics").up = false;
        if !outlet.close().await {
            tracing::warn!(source = %context.info.name, "stopped with files that the log had not taken in time");
        }
    }
}

impl National {
    /// Returns on `stop`, or when the sink is closed.
    async fn work(
        &self,
        context: &Context,
        metrics: &SourceMetrics,
        outlet: &Outlet,
        stop: &CancellationToken,
    ) {
        let mut backoff = Backoff::new(self.config.every, self.config.every.max(Duration::from_secs(30)));
        let mut inbox: Option<Inbox> = None;
        let mut removed = Micros::MIN;
        while !stop.is_cancelled() {
            let now = context.clock.now();
            if now.saturating_sub(removed) >= REMOVE_EVERY {
                removed = now;
                self.remove_old(context, now).await;
            }
            let again = match self.scan(&mut inbox, context, metrics, outlet, stop).await {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => return,
                Err(error) => {
                    tracing::warn!(source = %context.info.name, %error, "the inbox cannot be used");
                    metrics.connected.set(0);
                    tell(context, false, false, vec![format!("{}: {error}", self.config.dir.display())]);
                    backoff.delay()
                }
                Ok(taken) => {
                    backoff.reset();
                    metrics.connected.set(1);
                    let troubles =
                        inbox.as_ref().map(|i| troubles(i, context.clock.now())).unwrap_or_default();
                    tell(context, true, taken, troubles);
                    if taken { Duration::ZERO } else { self.config.every }
                }
            };
            tokio::select! {
                () = tokio::time::sleep(again) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// One look at the folder, which is opened first where it is not.
    async fn scan(
        &self,
        inbox: &mut Option<Inbox>,
        context: &Context,
        metrics: &SourceMetrics,
        outlet: &Outlet,
        stop: &CancellationToken,
    ) -> std::io::Result<bool> {
        if inbox.is_none() {
            *inbox = Some(Inbox::open(&self.config, context, metrics)?);
        }
        match inbox {
            Some(inbox) => inbox.scan(outlet, stop).await,
            None => Ok(false),
        }
    }

    async fn remove_old(&self, context: &Context, now: Micros) {
        let (dir, before) = (self.config.dir.clone(), now - self.config.keep);
        if let Ok(removed @ 1..) = tokio::task::spawn_blocking(move || remove_old(&dir, before)).await {
            tracing::info!(source = %context.info.name, removed, "old finished files removed");
        }
    }
}

/// What is wrong with an inbox that can be read.
fn troubles(inbox: &Inbox, now: Micros) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    if inbox.stuck() > 0 {
        said.push(format!(
            "{} files were read and cannot be moved: are the subfolders writable?",
            inbox.stuck()
        ));
    }
    let silent = inbox.silent_mines(now - SNAPSHOT_SILENT);
    said.extend(silent.iter().map(|mine| format!("mine {mine}: no new RYSS for 15 min")));
    said.extend(inbox.troubles.values().cloned());
    said.extend(inbox.left_out.folders.iter().cloned());
    if inbox.left_out.links > 0 {
        said.push(format!("{} symbolic links are not followed", inbox.left_out.links));
    }
    said
}

/// Health for people.
fn tell(context: &Context, up: bool, taken: bool, mut said: Vec<String>) {
    let more = said.len().saturating_sub(TROUBLES_MAX);
    said.truncate(TROUBLES_MAX);
    if more > 0 {
        said.push(format!("and {more} more"));
    }
    let mut health = context.health.write().expect("no holder of this lock panics");
    health.up = up;
    health.message = said.join("; ");
    if taken {
        health.last = Some(context.clock.now());
    }
}

#[cfg(test)]
mod tests;
