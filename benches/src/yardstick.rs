//! What the machine gives in the same run, to hold the whole path against: the disk alone, and the wire format alone.

use crate::feed;
use model::{PointId, ReadingsBuilder, Record, Run};
use std::io::Write;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Rows of a record: as many as the edge puts in one.
pub const ROWS: usize = 8192;
/// Most bytes that are written.
const FILE_MAX: u64 = 8 << 30;

/// Bytes a second that one plain file takes, appended in pieces of this size with `fdatasync` after each, on one thread.
///
/// # Errors
/// When the file cannot be written.
pub fn disk(dir: &Path, piece: usize, how_long: Duration) -> std::io::Result<f64> {
    let path = dir.join("yardstick");
    let mut file = std::fs::File::create(&path)?;
    // Not compressible, should the disk below try.
    let bytes: Vec<u8> =
        (0..piece as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u8).collect();
    let (began, mut written) = (Instant::now(), 0u64);
    while began.elapsed() < how_long && written < FILE_MAX {
        file.write_all(&bytes)?;
        file.sync_data()?;
        written += piece as u64;
    }
    let rate = written as f64 / began.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}

/// Readings a second when each is only made, encoded once and decoded twice (for rules and for storage), on a thread a core:
/// what this record format costs without a log, rules, table or alarms.
#[must_use]
pub fn wire(how_long: Duration) -> f64 {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let began = Instant::now();
    let workers: Vec<_> = (0..threads).map(|_| std::thread::spawn(move || wire_on_one(how_long))).collect();
    let done: u64 = workers.into_iter().map(|w| w.join().unwrap_or(0)).sum();
    done as f64 / began.elapsed().as_secs_f64()
}

fn wire_on_one(how_long: Duration) -> u64 {
    let (began, mut done) = (Instant::now(), 0u64);
    while began.elapsed() < how_long {
        let bytes = record(done).encode();
        for _ in 0..2 {
            if let Ok(Record::Readings { readings, .. }) = Record::decode(&bytes) {
                done += std::hint::black_box(readings).len() as u64;
            }
        }
    }
    done / 2
}

/// A record as on the path: deliveries of a site each, gathered into one.
#[must_use]
pub fn record(turn: u64) -> Record {
    static POINTS: LazyLock<Vec<PointId>> =
        LazyLock::new(|| (0..ROWS).map(|p| PointId::of("F00000", &format!("P{p:07}"))).collect());
    let mut rows = ReadingsBuilder::with_capacity(ROWS);
    for (site, points) in POINTS.chunks(crate::setup::SITE_POINTS).enumerate() {
        rows.extend(&feed::values(points, site, turn).readings);
    }
    let run = Run { source: "s".into(), received: 0, rows: ROWS as u32, flags: 0 };
    Record::Readings { runs: vec![run], readings: rows.finish() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_give_a_rate_and_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let disk = disk(dir.path(), 4096, Duration::from_millis(20)).unwrap();
        assert!(disk > 0.0 && std::fs::read_dir(dir.path()).unwrap().next().is_none());
        assert!(wire(Duration::from_millis(20)) > 1000.0);
    }
}
