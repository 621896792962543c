//! Registers unknown points and releases their quarantined readings into history: one by a request, or by itself each point of a
//! known site under `catalog.unknown = "register"`.
//!
//! A point goes to `registered.csv` beside the log, the catalog is read again, and the readings that waited are handed to
//! the edge as released ones: marked historical, so that no rule takes them for live, and with the run flag that keeps
//! them from being counted as received twice. Registering a point again releases nothing: its rows are then duplicates.

use crate::config::{Config, registered_file};
use crate::reload::Active;
use anyhow::{Context, anyhow, bail};
use ingest::{Context as SourceContext, Delivery, SourceInfo};
use model::record::run_flags;
use model::{PointId, ReadingsBuilder, status};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use storage::{Limits, Storage};
use tokio_util::sync::CancellationToken;

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
/// Readings released by one registration; more stay in quarantine and are released by the next.
const ROWS_MAX: usize = 10_000_000;

/// Registers the points, all or none; returns how many readings were released.
///
/// # Errors
/// When a point is wrong or stands already, or its readings cannot be read; then nothing has changed.
pub async fn register(
    config: &Config,
    active: &Active,
    storage: &Storage,
    push: &SourceContext,
    points: &[NewPoint],
) -> anyhow::Result<u64> {
    if let Some(point) = points.iter().find(|p| push.catalog().find(&p.site, &p.point).is_some()) {
        bail!("point `{}` of site `{}` is in the catalog already", point.point, point.site);
    }
    let path = registered_file(config);
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    append(&path, &before, points)?;
    if let Err(problems) = active.reload(config) {
        std::fs::write(&path, before).context("the registration could not be taken back")?;
        return Err(anyhow!("not registered:\n{problems}"));
    }
    let mut released = 0;
    for point in points {
        released += release(storage, push, point).await?;
    }
    Ok(released)
}

/// How often unknown points are looked for where they are registered by themselves.
const LOOK: Duration = Duration::from_secs(2);
/// Quantity of a point of which nothing is known: no rule selects it.
const UNKNOWN: &str = "unknown";

/// Registers every unknown point of a known site, with what is known of it, until stopped. One that cannot be registered is told
/// once and waits in quarantine.
pub async fn watch(
    config: Arc<Config>,
    active: Arc<Active>,
    storage: Storage,
    push: SourceContext,
    stop: CancellationToken,
) {
    let mut told: BTreeSet<(String, String)> = BTreeSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let waiting = match storage.quarantined(config.storage.limits).await {
            Ok(waiting) => waiting,
            Err(e) => {
                tracing::warn!("unknown points cannot be listed: {e}");
                continue;
            }
        };
        let catalog = push.catalog();
        let new = waiting.into_iter().filter(|p| catalog.find(&p.site, &p.point).is_none());
        let new: Vec<NewPoint> = new
            .filter(|p| !told.contains(&(p.site.clone(), p.point.clone())))
            .map(|p| NewPoint {
                site: p.site,
                point: p.point,
                quantity: UNKNOWN.to_owned(),
                ..NewPoint::default()
            })
            .collect();
        let (known, strange): (Vec<_>, Vec<_>) =
            new.into_iter().partition(|p| catalog.site(&p.site).is_some());
        for point in strange {
            tracing::warn!(
                point.site,
                point.point,
                "an unknown point of an unknown site stays in quarantine"
            );
            told.insert((point.site, point.point));
        }
        if known.is_empty() {
            continue;
        }
        let all = register(&config, &active, &storage, &push, &known).await;
        let Err(why) = all else {
            tracing::info!(points = known.len(), released = all.unwrap_or(0), "unknown points registered");
            continue;
        };
        tracing::warn!("unknown points are registered one by one: {why:#}");
        for point in known {
            if let Err(e) = register(&config, &active, &storage, &push, std::slice::from_ref(&point)).await {
                tracing::warn!(point.site, point.point, "an unknown point stays in quarantine: {e:#}");
                told.insert((point.site, point.point));
            }
        }
    }
}

fn append(path: &std::path::Path, before: &str, points: &[NewPoint]) -> anyhow::Result<()> {
    let mut out = csv::Writer::from_writer(Vec::new());
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
    let rows = out.into_inner().map_err(|e| anyhow!("{e}"))?;
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(&rows)?;
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
