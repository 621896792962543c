//! Readings from the table, as the log held them: by partition and offset, each record at the time the log took it.
//!
//! Ticks are not in the table; their offsets are, as gaps. A tick comes a second after the entry before it, so that is where those of
//! a gap are put, before the next record. What readings decide is the same as live, to the id. What time alone decides (an
//! on-delay that ran out in a quiet second, silence) comes at the same tick, but the time of that tick is known to some milliseconds
//! only.

use super::Stop;
use super::curves::{Curve, Wanted};
use super::task::{Decided, Progress, Seen, Source, Task};
use anyhow::{Context, anyhow};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int32Type, TimestampMicrosecondType};
use futures::StreamExt;
use model::record::run_flags;
use model::time::{Micros, SECOND, rfc3339};
use model::{Catalog, Clock, Offset, Origin, SystemClock, Transition};
use prometheus::Registry;
use rules::{At, Evaluator, JUMP};
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use storage::{History, HistoryRecord, Limits, Options, Storage};
use tokio::sync::mpsc;

/// From one tick of a quiet log to the next: the second that its owner waits, and what it takes to write one.
const TICK: Micros = SECOND + 2_000;
/// Most ticks before the first reading of a log: with more missing, its beginning was removed.
const LEADING_MAX: Micros = 3600;
/// Windows read ahead of the judge.
const AHEAD: usize = 1;

/// A table.
pub struct Table {
    options: Options,
    replay: Vec<String>,
}

/// Whether a path is a folder, and so a table.
pub fn is_table(path: &Path) -> bool {
    path.is_dir() || path.to_string_lossy().starts_with("s3://")
}

impl Table {
    /// The table of a configuration.
    pub fn of(options: Options, replay: Vec<String>) -> Self {
        Self { options, replay }
    }

    /// The table in a folder: the lake, or its table `readings`.
    ///
    /// # Errors
    /// Wrong use, where there is no table.
    pub fn at(path: &Path, options: Options, replay: Vec<String>) -> Result<Self, Stop> {
        let is_log = |p: &Path| p.join("_delta_log").is_dir();
        let lake = match path {
            p if is_log(p) => p.parent().unwrap_or(Path::new(".")),
            p if p.to_string_lossy().starts_with("s3://") || is_log(&p.join("readings")) => p,
            p => {
                let message = "is a folder without a table: name the lake, or the table `readings` in it";
                return Err(Stop::Input(format!("{} {message}", p.display())));
            }
        };
        let url = if lake.as_os_str().is_empty() { ".".to_owned() } else { lake.display().to_string() };
        Ok(Self { options: Options { url, ..options }, replay })
    }

    async fn open(&self, catalog: &Catalog) -> Result<Storage, Stop> {
        let catalog = Arc::new(RwLock::new(Arc::new(catalog.clone())));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let opened =
            Storage::open_read_only(self.options.clone(), None, catalog, clock, &Registry::new()).await;
        Ok(opened.with_context(|| format!("the table at {}", self.options.url))?)
    }

    /// Judges partition after partition.
    pub async fn judge(
        &self,
        task: &Task,
        decided: Decided<'_>,
        progress: &mut Progress,
    ) -> Result<Seen, Stop> {
        let storage = self.open(&task.catalog).await?;
        let histories = storage.histories(task.times.clone()).await.map_err(|e| anyhow!(e))?;
        let mut seen = Seen::default();
        for history in histories {
            let (partition, nobody) = (history.partition(), history.nobody.0);
            let (begin, end) = history.progress();
            let mut judge = Judge::new(task, partition, begin, &self.replay);
            let (send, mut windows) = mpsc::channel(AHEAD);
            let reading = tokio::spawn(read(history, send));
            while let Some(records) = windows.recv().await {
                tokio::task::block_in_place(|| {
                    for record in records {
                        if let Some(readings) = &record.readings {
                            let real = readings.point.iter().filter(|p| **p != nobody).count();
                            seen.readings += real as u64;
                            if real == readings.len() && real > 0 {
                                seen.times(&readings.time);
                            } else {
                                let rows = readings.time.iter().zip(&readings.point);
                                rows.filter(|(_, p)| **p != nobody).for_each(|(t, _)| seen.times(&[*t]));
                            }
                        }
                        let appended = record.appended;
                        judge.record(record);
                        let at = || format!("partition {partition}, {}", rfc3339(appended));
                        progress.step("judged", seen.readings, at);
                        judge.hand_over(decided)?;
                    }
                    Ok::<(), Stop>(())
                })?;
            }
            let history = reading.await.map_err(|e| anyhow!(e))??;
            seen.unknown += history.unknown;
            seen.unnumbered += history.unnumbered;
            seen.unplaced += history.unplaced;
            judge.ticks_to(end, Micros::MAX);
            judge.hand_over(decided)?;
        }
        Ok(seen)
    }

