//! Puts back after a start what the table says was last, so that the page is not empty for long. Newer values that came meanwhile stay.

use crate::live::{Last, Live};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, TimestampMicrosecondType};
use model::people::{Position, Presence};
use model::time::{DAY, rfc3339};
use model::{Micros, PointId};
use storage::{Limits, Storage};

/// Last values, and where people were, of the last day. What cannot be read is told and left empty: live values come anyway.
pub async fn live(storage: &Storage, live: &Live, now: Micros) {
    let since = rfc3339(now - DAY);
    let values = format!(
        "SELECT site, point, max(time) AS time, last_value(value ORDER BY time) AS value, \
         last_value(status ORDER BY time) AS status FROM readings WHERE time >= '{since}' GROUP BY site, point"
    );
    // A card's rows of one time are of one snapshot or message: any of them says the same.
    let last = |column| format!("last_value({column} ORDER BY time) AS {column}");
    let people = format!(
        "SELECT site, card, max(time) AS time, {}, {}, {}, {}, {} FROM person_positions WHERE time >= '{since}' GROUP BY site, card",
        last("name"),
        last("area"),
        last("station"),
        last("presence"),
        last("entered")
    );
    if let Err(e) = restore(storage, &values, |row| value(live, row)).await {
        tracing::warn!("last values are not restored: {e:#}");
    }
    if let Err(e) = restore(storage, &people, |row| person(live, row)).await {
        tracing::warn!("where people were is not restored: {e:#}");
    }
}

/// A row of an answer.
#[derive(Clone, Copy)]
struct Row<'a>(&'a RecordBatch, usize);

impl Row<'_> {
    fn text(self, column: usize) -> String {
        self.0.column(column).as_string::<i32>().value(self.1).to_owned()
    }

    fn time(self, column: usize) -> Option<Micros> {
        let times = self.0.column(column).as_primitive::<TimestampMicrosecondType>();
        times.is_valid(self.1).then(|| times.value(self.1))
    }
}

async fn restore(storage: &Storage, sql: &str, mut put: impl FnMut(Row<'_>)) -> anyhow::Result<()> {
    let limits = Limits { rows: usize::MAX, ..Limits::default() };
    let batches = storage.query(sql, limits).await?.collect_all().await?;
    for batch in &batches {
        (0..batch.num_rows()).for_each(|i| put(Row(batch, i)));
    }
    Ok(())
}

fn value(live: &Live, row: Row<'_>) {
    let Some(time) = row.time(2) else { return };
    let values = row.0.column(3).as_primitive::<Float64Type>();
    let value = if values.is_null(row.1) { f64::NAN } else { values.value(row.1) };
    let status = row.0.column(4).as_primitive::<Int32Type>().value(row.1);
    live.restore(PointId::of(&row.text(0), &row.text(1)), Last { time, received: time, value, status });
}

fn person(live: &Live, row: Row<'_>) {
    let Some(time) = row.time(2) else { return };
    let presence = match row.text(6).as_str() {
        "out" => Presence::Out,
        _ => Presence::Below,
    };
    live.restore_person(Position {
        site: row.text(0),
        card: row.text(1),
        name: row.text(3),
        area: row.text(4),
        station: row.text(5),
        time,
        presence,
        entered: row.time(7),
        state: String::new(),
    });
}
