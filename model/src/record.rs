//! One record of the log and its wire format, version 1.
//!
//! ```text
//! "fd"  version u8 = 1  kind u8  CRC-32 of all that follows u32  header length u32  header  payload
//! ```
//! All numbers are little-endian.
//!
//! | kind | header | payload |
//! |---|---|---|
//! | 1 readings | runs | Arrow IPC stream, lz4, schema of [`Readings::schema`]: readable by any Arrow library |
//! | 2 positions | one run | JSON of [`Positions`] |
//! | 3 quarantine | one run | JSON array of [`Quarantined`] |
//! | 4 refused | - | JSON array of [`Refused`] |
//! | 5 tick | - | - |
//! | 6 activation | - | zstd of JSON of [`Activation`] |
//! | 7 transitions | - | JSON array of [`Transition`] |
//!
//! A run is `source length u16, source, receive time i64, rows u32, flags u8`; a header of runs is their count as u16, then
//! the runs. Runs stand in the order of the rows. Append time, offset and origin are the log's and stand in [`Entry`],
//! not in the record: a forwarder carries the same bytes on.

use crate::ids::{Offset, Origin};
use crate::people::Positions;
use crate::readings::Readings;
use crate::time::Micros;
use crate::transition::Transition;
use arrow::ipc::reader::read_record_batch;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow::ipc::{CompressionType, root_as_message};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// Largest encoded record that is taken, in bytes: a catalog of 1 M points in 8 partitions stays below it.
pub const RECORD_LEN_MAX: usize = 16 << 20;

/// The two streams of the log. Both have the same partitions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Stream {
    /// Everything that comes in, ticks, activations.
    Readings,
    /// What the rules decided.
    Transitions,
}

/// Rows of one source received together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Name of the source.
    pub source: Arc<str>,
    /// When the edge received them.
    pub received: Micros,
    /// Number of rows.
    pub rows: u32,
    /// See [`run_flags`].
    pub flags: u8,
}

/// Bits of [`Run::flags`].
pub mod run_flags {
    /// The source brings its own clock: future and late are judged against its newest time, its ticks come from its rows.
    pub const REPLAY: u8 = 1;
    /// The source is a drill: all its rows are simulated.
    pub const DRILL: u8 = 2;
    /// Rows released from quarantine: they were received before and are not counted as received again.
    pub const RELEASED: u8 = 4;
}

/// Reason of a reading whose point is not in the catalog: sources write it, the edge refuses by it, storage finds by it what may be
/// released.
pub const UNKNOWN_POINT: &str = "unknown point";

/// A row that cannot be attributed: its point is not in the catalog.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Quarantined {
    /// Site code as sent.
    pub site: String,
    /// Point code as sent.
    pub point: String,
    /// Event time, microseconds UTC.
    pub time: Micros,
    /// Value; `None` where missing.
    pub value: Option<f64>,
    /// Status word.
    pub status: i32,
    /// Why: `unknown point`, `older than retention`.
    pub reason: String,
}

/// Readings refused at the edge, as a total since the last such record.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Refused {
    /// Name of the source.
    pub source: String,
    /// Why, a short word of a fixed set: metrics and the balance group by it.
    pub reason: String,
    /// How many readings (an undecodable message counts as one).
    pub count: u64,
    /// When the first of them came.
    pub received: Micros,
}

/// A new version of the rules, of the catalog, or of both, in force from this offset on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Activation {
    /// What changes.
    pub what: Activated,
    /// BLAKE3 of the text, hex.
    pub hash: String,
    /// The text, the first time a partition sees it: rule files as JSON `[[name, text], ..]`, or the catalog of the
    /// partition's sites as JSON.
    pub text: Option<String>,
}

/// What an activation changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activated {
    /// The rule files.
    Rules,
    /// The sites and points.
    Catalog,
    /// Both together: JSON `[rules text, catalog text]`.
    Whole,
}

