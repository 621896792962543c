//! Registers an unknown point and releases its quarantined readings into history.
//!
//! The point goes to `registered.csv` beside the log, the catalog is read again, and the readings that waited are handed to
//! the edge as released ones: marked historical, so that no rule takes them for live, and with the run flag that keeps
//! them from being counted as received twice. Registering a point again releases nothing: its rows are then duplicates.

use crate::config::{Config, registered_file};
use crate::reload::Active;
use anyhow::{Context, anyhow, bail};
use ingest::{Context as SourceContext, Delivery, SourceInfo};
use model::record::run_flags;
use model::{PointId, ReadingsBuilder, status};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Write;
use storage::{Limits, Storage};

/// What is known of a point when it is registered.
#[derive(Clone, Debug, Deserialize)]
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
/// Readings released by one registration; more stay in quarantine and are released by the next.
const ROWS_MAX: usize = 10_000_000;

/// Registers the point; returns how many readings were released.
///
/// # Errors
/// When the point is wrong or stands already, or its readings cannot be read; then nothing has changed.
pub async fn register(
    config: &Config,
    active: &Active,
    storage: &Storage,
    push: &SourceContext,
    point: &NewPoint,
) -> anyhow::Result<u64> {
    if push.catalog().find(&point.site, &point.point).is_some() {
        bail!("point `{}` of site `{}` is in the catalog already", point.point, point.site);
    }
    let path = registered_file(config);
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    append(&path, &before, point)?;
    if let Err(problems) = active.reload(config) {
        std::fs::write(&path, before).context("the registration could not be taken back")?;
        return Err(anyhow!("not registered:\n{problems}"));
    }
    release(storage, push, point).await
}

fn append(path: &std::path::Path, before: &str, point: &NewPoint) -> anyhow::Result<()> {
    let mut out = csv::Writer::from_writer(Vec::new());
    if before.is_empty() {
        out.write_record(["site", "point", "name", "quantity", "unit", "low", "high", "place"])?;
    }
    let number = |n: Option<f64>| n.map(|n| n.to_string()).unwrap_or_default();
    let (low, high) = (number(point.low), number(point.high));
    let row =
        [&point.site, &point.point, &point.name, &point.quantity, &point.unit, &low, &high, &point.place];
    out.write_record(row)?;
    let row = out.into_inner().map_err(|e| anyhow!("{e}"))?;
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(&row)?;
    file.sync_all()?;
    Ok(())
}

async fn release(storage: &Storage, push: &SourceContext, point: &NewPoint) -> anyhow::Result<u64> {
    let limits = Limits { rows: usize::MAX, ..Limits::default() };
    let rows = storage.quarantined_rows(&point.site, &point.point, ROWS_MAX, limits).await?;
    let id = PointId::of(&point.site, &point.point);
    let mut by_source: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for row in rows {
        by_source.entry(row.source.to_string()).or_default().push(row);
    }
    let mut released = 0;
    for (source, rows) in by_source {
        let info = SourceInfo { name: source.into(), flags: run_flags::RELEASED };
        for chunk in rows.chunks(CHUNK) {
            let mut readings = ReadingsBuilder::with_capacity(chunk.len());
            for row in chunk {
                let row = &row.row;
                readings.push(id, row.time, row.value.unwrap_or(f64::NAN), row.status | status::HISTORICAL);
            }
            let delivery =
                Delivery { received: push.clock.now(), readings: readings.finish(), ..Delivery::default() };
            push.sink.accept(&info, delivery).await?;
            released += chunk.len() as u64;
        }
    }
    Ok(released)
}
