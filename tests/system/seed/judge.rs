//! What must be true at the end of every history, whatever died, failed or came twice in it.

use super::devices::Sample;
use super::life::{PARTITIONS, Stage};
use super::log::History;
use crate::once::judged;
use arrow::util::display::array_value_to_string;
use firedamp::balance::Counts;
use futures::TryStreamExt;
use model::{Micros, Record, Transition};
use prometheus::Registry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, RwLock};
use storage::{Limits, Options, Storage};
use stream::Log;

/// Fails with a sentence where two things are not equal.
macro_rules! equal {
    ($left:expr, $right:expr, $what:expr) => {{
        let (left, right) = ($left, $right);
        if left != right {
            return Err(format!("{}: {left:?} is not {right:?}", $what));
        }
    }};
}
pub(super) use equal;

/// A reading as the table shows it.
type Row = (String, String, Micros, u64, i32);

/// Alarms of a rule without their ids: rule, site, point, opened, closed, level.
pub type Episodes = BTreeSet<(String, String, String, Micros, Option<Micros>, String)>;

/// Judges a settled history; gives its alarms of rule `ch4`, which must be those of an undisturbed one.
///
/// # Errors
/// What is not true.
pub fn judge(stage: &Stage) -> Result<Episodes, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|e| e.to_string())?;
    runtime.block_on(async {
        stage.world.begin(None);
        let history = stage.log.history().await;
        order_of_points(stage, &history)?;
        let decided = transitions(stage, &history)?;
        table(stage, &decided).await?;
        let alarms = super::told::alarms(stage, &decided).await?;
        let ch4 = alarms.iter().filter(|a| a.rule == "ch4");
        Ok(ch4
            .map(|a| (a.rule.clone(), a.site.clone(), a.point.clone(), a.opened, a.closed, a.level.clone()))
            .collect())
    })
}

/// Readings enter the log in the order in which the device sent them, repeats left out.
fn order_of_points(stage: &Stage, history: &History) -> Result<(), String> {
    let mut came: BTreeMap<i64, Vec<Micros>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for p in 0..PARTITIONS {
        let mut rows = 0;
        for entry in &history[&(false, p)] {
            let record = entry.decode().map_err(|e| e.to_string())?;
            let Record::Readings { readings, .. } = record else { continue };
            rows += readings.len();
            for i in 0..readings.len() {
                let (id, time, ..) = readings.row(i);
                if seen.insert((id.0, time)) {
                    came.entry(id.0).or_default().push(time);
                }
            }
        }
        if rows == 0 {
            return Err(format!("partition {p} got no readings"));
        }
    }
    let mut sent: BTreeMap<i64, Vec<Micros>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for sample in stage.devices.iter().flat_map(|d| &d.messages).flat_map(|m| &m.samples) {
        let id = model::PointId::of(sample.site, sample.point).0;
        if seen.insert((id, sample.time)) {
            sent.entry(id).or_default().push(sample.time);
        }
    }
    for (id, times) in &sent {
        let came = came.get(id).cloned().unwrap_or_default();
        equal!(came.len(), times.len(), format!("readings of point {id} in the log"));
        equal!(came.iter().zip(times).position(|(a, b)| a != b), None, format!("order of point {id}"));
    }
    Ok(())
}

/// The stream of transitions is that of one judgement of the whole log; what stands in it twice is the same both times.
fn transitions(stage: &Stage, history: &History) -> Result<Vec<Transition>, String> {
    let mut all = Vec::new();
    for p in 0..PARTITIONS {
        let wanted = judged(&history[&(false, p)], stage.first_version().of_partition(p))?;
        let mut written: Vec<Transition> = Vec::new();
        let mut at: HashMap<String, usize> = HashMap::new();
        for entry in &history[&(true, p)] {
            let Record::Transitions(more) = entry.decode().map_err(|e| e.to_string())? else {
                return Err("a record of another kind among the transitions".to_owned());
            };
            for t in more {
                match at.get(&t.id.to_string()) {
                    Some(i) => equal!(&written[*i], &t, "a transition decided again"),
                    None => {
                        at.insert(t.id.to_string(), written.len());
                        written.push(t);
                    }
                }
            }
        }
        equal!(written.len(), wanted.len(), format!("transitions of partition {p}"));
        for (written, wanted) in written.iter().zip(&wanted) {
            equal!(written, wanted, format!("transitions of partition {p}"));
        }
        all.extend(written);
    }
    Ok(all)
}

