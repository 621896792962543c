//! The readings around the episodes that are drawn or listed.

use model::PointId;
use model::time::{MINUTE, Micros};
use rules::episodes::{Change, Episode};

/// Worst episodes that are drawn.
const DRAWN_MAX: usize = 8;
/// Differences whose readings are looked up.
const CHANGED_MAX: usize = 200;
/// Buckets of a curve: each keeps its least and its greatest reading.
const BUCKETS: i64 = 400;
/// Longest stretch that is drawn of an episode.
const SHOWN_MAX: Micros = 24 * 60 * MINUTE;

/// A stretch of readings of a point.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub site: String,
    pub point: String,
    pub point_id: PointId,
    pub from: Micros,
    pub to: Micros,
    /// The episode that it is for.
    pub episode: Episode,
}

/// The readings of a stretch, thinned out.
#[derive(Clone, Debug)]
pub struct Curve {
    pub wanted: Wanted,
    /// Time, value (NaN where there is none), status.
    pub readings: Vec<(Micros, f64, i32)>,
    /// Readings of the stretch, those left out included.
    pub count: usize,
    bucket: i64,
    in_bucket: usize,
}

/// What is to be looked up: the differences, else the worst episodes if a report is written.
pub fn wanted(episodes: &[Episode], changes: &[Change], end: Micros, report: bool) -> Vec<Wanted> {
    let around = |e: &Episode| {
        let lasted = e.lasted(end).min(SHOWN_MAX);
        let margin = (lasted / 2).max(5 * MINUTE);
        Wanted {
            site: e.key.site.clone(),
            point: e.key.point.clone(),
            point_id: e.key.point_id,
            from: e.from - margin,
            to: e.from + lasted + margin,
            episode: e.clone(),
        }
    };
    if !changes.is_empty() {
        return changes.iter().take(CHANGED_MAX).map(|c| around(c.episode())).collect();
    }
    if !report {
        return Vec::new();
    }
    let mut worst: Vec<&Episode> = episodes.iter().filter(|e| !e.key.simulated).collect();
    worst.sort_by_key(|e| (e.severity, -e.lasted(end), e.from));
    // One picture a point and rule: what one sensor did all week must not hide the others.
    let mut shown = std::collections::BTreeSet::new();
    worst.retain(|e| shown.insert((&e.key.rule, e.key.point_id)) || shown.len() * 2 < DRAWN_MAX);
    worst.into_iter().take(DRAWN_MAX).map(around).collect()
}

impl Curve {
    /// No reading yet.
    pub fn of(wanted: Wanted) -> Self {
        Self { wanted, readings: Vec::new(), count: 0, bucket: i64::MIN, in_bucket: 0 }
    }

    /// Takes a reading, in the order of time.
    pub fn push(&mut self, time: Micros, value: f64, status: i32) {
        self.count += 1;
        let width = ((self.wanted.to - self.wanted.from) / BUCKETS).max(1);
        let bucket = (time - self.wanted.from) / width;
        if bucket != self.bucket {
            (self.bucket, self.in_bucket) = (bucket, 0);
        }
        let n = self.readings.len();
        if self.in_bucket < 2 || value.is_nan() {
            self.readings.push((time, value, status));
            self.in_bucket += 1;
            return;
        }
        // The two kept ones are the least and the greatest, in the order in which they came.
        let [a, b] = [self.readings[n - 2].1, self.readings[n - 1].1];
        if value > a.max(b) || value < a.min(b) {
            let drop = if (value > a.max(b)) == (a > b) { n - 2 } else { n - 1 };
            self.readings.remove(drop);
            self.readings.push((time, value, status));
        }
    }

    /// By time, where readings did not come so.
    pub fn sort(&mut self) {
        self.readings.sort_by_key(|r| r.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Severity, TransitionId};
    use rules::episodes::Key;
    use std::sync::Arc;

    #[test]
    fn a_curve_keeps_the_greatest_and_the_least_of_each_bucket() {
        let key = Key {
            rule: "r".into(),
            site: "s".into(),
            point: "p".into(),
            point_id: PointId(1),
            level: "l".into(),
            late: false,
            simulated: false,
        };
        let episode = Episode {
            key: Arc::new(key),
            id: TransitionId([0; 16]),
            from: 0,
            to: Some(1),
            withdrawn: false,
            peak: None,
            severity: Severity::Red,
            reason: String::new(),
            steps: 2,
        };
        let mut wanted = wanted(&[episode], &[], 0, true).remove(0);
        (wanted.from, wanted.to) = (0, 400_000);
        let mut curve = Curve::of(wanted);
        let values: Vec<f64> = (0..400_000_i64).step_by(10).map(|t| (t * 7919 % 10_007) as f64).collect();
        values.iter().enumerate().for_each(|(i, v)| curve.push(i as i64 * 10, *v, 0));
        assert_eq!((curve.count, curve.readings.len()), (40_000, 800));
        for (bucket, kept) in values.chunks(100).zip(curve.readings.chunks(2)) {
            let (least, most) = bucket.iter().fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
            let mut kept: Vec<f64> = kept.iter().map(|r| r.1).collect();
            kept.sort_by(f64::total_cmp);
            assert_eq!(kept, [least, most]);
        }
        assert!(curve.readings.is_sorted_by_key(|r| r.0));
    }
}
