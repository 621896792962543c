//! Registers unknown points and releases their quarantined readings into history: one by a request, or by themselves ([`watch`]).
//!
//! A point goes to `registered.csv` beside the log, the catalog is read again, and the readings that waited are handed to
//! the edge as released ones: marked historical, so that no rule takes them for live, and with the run flag that keeps
//! them from being counted as received twice. Readings older than the table keeps stay in quarantine: the edge would send them
//! back. One registration or release runs at a time, and nothing is released again before what was is in the table: until then a
//! reading still looks as if it waited.

use crate::config::{Config, registered_file};
use crate::reload::Active;
use crate::snapshots::write_durably;
use anyhow::{Context, anyhow, bail};
use ingest::{Context as SourceContext, Delivery, SourceInfo};
use model::record::{UNKNOWN_POINT, run_flags};
use model::{ReadingsBuilder, status};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::{Limits, QuarantinedReading, QueryError, Storage};
use tokio::sync::Mutex;

pub mod watch;

/// What is known of a point when it is registered.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct NewPoint {
    /// Site code; the site must be in the catalog.
    pub site: String,
    /// Point code.
    pub point: String,
    /// Quantity word.
    pub quantity: String,
    /// Name for people.
    #[serde(default)]
    pub name: String,
    /// Unit.
    #[serde(default)]
    pub unit: String,
    /// Low end of the range.
    pub low: Option<f64>,
    /// High end of the range.
    pub high: Option<f64>,
    /// Place class.
    #[serde(default)]
    pub place: String,
}

/// Rows handed over at once.
const CHUNK: usize = 8192;
/// Points whose readings are looked for at once.
const POINTS_AT_ONCE: usize = 500;
/// Readings looked up at once; the others wait for the next round.
const ROWS_MAX: usize = 1_000_000;

/// Registers and releases.
pub struct Registrar {
    config: Arc<Config>,
    active: Arc<Active>,
    storage: Storage,
    push: SourceContext,
    /// Held for a registration or a release.
    released: Mutex<Released>,
}

/// How far the table must have come before anything is released again.
#[derive(Default)]
struct Released {
    /// Readings released by this process.
    handed: u64,
    /// Those the table had taken when it began.
    before: u64,
}

impl Registrar {
    /// Registers into the configuration's `registered.csv` and releases through `push`.
    pub fn new(config: Arc<Config>, active: Arc<Active>, storage: Storage, push: SourceContext) -> Self {
        Self { config, active, storage, push, released: Mutex::default() }
    }

    /// Registers the points, all or none; returns how many readings were released.
    ///
    /// # Errors
    /// When a point is wrong or stands already: then nothing has changed. Or when its readings cannot be read or handed over: then it
    /// is registered ([`Registrar::has`]), and the watch releases them.
    pub async fn register(&self, points: &[NewPoint]) -> anyhow::Result<u64> {
        let mut released = self.released.lock().await;
        if let Some(point) = points.iter().find(|p| self.push.catalog().find(&p.site, &p.point).is_some()) {
            bail!("point `{}` of site `{}` is in the catalog already", point.point, point.site);
        }
        self.may_release()?;
        let path = registered_file(&self.config);
        let before = match std::fs::read_to_string(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            text => Some(text.with_context(|| path.display().to_string())?),
        };
        let after = with_rows(before.as_deref().unwrap_or_default(), points)?;
        let (new, old) = (path.clone(), path);
        let write =
            move || write_durably(&new, after.as_bytes()).context("the registration cannot be written");
        let back = move || {
            let restored = match before {
                Some(text) => write_durably(&old, text.as_bytes()),
                None => std::fs::remove_file(&old),
            };
            restored.context("the registration could not be taken back")
        };
        self.active.change(&self.config, write, back).await?;
        let points: Vec<_> = points.iter().map(|p| (p.site.clone(), p.point.clone())).collect();
        self.release_points(&points, &mut released).await.map(|(count, _)| count)
    }

    /// Whether the catalog has the point.
    fn has(&self, (site, point): &(String, String)) -> bool {
        self.push.catalog().find(site, point).is_some()
    }

