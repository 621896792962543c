//! Points that no catalog names: listed with their last value, and their readings handed out to be released.
//!
//! A released reading stays in the table and gets a second row with `released` true; what has no such row is still there.

use crate::error::QueryError;
use crate::options::Limits;
use crate::query::QueryStream;
use crate::storage::Storage;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use futures::StreamExt;
use model::Micros;
use model::record::{Quarantined, UNKNOWN_POINT};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Points of which storage remembers, or lists, that they came to quarantine as unknown.
pub const STRANGERS_MAX: usize = 10_000;

/// Points (site and code) that came to quarantine as unknown and were not asked for yet.
#[derive(Debug, Default)]
pub struct Strangers {
    points: BTreeSet<(String, String)>,
    are_more: bool,
}

impl Strangers {
    /// Notes the point of a row.
    pub fn note(&mut self, row: &Quarantined) {
        if row.reason != UNKNOWN_POINT || self.are_more {
            return;
        }
        let point = (row.site.clone(), row.point.clone());
        if self.points.len() < STRANGERS_MAX {
            self.points.insert(point);
        } else {
            self.are_more = !self.points.contains(&point);
        }
    }
}

/// A point in quarantine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuarantinedPoint {
    /// Site as sent.
    pub site: String,
    /// Point as sent.
    pub point: String,
    /// Why.
    pub reason: String,
    /// Who sent the last reading.
    pub source: String,
    /// Readings not yet released.
    pub count: i64,
    /// Time of the first of them.
    pub first_time: Micros,
    /// Time of the last.
    pub last_time: Micros,
    /// Value of the last; `None` where missing.
    pub last_value: Option<f64>,
}

/// A reading in quarantine.
#[derive(Clone, Debug, PartialEq)]
pub struct QuarantinedReading {
    /// The reading.
    pub row: Quarantined,
    /// Who sent it: the run that releases it must name the same source, for the balance to hold.
    pub source: Arc<str>,
    /// When it was received.
    pub received: Micros,
}

/// One row a reading, with how often it is still there.
const REMAINING: &str = "SELECT site, point, source, time, value, max(status) AS status, min(received) AS received, \
    max(CASE WHEN released THEN '' ELSE reason END) AS reason, \
    sum(CASE WHEN released THEN -1 ELSE 1 END) AS n \
    FROM quarantine GROUP BY site, point, source, time, value";

impl Storage {
    /// Points that came to quarantine as unknown since the last call, and whether these are all of them.
    pub fn new_strangers(&self) -> (BTreeSet<(String, String)>, bool) {
        let Strangers { points, are_more } = std::mem::take(&mut self.inner.state().strangers);
        (points, !are_more)
    }

    /// Rows of released readings taken since this one was opened.
    pub fn released(&self) -> u64 {
        self.inner.state().released
    }

    /// Site and code of points of which unknown readings wait, at most `max` of those that are looked for.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn strangers(
        &self,
        max: usize,
        mut looked_for: impl FnMut(&(String, String)) -> bool,
    ) -> Result<BTreeSet<(String, String)>, QueryError> {
        let sql = format!(
            "SELECT DISTINCT site, point FROM ({REMAINING}) WHERE n > 0 AND reason = '{UNKNOWN_POINT}'"
        );
        let limits = Limits { rows: usize::MAX, ..Limits::default() };
        let mut out = BTreeSet::new();
        let mut rows: QueryStream = self.query(&sql, limits).await?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let points = (0..batch.num_rows()).map(|row| (text(&batch, 0, row), text(&batch, 1, row)));
            out.extend(points.filter(&mut looked_for).take(max - out.len()));
            if out.len() == max {
                break;
            }
        }
        Ok(out)
    }

    /// All points in quarantine, with the number of readings not yet released.
    ///
    /// # Errors
    /// When the table cannot be read, or the limits do not suffice.
    pub async fn quarantined(&self, limits: Limits) -> Result<Vec<QuarantinedPoint>, QueryError> {
        let sql = format!(
            "SELECT site, point, max(reason), last_value(source ORDER BY time), CAST(sum(n) AS BIGINT), min(time), max(time), \
             last_value(value ORDER BY time) FROM ({REMAINING}) WHERE n > 0 GROUP BY site, point ORDER BY site, point"
        );
        let mut out = Vec::new();
        let mut rows: QueryStream = self.query(&sql, limits).await?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            out.extend((0..batch.num_rows()).map(|row| point(&batch, row)));
        }
        Ok(out)
    }

    /// Readings of points (site and code) in quarantine that are not yet released, oldest first, at most `max`.
    ///
    /// # Errors
    /// When the table cannot be read, or the limits do not suffice.
    pub async fn quarantined_rows(
        &self,
        points: &[(String, String)],
        max: usize,
        limits: Limits,
    ) -> Result<Vec<QuarantinedReading>, QueryError> {
        let mut by_site: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        points.iter().for_each(|(site, point)| by_site.entry(site).or_default().push(quoted(point)));
        let of_site = |(site, points): (&&str, &Vec<String>)| {
            format!("site = {} AND point IN ({})", quoted(site), points.join(", "))
        };
        let sql = format!(
            "SELECT site, point, source, time, value, status, received, reason, CAST(n AS BIGINT) FROM ({REMAINING}) \
             WHERE n > 0 AND ({}) ORDER BY time LIMIT {max}",
            by_site.iter().map(of_site).collect::<Vec<_>>().join(" OR ")
        );
        let mut out = Vec::new();
        let mut rows = self.query(&sql, limits).await?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            for row in 0..batch.num_rows() {
                let times = batch.column(8).as_primitive::<Int64Type>().value(row).max(0) as usize;
                out.extend(std::iter::repeat_n(reading(&batch, row), times));
            }
            if out.len() >= max {
                break;
            }
        }
        out.truncate(max);
        Ok(out)
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn text(batch: &RecordBatch, column: usize, row: usize) -> String {
    batch.column(column).as_string::<i32>().value(row).to_owned()
}

fn time(batch: &RecordBatch, column: usize, row: usize) -> Micros {
    batch.column(column).as_primitive::<TimestampMicrosecondType>().value(row)
}

fn value(batch: &RecordBatch, column: usize, row: usize) -> Option<f64> {
    let values = batch.column(column).as_primitive::<Float64Type>();
    values.is_valid(row).then(|| values.value(row))
}

fn point(batch: &RecordBatch, row: usize) -> QuarantinedPoint {
    QuarantinedPoint {
        site: text(batch, 0, row),
        point: text(batch, 1, row),
        reason: text(batch, 2, row),
        source: text(batch, 3, row),
        count: batch.column(4).as_primitive::<Int64Type>().value(row),
        first_time: time(batch, 5, row),
        last_time: time(batch, 6, row),
        last_value: value(batch, 7, row),
    }
}

fn reading(batch: &RecordBatch, row: usize) -> QuarantinedReading {
    QuarantinedReading {
        row: Quarantined {
            site: text(batch, 0, row),
            point: text(batch, 1, row),
            time: time(batch, 3, row),
            value: value(batch, 4, row),
            status: batch.column(5).as_primitive::<Int32Type>().value(row),
            reason: text(batch, 7, row),
        },
        source: text(batch, 2, row).into(),
        received: time(batch, 6, row),
    }
}
