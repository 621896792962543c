//! What a writer learns from the tables when it opens them.

use crate::dedupe::Newest;
use crate::delta::DeltaLog;
use crate::error::StorageError;
use crate::names::Names;
use crate::query::Engine;
use crate::schema::{DAY_COLUMN, Table, local_day};
use crate::state::Start;
use crate::view::View;
use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::common::ScalarValue;
use datafusion::prelude::{col, lit};
use futures::StreamExt;
use model::Micros;
use std::sync::Arc;

/// Offsets and sequences of all tables.
pub fn start(logs: &[DeltaLog]) -> Start {
    let mut start = Start::default();
    for (table, log) in Table::ALL.into_iter().zip(logs) {
        for (app, at) in log.txns() {
            let at = *at as u64;
            let words: Vec<&str> = app.split('.').collect();
            match words[..] {
                ["firedamp", "readings", p] => {
                    let Ok(p) = p.parse() else { continue };
                    start.ahead.insert((table, p), at);
                    if table == Table::Arrivals {
                        start.next.insert(p, at);
                    }
                }
                ["firedamp", "transitions", p] if table == Table::Events => {
                    let Ok(p) = p.parse() else { continue };
                    start.next_event.insert(p, at);
                }
                ["firedamp", "origin", p, collector] if table == Table::Arrivals => {
                    let (Ok(p), Ok(c)) = (p.parse(), u64::from_str_radix(collector, 16)) else { continue };
                    start.seen.insert((p, c), at);
                }
                _ => {}
            }
        }
    }
    start
}

/// The newest times: no reading stored is newer than the newest of all files up to tomorrow; files of days beyond (of clocks
/// that are wrong) are few and read row by row.
///
/// # Errors
/// When those files cannot be read.
pub async fn newest(
    engine: &Engine,
    view: &View,
    names: &Names,
    now: Micros,
    zone_offset_s: i32,
) -> Result<Newest, StorageError> {
    let tomorrow = local_day(now, zone_offset_s) + 1;
    let mut floor = Micros::MIN;
    let mut beyond = false;
    for file in &view.files(Table::Readings).files {
        match (file.times(Table::Readings, "time"), file.day) {
            (Some((_, last)), Some(day)) if day <= tomorrow => floor = floor.max(last),
            // Nothing is known of it: it may hold any time up to the end of its day.
            (None, Some(day)) if day <= tomorrow => {
                floor = floor.max(crate::schema::day_start(day + 1, zone_offset_s));
            }
            _ => beyond = true,
        }
    }
    let mut newest = Newest::new(names.len(), floor);
    if beyond {
        let view = Arc::new(view.clone());
        let filter = col(DAY_COLUMN).gt(lit(ScalarValue::Date32(Some(tomorrow))));
        let mut rows = engine.scan(&view, Table::Readings, &["site", "point", "time"], filter).await?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let (site, point) = (batch.column(0).as_string_view(), batch.column(1).as_string_view());
            let time = batch.column(2).as_primitive::<TimestampMicrosecondType>();
            for row in 0..batch.num_rows() {
                let dense = names.site_ix(site.value(row)).and_then(|s| names.find(s, point.value(row)));
                if let Some(dense) = dense {
                    newest.note_future(dense, time.value(row));
                }
            }
        }
    }
    Ok(newest)
}