    /// Releases what waits of points of the catalog, and whether that was all; `None`: what was released before is not in the table yet.
    ///
    /// # Errors
    /// When their readings cannot be read or handed over; those that were handed over stay released.
    async fn release(&self, points: &[(String, String)]) -> anyhow::Result<Option<(u64, bool)>> {
        let mut released = self.released.lock().await;
        self.may_release()?;
        if self.storage.released() < released.before + released.handed {
            return Ok(None);
        }
        self.release_points(points, &mut released).await.map(Some)
    }

    /// What others have released, or this process before it was started again, is in the table.
    async fn begin(&self) {
        *self.released.lock().await = Released { handed: 0, before: self.storage.released() };
    }

    /// Of a table that is not this process's own the waiting readings are another's.
    fn may_release(&self) -> anyhow::Result<()> {
        match self.storage.stopped() {
            Some(why) => bail!("no point can be registered while nothing is stored: {why}"),
            None => Ok(()),
        }
    }

    /// How many readings were released, and whether these were all.
    async fn release_points(
        &self,
        points: &[(String, String)],
        released: &mut Released,
    ) -> anyhow::Result<(u64, bool)> {
        let limits = Limits { rows: usize::MAX, ..Limits::default() };
        let (mut count, mut are_all) = (0, true);
        let mut parts: Vec<&[(String, String)]> = points.chunks(POINTS_AT_ONCE).rev().collect();
        while let Some(part) = parts.pop() {
            let rows = match self.storage.quarantined_rows(part, ROWS_MAX, limits).await {
                // Too much for one look: half of the points at a time.
                Err(QueryError::Memory { .. } | QueryError::Time { .. }) if part.len() > 1 => {
                    let (first, rest) = part.split_at(part.len() / 2);
                    parts.extend([rest, first]);
                    continue;
                }
                rows => rows?,
            };
            are_all &= rows.len() < ROWS_MAX;
            count += self.hand_over(rows, released).await?;
        }
        Ok((count, are_all))
    }

    async fn hand_over(&self, rows: Vec<QuarantinedReading>, released: &mut Released) -> anyhow::Result<u64> {
        let catalog = self.push.catalog();
        let oldest = self.push.clock.now() - self.config.storage.retain.readings + model::time::MINUTE;
        // One partition at a time: the log takes a part whole or not at all, and what it took is counted also where the next is refused.
        let mut parts: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for QuarantinedReading { row, source, .. } in rows {
            // A point may have left the catalog since.
            let known = catalog.find(&row.site, &row.point);
            if let Some(ix) = known.filter(|_| row.time >= oldest && row.reason == UNKNOWN_POINT) {
                let id = catalog.ids()[ix as usize];
                parts.entry((source, catalog.partition_of_point(ix))).or_default().push((id, row));
            }
        }
        let mut count = 0;
        for ((source, _), rows) in parts {
            let info = SourceInfo { name: source, flags: run_flags::RELEASED };
            for chunk in rows.chunks(CHUNK) {
                let mut readings = ReadingsBuilder::with_capacity(chunk.len());
                for (id, row) in chunk {
                    let value = row.value.unwrap_or(f64::NAN);
                    readings.push(*id, row.time, value, row.status | status::HISTORICAL);
                }
                let delivery = Delivery {
                    received: self.push.clock.now(),
                    readings: readings.finish(),
                    ..Delivery::default()
                };
                self.push.sink.accept(&info, delivery).await?;
                released.handed += chunk.len() as u64;
                count += chunk.len() as u64;
            }
        }
        Ok(count)
    }
}

/// The text of `registered.csv` with more rows.
fn with_rows(before: &str, points: &[NewPoint]) -> anyhow::Result<String> {
    let mut text = before.as_bytes().to_vec();
    if !before.is_empty() && !before.ends_with('\n') {
        text.push(b'\n'); // a person wrote the last row
    }
    let mut out = csv::Writer::from_writer(text);
    if before.is_empty() {
        out.write_record(["site", "point", "name", "quantity", "unit", "low", "high", "place"])?;
    }
    let number = |n: Option<f64>| n.map(|n| n.to_string()).unwrap_or_default();
    for point in points {
        let (low, high) = (number(point.low), number(point.high));
        let row =
            [&point.site, &point.point, &point.name, &point.quantity, &point.unit, &low, &high, &point.place];
        out.write_record(row)?;
    }
    Ok(String::from_utf8(out.into_inner().map_err(|e| anyhow!("{e}"))?)?)
}