/// A record of the log.
#[derive(Clone, PartialEq, Debug)]
pub enum Record {
    /// Readings of the sites of one partition; the runs cover the rows in order.
    Readings {
        /// Who sent which rows.
        runs: Vec<Run>,
        /// The rows.
        readings: Readings,
    },
    /// People's positions.
    Positions {
        /// Who sent them; `rows` is their number.
        run: Run,
        /// The positions.
        positions: Positions,
    },
    /// Rows of unknown points.
    Quarantine {
        /// Who sent them.
        run: Run,
        /// The rows.
        rows: Vec<Quarantined>,
    },
    /// Totals of refusals.
    Refused(Vec<Refused>),
    /// Time goes on.
    Tick,
    /// Rules or catalog change.
    Activation(Activation),
    /// Decisions.
    Transitions(Vec<Transition>),
}

/// A record as the log gives it back.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Where it stands.
    pub offset: Offset,
    /// When the log took it; never goes back within a partition.
    pub appended: Micros,
    /// Who made it durable first.
    pub origin: Origin,
    /// The encoded record.
    pub bytes: Bytes,
}

impl Entry {
    /// The record in it.
    ///
    /// # Errors
    /// [`DecodeError`]; the entry is then set aside with its offset and the stream goes on.
    pub fn decode(&self) -> Result<Record, DecodeError> {
        Record::decode(&self.bytes)
    }
}

/// Bytes that are no record.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a firedamp record: {0}")]
pub struct DecodeError(pub String);

const VERSION: u8 = 1;
/// Where the checksum ends and what it covers begins.
const CRC_END: usize = 8;

impl Record {
    /// The bytes of the record.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(256);
        self.encode_into(&mut out);
        let crc = crc32fast::hash(&out[CRC_END..]);
        out[CRC_END - 4..CRC_END].copy_from_slice(&crc.to_le_bytes());
        out.into()
    }

    fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Record::Readings { runs, readings } => {
                debug_assert_eq!(runs.iter().map(|r| r.rows as usize).sum::<usize>(), readings.len());
                out.reserve(readings.len() * 10 + 1024);
                frame(out, 1, &encode_runs(runs));
                encode_readings(out, readings);
            }
            Record::Positions { run, positions } => {
                frame(out, 2, &encode_runs(std::slice::from_ref(run)));
                json(out, positions);
            }
            Record::Quarantine { run, rows } => {
                frame(out, 3, &encode_runs(std::slice::from_ref(run)));
                json(out, rows);
            }
            Record::Refused(totals) => {
                frame(out, 4, &[]);
                json(out, totals);
            }
            Record::Tick => frame(out, 5, &[]),
            Record::Activation(activation) => {
                frame(out, 6, &[]);
                let text = serde_json::to_vec(activation).expect("an activation is plain data");
                let packed = zstd::bulk::compress(&text, 3).expect("compressing to memory cannot fail");
                out.extend_from_slice(&(text.len() as u32).to_le_bytes());
                out.extend_from_slice(&packed);
            }
            Record::Transitions(transitions) => {
                frame(out, 7, &[]);
                json(out, transitions);
            }
        }
    }

    /// The record in `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong; hostile bytes cause no panic.
    pub fn decode(bytes: &Bytes) -> Result<Record, DecodeError> {
        let mut all = Cursor(bytes);
        if all.take(2)? != b"fd" {
            return Err(error("it does not start with `fd`"));
        }
        let version = all.take(1)?[0];
        if version != VERSION {
            return Err(error(format!("its version is {version}, this firedamp reads {VERSION}")));
        }
        let kind = all.take(1)?[0];
        let crc = u32::from_le_bytes(all.array()?);
        if crc != crc32fast::hash(all.0) {
            return Err(error("its checksum is wrong"));
        }
        let header_len = u32::from_le_bytes(all.array()?) as usize;
        let header = all.take(header_len)?;
        let payload = all.0;
        Ok(match kind {
            1 => {
                let runs = decode_runs(header)?;
                let readings = decode_readings(payload)?;
                let rows: usize = runs.iter().map(|r| r.rows as usize).sum();
                if rows != readings.len() {
                    return Err(error(format!("its runs have {rows} rows, its columns {}", readings.len())));
                }
                Record::Readings { runs, readings }
            }
            2 => Record::Positions { run: one_run(header)?, positions: from_json(payload)? },
            3 => Record::Quarantine { run: one_run(header)?, rows: from_json(payload)? },
            4 => Record::Refused(from_json(payload)?),
            5 => Record::Tick,
            6 => {
                let mut rest = Cursor(payload);
                let len = u32::from_le_bytes(rest.array()?) as usize;
                if len > RECORD_LEN_MAX * 64 {
                    return Err(error(format!("its activation claims {len} bytes")));
                }
                let text = zstd::bulk::decompress(rest.0, len).map_err(|e| error(e.to_string()))?;
                Record::Activation(from_json(&text)?)
            }
            7 => Record::Transitions(from_json(payload)?),
            other => return Err(error(format!("its kind {other} is unknown"))),
        })
    }
}