    /// The readings around some episodes.
    pub async fn curves(&self, wanted: Vec<Wanted>, progress: &mut Progress) -> Result<Vec<Curve>, Stop> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let storage = self.open(&Catalog::default()).await?;
        let limits = Limits { time: Duration::from_secs(600), rows: usize::MAX, ..Limits::default() };
        let (mut curves, mut looked, of) = (Vec::new(), 0, wanted.len());
        for wanted in wanted {
            let quoted = |text: &str| text.replace('\'', "''");
            let sql = format!(
                "SELECT time, value, status FROM readings WHERE site = '{}' AND point = '{}' AND time >= '{}' AND time <= '{}' \
                 ORDER BY time",
                quoted(&wanted.site),
                quoted(&wanted.point),
                rfc3339(wanted.from),
                rfc3339(wanted.to)
            );
            let mut rows = storage.query(&sql, limits).await.map_err(|e| anyhow!(e))?;
            let mut curve = Curve::of(wanted);
            while let Some(batch) = rows.next().await {
                let batch = batch.map_err(|e| anyhow!(e))?;
                let time = batch.column(0).as_primitive::<TimestampMicrosecondType>();
                let value = batch.column(1).as_primitive::<Float64Type>();
                let status = batch.column(2).as_primitive::<Int32Type>();
                for i in 0..batch.num_rows() {
                    let value = if value.is_valid(i) { value.value(i) } else { f64::NAN };
                    curve.push(time.value(i), value, status.value(i));
                }
            }
            looked += curve.count as u64;
            curves.push(curve);
            progress.step("drew", looked, || format!("{} of {of} curves", curves.len()));
        }
        Ok(curves)
    }
}

/// Reads windows into the channel until the end, or until nobody takes them.
async fn read(mut history: History, to: mpsc::Sender<Vec<HistoryRecord>>) -> Result<History, Stop> {
    loop {
        let records = history.next().await.map_err(|e| anyhow!(e))?;
        if records.is_empty() || to.send(records).await.is_err() {
            return Ok(history);
        }
    }
}

/// The versions at work on one partition.
struct Judge<'a> {
    evaluators: Vec<Evaluator>,
    replay: &'a [String],
    partition: u32,
    /// Offset expected next.
    next: u64,
    /// Append time of the last entry.
    last: Option<Micros>,
    out: Vec<Vec<Transition>>,
}

impl<'a> Judge<'a> {
    fn new(task: &Task, partition: u32, next: u64, replay: &'a [String]) -> Self {
        debug_assert!(matches!(task.source, Source::Table(_)));
        let catalog = Arc::new(task.catalog.slice(partition));
        let programs = task.programs(&catalog);
        let out = programs.iter().map(|_| Vec::new()).collect();
        let evaluators = programs.into_iter().map(|p| Evaluator::new(p, catalog.clone())).collect();
        Self { evaluators, replay, partition, next, last: None, out }
    }

    fn record(&mut self, mut record: HistoryRecord) {
        self.ticks_to(record.offset.number, record.appended);
        let at = At { offset: record.offset, appended: record.appended, origin: record.origin };
        for run in record.runs.iter_mut().filter(|r| self.replay.iter().any(|name| **name == *r.source)) {
            run.flags |= run_flags::REPLAY;
        }
        for (evaluator, out) in self.evaluators.iter_mut().zip(&mut self.out) {
            match (&record.readings, &record.positions, record.runs.first()) {
                (Some(readings), ..) => evaluator.readings(at, &record.runs, readings, out),
                (None, Some(positions), Some(run)) => evaluator.positions(at, run, positions, out),
                _ => evaluator.other(at, out),
            }
        }
        (self.next, self.last) = (record.offset.number + 1, Some(record.appended));
    }

    /// The ticks between the last entry and offset `next`, which was appended at `until`.
    fn ticks_to(&mut self, next: u64, until: Micros) {
        let missing = next.saturating_sub(self.next) as Micros;
        let before = match self.last {
            Some(appended) => appended,
            // A log begins with ticks: what never speaks is waited for from the first of them.
            None if missing <= LEADING_MAX && until != Micros::MAX => until - (missing + 1) * TICK,
            None => return,
        };
        for i in 1..=missing {
            let mut time = before.saturating_add(i * TICK).min(until);
            // After an outage records wait for a tick that confirms the time: one of these was it.
            if i == missing && until != Micros::MAX && until - time > JUMP {
                time = until;
            }
            let offset = Offset { partition: self.partition, number: self.next + i as u64 - 1 };
            let at = At { offset, appended: time, origin: Origin { collector: 0, sequence: 0 } };
            for (evaluator, out) in self.evaluators.iter_mut().zip(&mut self.out) {
                evaluator.tick(at, out);
            }
            if time == until {
                break; // whatever else stood here let no time pass
            }
        }
    }

    fn hand_over(&mut self, decided: Decided<'_>) -> Result<(), Stop> {
        for (version, out) in self.out.iter_mut().enumerate().filter(|(_, out)| !out.is_empty()) {
            decided(version, out)?;
            out.clear();
        }
        Ok(())
    }
}