/// Every reading is in the table once, the events too, and the balance is exact.
async fn table(stage: &Stage, decided: &[Transition]) -> Result<(), String> {
    let catalog = Arc::new(RwLock::new(stage.catalog.clone()));
    let (lake, clock) = (Arc::new(stage.lake.clone()), Arc::new(stage.world.clone()));
    let options = Options { query_threads: 0, ..Options::default() };
    let storage = Storage::open_read_only(options, Some(lake), catalog, clock, &Registry::new()).await;
    let storage = storage.map_err(|e| e.to_string())?;
    let rows =
        query(&storage, "SELECT site, point, CAST(time AS BIGINT), value, status FROM readings").await?;
    let mut stored: Vec<Row> = rows.iter().map(|r| row(r)).collect();
    stored.sort();
    let samples = stage.devices.iter().flat_map(|d| &d.messages).flat_map(|m| &m.samples);
    let sent: BTreeSet<Row> = samples
        .map(|s| (s.site.to_owned(), s.point.to_owned(), s.time, bits(Some(s.value)), status(s)))
        .collect();
    let distinct: BTreeSet<&Row> = stored.iter().collect();
    equal!(stored.len(), distinct.len(), "readings in the table, and different ones");
    if let Some(lost) = sent.iter().find(|row| !distinct.contains(row)) {
        return Err(format!("not in the table: {lost:?}"));
    }
    equal!(stored.len(), sent.len(), "readings in the table, and sent");
    let events = query(&storage, "SELECT id FROM events").await?;
    let different: BTreeSet<&Vec<String>> = events.iter().collect();
    equal!((events.len(), different.len()), (decided.len(), decided.len()), "events in the table");
    let log: Arc<dyn Log> = Arc::new(stage.log.clone());
    let balance = firedamp::balance::of(&storage, &log).await.map_err(|e| e.to_string())?.counts;
    counted(&balance, &Handed::over(stage), sent.len() as i64)
}

/// What the devices handed over: at least once each, at most as often as they tried.
pub struct Handed {
    pub rows: [i64; 2],
    pub unknown: [i64; 2],
    pub rubbish: [i64; 2],
}

impl Handed {
    pub fn over(stage: &Stage) -> Self {
        let mut this = Self { rows: [0; 2], unknown: [0; 2], rubbish: [0; 2] };
        for device in &stage.devices {
            for (message, tries) in device.messages.iter().zip(device.tries()) {
                let add = |to: &mut [i64; 2], n: usize| {
                    to[0] += n as i64;
                    to[1] += n as i64 * tries;
                };
                add(&mut this.rows, message.samples.len());
                add(&mut this.unknown, usize::from(message.unknown));
                add(&mut this.rubbish, usize::from(message.rubbish));
            }
        }
        this
    }
}

/// The balance is exact, and nothing is counted more often than it was handed over.
pub fn counted(balance: &Counts, handed: &Handed, distinct: i64) -> Result<(), String> {
    equal!((balance.stored, balance.pending), (distinct, 0), "the balance: stored, and pending");
    if !balance.is_balanced() {
        return Err(format!("the balance does not hold: {balance:?}"));
    }
    let counts = [
        (balance.stored + balance.duplicate, handed.rows, "stored or duplicate"),
        (balance.quarantined, handed.unknown, "quarantined"),
        (balance.refused, handed.rubbish, "refused"),
    ];
    match counts.iter().find(|(n, [least, most], _)| n < least || n > most) {
        None => Ok(()),
        Some((n, bounds, what)) => Err(format!("the balance: {n} {what} of {bounds:?} handed over")),
    }
}

/// As it is stored: a value that is no number is missing.
fn status(sample: &Sample) -> i32 {
    sample.status | if sample.value.is_finite() { 0 } else { model::status::MISSING }
}

fn bits(value: Option<f64>) -> u64 {
    value.filter(|v| v.is_finite()).map_or(u64::MAX, f64::to_bits)
}

fn row(cells: &[String]) -> Row {
    let (time, status) = (cells[2].parse().unwrap_or(0), cells[4].parse().unwrap_or(-1));
    (cells[0].clone(), cells[1].clone(), time, bits(cells[3].parse().ok()), status)
}

async fn query(storage: &Storage, sql: &str) -> Result<Vec<Vec<String>>, String> {
    let stream = storage.query(sql, Limits::default()).await.map_err(|e| e.to_string())?;
    let batches: Vec<arrow::record_batch::RecordBatch> =
        stream.try_collect().await.map_err(|e| format!("{sql}: {e}"))?;
    let mut out = Vec::new();
    for batch in batches {
        for i in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|c| array_value_to_string(c, i).unwrap_or_default());
            out.push(cells.collect());
        }
    }
    Ok(out)
}