fn error(message: impl Into<String>) -> DecodeError {
    DecodeError(message.into())
}

fn frame(out: &mut Vec<u8>, kind: u8, header: &[u8]) {
    out.extend_from_slice(b"fd");
    out.push(VERSION);
    out.push(kind);
    out.extend_from_slice(&[0; 4]); // the checksum, once the rest is there
    out.extend_from_slice(&(header.len() as u32).to_le_bytes());
    out.extend_from_slice(header);
}

fn json(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("records are plain data with text keys");
}

fn from_json<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(bytes).map_err(|e| error(e.to_string()))
}

fn encode_runs(runs: &[Run]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + runs.len() * 32);
    out.extend_from_slice(&(runs.len() as u16).to_le_bytes());
    for run in runs {
        out.extend_from_slice(&(run.source.len() as u16).to_le_bytes());
        out.extend_from_slice(run.source.as_bytes());
        out.extend_from_slice(&run.received.to_le_bytes());
        out.extend_from_slice(&run.rows.to_le_bytes());
        out.push(run.flags);
    }
    out
}

fn decode_runs(bytes: &[u8]) -> Result<Vec<Run>, DecodeError> {
    let mut rest = Cursor(bytes);
    let count = u16::from_le_bytes(rest.array()?);
    let mut runs: Vec<Run> = Vec::with_capacity(usize::from(count).min(1024));
    for _ in 0..count {
        let len = u16::from_le_bytes(rest.array()?);
        let source = std::str::from_utf8(rest.take(usize::from(len))?).map_err(|e| error(e.to_string()))?;
        let source = match runs.last() {
            Some(last) if &*last.source == source => last.source.clone(),
            _ => source.into(),
        };
        runs.push(Run {
            source,
            received: i64::from_le_bytes(rest.array()?),
            rows: u32::from_le_bytes(rest.array()?),
            flags: rest.take(1)?[0],
        });
    }
    Ok(runs)
}

fn one_run(header: &[u8]) -> Result<Run, DecodeError> {
    decode_runs(header)?.pop().ok_or_else(|| error("it has no run"))
}

fn encode_readings(out: &mut Vec<u8>, readings: &Readings) {
    let options = IpcWriteOptions::default()
        .try_with_compression(Some(CompressionType::LZ4_FRAME))
        .expect("lz4 is compiled in");
    let mut writer = StreamWriter::try_new_with_options(out, &Readings::schema(), options)
        .expect("writing to memory cannot fail");
    writer.write(&readings.to_batch()).expect("the batch has the schema");
    writer.finish().expect("writing to memory cannot fail");
}

fn decode_readings(payload: &[u8]) -> Result<Readings, DecodeError> {
    // Arrow's reader panics on some damaged buffers (arrow-ipc 59, nulls claimed without a bitmap). The checksum keeps
    // accidents out; a record forged with a right checksum ends here instead of ending the process.
    std::panic::catch_unwind(|| read_ipc(payload)).unwrap_or_else(|_| Err(error("its columns are damaged")))
}

/// The schema message every payload of readings begins with.
static SCHEMA_MESSAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut out = Vec::new();
    encode_readings(&mut out, &Readings::default());
    let batch_at = message_len(&out).expect("a schema message was written");
    out.truncate(batch_at);
    out
});

/// Length of the IPC message at the start of `bytes`, without a body: marker, length, metadata.
fn message_len(bytes: &[u8]) -> Result<usize, DecodeError> {
    let mut all = Cursor(bytes);
    if all.take(4)? != [0xff; 4] {
        return Err(error("its columns are no Arrow IPC stream"));
    }
    Ok(8 + u32::from_le_bytes(all.array()?) as usize)
}

