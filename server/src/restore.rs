//! Puts back at start what the table says was last, so that the page is not empty after a restart.

use crate::live::{Last, Live};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int32Type, TimestampMicrosecondType};
use model::time::{DAY, rfc3339};
use model::{Micros, PointId};
use storage::{Limits, Storage};

/// Last values of the last day. What cannot be read is told and left empty: live values come anyway.
pub async fn live(storage: &Storage, live: &Live, now: Micros) {
    let sql = format!(
        "SELECT site, point, max(time) AS time, last_value(value ORDER BY time) AS value, \
         last_value(status ORDER BY time) AS status FROM readings WHERE time >= '{}' GROUP BY site, point",
        rfc3339(now - DAY)
    );
    if let Err(e) = read(storage, live, &sql).await {
        tracing::warn!("last values are not restored: {e:#}");
    }
}

async fn read(storage: &Storage, live: &Live, sql: &str) -> anyhow::Result<()> {
    let limits = Limits { rows: usize::MAX, ..Limits::default() };
    let batches = storage.query(sql, limits).await?.collect_all().await?;
    for batch in batches {
        let (site, point) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
        let time = batch.column(2).as_primitive::<TimestampMicrosecondType>();
        let value = batch.column(3).as_primitive::<Float64Type>();
        let status = batch.column(4).as_primitive::<Int32Type>();
        for i in 0..batch.num_rows() {
            let value = if value.is_null(i) { f64::NAN } else { value.value(i) };
            let last = Last { time: time.value(i), received: time.value(i), value, status: status.value(i) };
            live.restore(PointId::of(site.value(i), point.value(i)), last);
        }
    }
    Ok(())
}
