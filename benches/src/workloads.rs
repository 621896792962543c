//! The three workloads that other makers' rule engines were measured with, asked of our evaluator, and the answers by a plain loop.
//!
//! Peers tell of each event for which a condition holds; firedamp tells when it begins and when it ends. A level without delays is on
//! at exactly the readings for which its condition holds, so what peers count are the readings from each on to its off.

use crate::proc::thread_cpu_s;
use anyhow::{Context, ensure};
use model::time::{Micros, SECOND};
use model::{Catalog, PointId, Problems, ReadingsBuilder, To, Transition};
use rules::{Paced, Program, RuleFile};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Points of the data.
pub const POINTS: usize = 10_000;
/// Readings of each, one a second.
pub const SECONDS: usize = 1_000;
/// Time of the first: 2026-01-01T00:00:00Z.
pub const START: Micros = 1_767_225_600 * SECOND;
/// The four filters, and what the workload asks beside.
pub const QUESTIONS: usize = 5;

/// How many readings each question holds for.
pub type Counts = [u64; QUESTIONS];

/// The four filters of every workload.
const FILTERS: &str = r#"
[[rule]]
name = "filters"
kind = "limit"
select = { quantity = "ch4" }
level = [{ name = "q0", on = ">= 1.0" }, { name = "q1", on = ">= 1.5" }, { name = "q2", on = ">= 2.0" }, { name = "q3", on = ">= 3.0" }]
"#;

/// A rise of at least 0.195 over a second: two readings stand for the limit, the newest and the one before.
const STEP: &str = r#"
[[rule]]
name = "step"
kind = "rate"
select = { quantity = "ch4" }
window = "2s"
buckets = 2
min_readings = 2
min_covered = "1s"
blank = "0s"
level = [{ name = "q4", on = ">= 11.7 /min" }]
"#;

/// A reading above the least of the last ten, itself among them.
const RISE: &str = r#"
[[rule]]
name = "rise"
kind = "window"
stat = "rise"
select = { quantity = "ch4" }
window = "10s"
buckets = 10
min_readings = 1
min_covered = "1s"
level = [{ name = "q4", on = ">= 0.195" }]
"#;

/// A least value of ten readings that is itself over a limit.
const LEAST: &str = r#"
[[rule]]
name = "least"
kind = "window"
stat = "min"
select = { quantity = "ch4" }
window = "10s"
buckets = 10
min_readings = 10
min_covered = "9s"
level = [{ name = "q4", on = ">= 1.0" }]
"#;

/// A workload by the name that the peers' scripts have for it.
pub struct Workload {
    /// Its name; as the peers', with a word behind it where ours asks another thing.
    pub name: &'static str,
    /// What the fifth question is.
    pub asks: &'static str,
    /// Rules as a user would write them.
    pub rules: String,
    /// The fifth question by a plain look at the data: second and point.
    fifth: fn(&[u16], usize, usize) -> bool,
}

impl Workload {
    /// Name of the same among the peers'.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        self.name.split_once('-').map_or(self.name, |(mode, _)| mode)
    }
}

/// Hundredths of a per cent of a point, so many seconds back.
fn back(data: &[u16], second: usize, point: usize, seconds: usize) -> Option<i32> {
    Some(i32::from(data[second.checked_sub(seconds)? * POINTS + point]))
}

/// Whether a reading stands 0.20 above the one so many seconds back.
fn rose(data: &[u16], second: usize, point: usize, seconds: usize) -> bool {
    let now = i32::from(data[second * POINTS + point]);
    back(data, second, point, seconds).is_some_and(|then| now - then >= 20)
}

/// All of them. What peers ask is asked exactly, and beside it another question of the same kind of work.
#[must_use]
pub fn all() -> Vec<Workload> {
    vec![
        Workload { name: "filters", asks: "nothing more", rules: FILTERS.to_owned(), fifth: |_, _, _| false },
        Workload {
            name: "rate",
            asks: "0.195 or more above the reading before",
            rules: FILTERS.to_owned() + STEP,
            fifth: |data, t, p| rose(data, t, p, 1),
        },
        Workload {
            name: "win",
            asks: "0.195 or more above the least of the last ten readings",
            rules: FILTERS.to_owned() + RISE,
            fifth: |data, t, p| (1..10).any(|k| rose(data, t, p, k)),
        },
        Workload {
            name: "win-least",
            asks: "the least of the last ten readings is 1.0 or more",
            rules: FILTERS.to_owned() + LEAST,
            fifth: |data, t, p| t >= 9 && (0..10).all(|k| back(data, t, p, k).is_some_and(|v| v >= 100)),
        },
    ]
}

/// The readings: hundredths of a per cent, all points of a second together.
///
/// # Errors
/// When the file is not that.
pub fn data(file: &Path) -> anyhow::Result<Vec<u16>> {
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    ensure!(bytes.len() == 2 * POINTS * SECONDS, "{}: {} bytes", file.display(), bytes.len());
    Ok(bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect())
}

/// What must be counted.
#[must_use]
pub fn expected(workload: &Workload, data: &[u16]) -> Counts {
    let mut counts = Counts::default();
    for (i, value) in data.iter().enumerate() {
        let filters = [100, 150, 200, 300].map(|limit| *value >= limit);
        let fifth = (workload.fifth)(data, i / POINTS, i % POINTS);
        let holds = filters.iter().chain([&fifth]);
        counts.iter_mut().zip(holds).for_each(|(count, holds)| *count += u64::from(*holds));
    }
    counts
}