fn read_ipc(payload: &[u8]) -> Result<Readings, DecodeError> {
    let rest = payload
        .strip_prefix(SCHEMA_MESSAGE.as_slice())
        .ok_or_else(|| error("its columns have another schema"))?;
    let metadata_len = message_len(rest)?;
    let mut all = Cursor(rest);
    let metadata = all.take(metadata_len)?;
    let message = root_as_message(&metadata[8..]).map_err(|e| error(e.to_string()))?;
    let batch = message.header_as_record_batch().ok_or_else(|| error("it holds no batch"))?;
    let body_len = usize::try_from(message.bodyLength()).map_err(|e| error(e.to_string()))?;
    let body = all.take(body_len)?;
    check_claims(&batch, body)?;
    let buffer = arrow::buffer::Buffer::from(body);
    let batch =
        read_record_batch(&buffer, batch, Readings::schema(), &HashMap::new(), None, &message.version())
            .map_err(|e| error(e.to_string()))?;
    Readings::from_batch(&batch).map_err(error)
}

/// Refuses a batch whose compressed columns claim more room than its rows need: the reader would allocate it.
fn check_claims(batch: &arrow::ipc::RecordBatch<'_>, body: &[u8]) -> Result<(), DecodeError> {
    let rows = usize::try_from(batch.length()).ok().filter(|n| *n <= RECORD_LEN_MAX);
    let rows = rows.ok_or_else(|| error(format!("it claims {} rows", batch.length())))?;
    for buffer in batch.buffers().into_iter().flatten() {
        let start = usize::try_from(buffer.offset()).map_err(|e| error(e.to_string()))?;
        let len = usize::try_from(buffer.length()).map_err(|e| error(e.to_string()))?;
        if len < 8 {
            continue;
        }
        let claimed = body.get(start..).and_then(|b| b.first_chunk::<8>()).map(|b| i64::from_le_bytes(*b));
        if claimed.is_none_or(|n| n > (rows * 8 + 64) as i64) {
            return Err(error(format!("a column of {rows} rows claims {claimed:?} bytes")));
        }
    }
    Ok(())
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        if self.0.len() < n {
            return Err(error(format!("it ends {} bytes early", n - self.0.len())));
        }
        let (head, tail) = self.0.split_at(n);
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        Ok(self.take(N)?.try_into().expect("take gave N bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PointId;
    use crate::readings::ReadingsBuilder;
    use proptest::prelude::*;

    fn sample(rows: usize) -> Record {
        let mut b = ReadingsBuilder::with_capacity(rows);
        for i in 0..rows {
            b.push(PointId(i as i64 % 7), 1_000_000 * i as i64, i as f64 / 100.0, 0);
        }
        let half = rows as u32 / 2;
        let run = |rows| Run { source: "east".into(), received: 5, rows, flags: run_flags::REPLAY };
        Record::Readings { runs: vec![run(half), run(rows as u32 - half)], readings: b.finish() }
    }

    #[test]
    fn what_is_encoded_comes_back() {
        let run = Run { source: "inbox".into(), received: 9, rows: 1, flags: 0 };
        let quarantined = Quarantined {
            site: "M1".into(),
            point: "新点".into(),
            time: 7,
            value: None,
            status: 128,
            reason: "unknown point".into(),
        };
        let activation =
            Activation { what: Activated::Rules, hash: "ab".into(), text: Some("x".repeat(5000)) };
        let records = [
            sample(1000),
            sample(0),
            Record::Quarantine { run, rows: vec![quarantined] },
            Record::Refused(vec![Refused {
                source: "east".into(),
                reason: "json".into(),
                count: 3,
                received: 1,
            }]),
            Record::Tick,
            Record::Activation(activation),
            Record::Transitions(Vec::new()),
        ];
        for record in records {
            assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
        assert!(sample(1000).encode().len() < 12_000);
    }

    proptest! {
        #[test]
        fn damaged_bytes_are_an_error_or_a_record_never_a_panic(at in 0usize..6000, byte: u8, cut in 0usize..6000) {
            let mut bytes = sample(500).encode().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = Record::decode(&bytes.clone().into());
            let crc = crc32fast::hash(&bytes[CRC_END..]);
            bytes[CRC_END - 4..CRC_END].copy_from_slice(&crc.to_le_bytes());
            let _ = Record::decode(&bytes.clone().into());
            bytes.truncate(cut);
            let _ = Record::decode(&bytes.into());
        }
    }
}
