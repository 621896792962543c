//! The readings around the episodes that are drawn or listed.

use model::PointId;
use model::time::{MINUTE, Micros};
use rules::episodes::{Change, Episode};

/// Worst episodes that are drawn.
const DRAWN_MAX: usize = 8;
/// Differences whose readings are looked up.
const CHANGED_MAX: usize = 200;
/// Buckets of a curve: each keeps its least and its greatest reading, and one without a value.
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
    kept: Kept,
}

/// Where the readings stand that the last bucket keeps.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    least: Option<usize>,
    most: Option<usize>,
    gap: bool,
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
    // What one sensor did all week must not hide the others: the worst of each point and rule, only then what they did besides.
    let mut shown = std::collections::BTreeSet::new();
    let (firsts, rest): (Vec<&Episode>, Vec<&Episode>) =
        worst.into_iter().partition(|e| shown.insert((&e.key.rule, e.key.point_id)));
    firsts.into_iter().chain(rest).take(DRAWN_MAX).map(around).collect()
}

impl Curve {
    /// No reading yet.
    pub fn of(wanted: Wanted) -> Self {
        Self { wanted, readings: Vec::new(), count: 0, bucket: i64::MIN, kept: Kept::default() }
    }

    /// Takes a reading, in the order of time.
    pub fn push(&mut self, time: Micros, value: f64, status: i32) {
        self.count += 1;
        let width = ((self.wanted.to - self.wanted.from) / BUCKETS).max(1);
        let bucket = (time - self.wanted.from) / width;
        if bucket != self.bucket {
            (self.bucket, self.kept) = (bucket, Kept::default());
        }
        let bucket = &mut self.kept;
        let at = self.readings.len();
        if value.is_nan() {
            // One gap a bucket says that there is one.
            if !std::mem::replace(&mut bucket.gap, true) {
                self.readings.push((time, value, status));
            }
            return;
        }
        let of = |i: Option<usize>| i.map(|i| self.readings[i].1);
        let (below, above) =
            (of(bucket.least).is_none_or(|v| value < v), of(bucket.most).is_none_or(|v| value > v));
        if !below && !above {
            return;
        }
        // The one it takes the place of goes, unless it is the other extreme too.
        let gone = if below { bucket.least } else { bucket.most };
        let gone = gone.filter(|_| bucket.least != bucket.most);
        let slot = if below { &mut bucket.least } else { &mut bucket.most };
        *slot = Some(at);
        if below && bucket.most.is_none() {
            bucket.most = Some(at);
        }
        self.readings.push((time, value, status));
        if let Some(gone) = gone {
            self.readings.remove(gone);
            for kept in [&mut bucket.least, &mut bucket.most] {
                *kept = kept.map(|i| if i > gone { i - 1 } else { i });
            }
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

    /// Of a point, from a minute on, for so many minutes.
    fn episode(point: i64, from: i64, minutes: i64) -> Episode {
        let key = Key {
            rule: "r".into(),
            site: "s".into(),
            point: "p".into(),
            point_id: PointId(point),
            level: "l".into(),
            late: false,
            simulated: false,
        };
        Episode {
            key: Arc::new(key),
            id: TransitionId([0; 16]),
            from: from * MINUTE,
            to: Some((from + minutes) * MINUTE),
            withdrawn: false,
            peak: None,
            severity: Severity::Red,
            reason: String::new(),
            steps: 2,
        }
    }

    #[test]
    fn a_sensor_that_was_over_all_week_hides_no_other() {
        let all: Vec<Episode> =
            (0..20).map(|i| episode(1, i * 100, 60)).chain((2..6).map(|p| episode(p, 0, p))).collect();
        let drawn: Vec<i64> = wanted(&all, &[], 0, true).iter().map(|w| w.point_id.0).collect();
        assert_eq!(drawn, [1, 5, 4, 3, 2, 1, 1, 1]);
    }

    #[test]
    fn gaps_in_a_bucket_take_no_reading_away_and_one_is_kept() {
        let mut wanted = wanted(&[episode(1, 0, 1)], &[], 0, true).remove(0);
        (wanted.from, wanted.to) = (0, 400_000);
        let mut curve = Curve::of(wanted);
        let nan = f64::NAN;
        let values = [nan, nan, 5.0, nan, 3.0, 9.0, nan, 4.0, 1.0, 7.0, nan];
        values.iter().enumerate().for_each(|(i, v)| curve.push(i as i64, *v, 0));
        let shown =
            |c: &Curve| c.readings.iter().map(|r| format!("{}:{}", r.0, r.1)).collect::<Vec<_>>().join(" ");
        assert_eq!(shown(&curve), "0:NaN 5:9 8:1");
        curve.push(1000, 2.0, 0);
        curve.push(1001, 2.0, 0);
        curve.push(1002, 3.0, 0);
        assert_eq!((shown(&curve), curve.count), ("0:NaN 5:9 8:1 1000:2 1002:3".to_owned(), 14));
    }

    #[test]
    fn a_curve_keeps_the_greatest_and_the_least_of_each_bucket() {
        let mut wanted = wanted(&[episode(1, 0, 1)], &[], 0, true).remove(0);
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