/// The sites and points of the data as the files of a user.
#[must_use]
pub fn catalog_files() -> (String, String) {
    let row = |p: usize| format!("M,P{p:05},,ch4,%,0,10,T1,1s\n");
    let points: String = (0..POINTS).map(row).collect();
    (
        "site,name,kind,region\nM,mine,mine,140581\n".to_owned(),
        "site,point,name,quantity,unit,low,high,place,period\n".to_owned() + &points,
    )
}

/// One judgement of all readings on this thread.
pub struct Judged {
    /// What was counted.
    pub counts: Counts,
    /// Seconds by the clock.
    pub wall_s: f64,
    /// Seconds of processor time.
    pub cpu_s: f64,
}

/// Judges all readings as they would come: a record a second, made within the time measured as the peers make their events, and a
/// tick a second as from the log.
///
/// # Errors
/// What is wrong with rules or catalog.
pub fn judge(workload: &Workload, data: &[u16]) -> anyhow::Result<Judged> {
    let mut problems = Problems::default();
    let (sites, points) = catalog_files();
    let sites = model::catalog::sites_from_csv("sites.csv", &sites, &mut problems);
    let points = model::catalog::points_from_csv("points.csv", &points, &mut problems);
    let catalog = Arc::new(Catalog::build(sites, points, 1, &mut problems));
    let file = RuleFile { name: "rules.toml".to_owned(), text: workload.rules.clone() };
    let (program, found) = Program::compile(&[file], &catalog);
    ensure!(problems.errors() + found.errors() == 0, "{problems}{found}");
    let ids: Vec<PointId> = (0..POINTS).map(|p| PointId::of("M", &format!("P{p:05}"))).collect();
    let (mut tally, mut out) = (Tally::new(&ids, data.len() / POINTS), Vec::new());
    let mut paced = Paced::new(program, catalog, "peers");
    let (began, cpu) = (Instant::now(), thread_cpu_s());
    for (second, values) in data.chunks_exact(POINTS).enumerate() {
        let time = START + second as Micros * SECOND;
        let mut rows = ReadingsBuilder::with_capacity(POINTS);
        for (id, value) in ids.iter().zip(values) {
            rows.push(*id, time, f64::from(*value) / 100.0, 0);
        }
        paced.readings(time, &rows.finish(), &mut out);
        out.drain(..).for_each(|t| tally.take(&t));
    }
    let counts = tally.end();
    Ok(Judged { counts, wall_s: began.elapsed().as_secs_f64(), cpu_s: thread_cpu_s() - cpu })
}

/// The readings of each question, a bit each: several rules may say the same of one.
struct Tally {
    point: HashMap<PointId, usize>,
    since: HashMap<(String, PointId, usize), usize>,
    held: [Vec<u64>; QUESTIONS],
    seconds: usize,
}

impl Tally {
    fn new(ids: &[PointId], seconds: usize) -> Self {
        let words = (POINTS * seconds).div_ceil(64);
        Self {
            point: ids.iter().enumerate().map(|(p, id)| (*id, p)).collect(),
            since: HashMap::new(),
            held: std::array::from_fn(|_| vec![0; words]),
            seconds,
        }
    }

    fn take(&mut self, t: &Transition) {
        let question = t.level.strip_prefix('q').and_then(|n| n.parse().ok()).unwrap_or(0);
        let second = ((t.time - START) / SECOND) as usize;
        let key = (t.rule.clone(), t.point_id, question);
        if t.to == To::On {
            self.since.insert(key, second);
        } else if let Some(since) = self.since.remove(&key) {
            self.hold(t.point_id, question, since..second);
        }
    }

    fn hold(&mut self, point: PointId, question: usize, seconds: std::ops::Range<usize>) {
        let Some(point) = self.point.get(&point) else { return };
        for second in seconds {
            let bit = second * POINTS + point;
            self.held[question][bit / 64] |= 1 << (bit % 64);
        }
    }

    /// What is still on holds to the last reading.
    fn end(mut self) -> Counts {
        for ((_, point, question), since) in std::mem::take(&mut self.since) {
            self.hold(point, question, since..self.seconds);
        }
        self.held.map(|words| words.iter().map(|w| u64::from(w.count_ones())).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_counts_what_a_plain_loop_counts() {
        // Plateaus, steps up and down, and what is still over at the end; a small generator with a seed.
        let mut seed = 7u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed >> 33
        };
        let seconds = 120;
        let mut data = vec![0u16; POINTS * seconds];
        for point in (0..POINTS).step_by(97) {
            let mut value = (next() % 120) as u16;
            for second in 0..seconds {
                match next() % 20 {
                    0 => value = (next() % 400) as u16,
                    1..4 => value = (value + (next() % 25) as u16).saturating_sub(10),
                    _ => {}
                }
                data[second * POINTS + point] = value;
            }
        }
        for workload in all() {
            let expected = expected(&workload, &data);
            assert!(workload.name == "filters" || expected[4] > 100, "{}: {expected:?}", workload.name);
            assert_eq!(judge(&workload, &data).unwrap().counts, expected, "{}", workload.name);
            // A reading that is changed is noticed.
            data[50 * POINTS] ^= 1 << 8;
            assert_ne!(judge(&workload, &data).unwrap().counts, expected, "{}", workload.name);
            data[50 * POINTS] ^= 1 << 8;
        }
    }
}
