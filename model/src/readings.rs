//! Readings as columns: point id, event time, value, status. One object a reading exists nowhere.

use crate::ids::PointId;
use crate::status;
use crate::time::Micros;
use arrow::array::{
    Array, ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray,
};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::{Arc, LazyLock};

/// Rows of readings in the order they came; four columns of one length.
///
/// `value` is NaN exactly where `status` has [`status::MISSING`].
#[derive(Clone, Debug, PartialEq)]
pub struct Readings {
    /// Point ids, see [`PointId`].
    pub point: ScalarBuffer<i64>,
    /// Event times, microseconds UTC: the device's, kept as sent.
    pub time: ScalarBuffer<Micros>,
    /// Values in the point's unit.
    pub value: ScalarBuffer<f64>,
    /// Status words, see [`status`].
    pub status: ScalarBuffer<i32>,
}

impl Default for Readings {
    fn default() -> Self {
        ReadingsBuilder::default().finish()
    }
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("point", DataType::Int64, false),
        Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        Field::new("value", DataType::Float64, false),
        Field::new("status", DataType::Int32, false),
    ]))
});

impl Readings {
    /// The Arrow schema on the wire: `point` i64, `time` µs UTC, `value` f64, `status` i32, none nullable.
    pub fn schema() -> SchemaRef {
        SCHEMA.clone()
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.point.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.point.is_empty()
    }

    /// The rows as an Arrow batch, without copying.
    pub fn to_batch(&self) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::new(self.point.clone(), None)),
            Arc::new(TimestampMicrosecondArray::new(self.time.clone(), None).with_timezone("UTC")),
            Arc::new(Float64Array::new(self.value.clone(), None)),
            Arc::new(Int32Array::new(self.status.clone(), None)),
        ];
        RecordBatch::try_new(Self::schema(), columns).expect("four columns of one length fit the schema")
    }

    /// Rows of an Arrow batch of [`Readings::schema`], without copying.
    ///
    /// # Errors
    /// A sentence, when the schema is another one or a column has nulls.
    pub fn from_batch(batch: &RecordBatch) -> Result<Self, String> {
        if batch.schema_ref().fields() != SCHEMA.fields() {
            return Err(format!("columns are {:?}, expected point, time, value, status", batch.schema_ref()));
        }
        if batch.columns().iter().any(|c| c.null_count() > 0) {
            return Err("a column of readings holds nulls".to_owned());
        }
        let get = "the schema was compared";
        Ok(Self {
            point: batch.column(0).as_any().downcast_ref::<Int64Array>().expect(get).values().clone(),
            time: batch
                .column(1)
                .as_any()
                .downcast_ref::<TimestampMicrosecondArray>()
                .expect(get)
                .values()
                .clone(),
            value: batch.column(2).as_any().downcast_ref::<Float64Array>().expect(get).values().clone(),
            status: batch.column(3).as_any().downcast_ref::<Int32Array>().expect(get).values().clone(),
        })
    }

    /// Rows `from..from + len`, without copying.
    pub fn slice(&self, from: usize, len: usize) -> Self {
        Self {
            point: self.point.slice(from, len),
            time: self.time.slice(from, len),
            value: self.value.slice(from, len),
            status: self.status.slice(from, len),
        }
    }

    /// One row.
    #[inline]
    pub fn row(&self, i: usize) -> (PointId, Micros, f64, i32) {
        (PointId(self.point[i]), self.time[i], self.value[i], self.status[i])
    }
}

/// Collects rows.
#[derive(Default, Debug)]
pub struct ReadingsBuilder {
    point: Vec<i64>,
    time: Vec<Micros>,
    value: Vec<f64>,
    status: Vec<i32>,
}

impl ReadingsBuilder {
    /// Room for `n` rows.
    pub fn with_capacity(n: usize) -> Self {
        Self {
            point: Vec::with_capacity(n),
            time: Vec::with_capacity(n),
            value: Vec::with_capacity(n),
            status: Vec::with_capacity(n),
        }
    }

    /// Adds a row. A value that is no finite number is a missing one: NaN with [`status::MISSING`].
    #[inline]
    pub fn push(&mut self, point: PointId, time: Micros, value: f64, status: i32) {
        let missing = !value.is_finite() || status & status::MISSING != 0;
        self.point.push(point.0);
        self.time.push(time);
        self.value.push(if missing { f64::NAN } else { value });
        self.status.push(if missing { status | status::MISSING } else { status });
    }

    /// Adds all rows of another batch.
    pub fn extend(&mut self, rows: &Readings) {
        self.point.extend_from_slice(&rows.point);
        self.time.extend_from_slice(&rows.time);
        self.value.extend_from_slice(&rows.value);
        self.status.extend_from_slice(&rows.status);
    }

    /// Number of rows so far.
    pub fn len(&self) -> usize {
        self.point.len()
    }

    /// Whether there is no row yet.
    pub fn is_empty(&self) -> bool {
        self.point.is_empty()
    }

    /// The rows.
    pub fn finish(self) -> Readings {
        Readings {
            point: self.point.into(),
            time: self.time.into(),
            value: self.value.into(),
            status: self.status.into(),
        }
    }
}
