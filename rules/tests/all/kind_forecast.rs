//! `forecast` against a model that keeps every reading and fits by other formulas.

use crate::agree::*;
use crate::stand::*;
use model::catalog::{points_from_csv, sites_from_csv};
use model::status::*;
use model::{Catalog, Problems};
use proptest::prelude::*;
use rules::{Evaluator, Program, RuleFile};
use std::sync::Arc;

#[derive(Clone, Copy, Debug)]
struct Setting {
    holt: bool,
    up: bool,
    sigmas: i64,
    /// Seconds.
    window: i64,
    buckets: i64,
    min_readings: i64,
    min_covered: i64,
    blank: i64,
    gap: i64,
    within: i64,
    clear: i64,
}

const LIMIT: f64 = 0.5;

impl Setting {
    fn rules(&self) -> String {
        let Setting { sigmas, window, buckets, min_readings, min_covered, blank, gap, within, clear, .. } =
            self;
        let limit = if self.up { format!(">= {LIMIT}") } else { format!("<= {LIMIT}") };
        let method = if self.holt { "\"holt\"\nalpha = 0.5\nbeta = 0.25" } else { "\"linear\"" };
        format!(
            "[[rule]]\nname = \"m\"\nkind = \"forecast\"\nselect = {{ point = \"T1\" }}\nlimit = \"{limit}\"\nmethod = {method}\nsigmas = {sigmas}\n\
             window = \"{window}s\"\nbuckets = {buckets}\nmin_readings = {min_readings}\nmin_covered = \"{min_covered}s\"\nblank = \"{blank}s\"\n\
             gap = \"{gap}s\"\nwithin = \"{within}s\"\nclear = \"{clear}s\"\n"
        )
    }

    /// Readings since the window began anew, after the blank.
    fn known(&self, rows: &[Row], newer: &[bool]) -> Vec<(i64, f64)> {
        let (mut known, mut last, mut begun) = (Vec::new(), None, 0);
        for (row, _) in rows.iter().zip(newer).filter(|(_, newer)| **newer) {
            if has(row, BAD | CALIBRATION) {
                last = None;
            }
            if !may_clear(row) {
                continue;
            }
            if last.is_none_or(|last| row.time - last > self.gap) {
                (known, begun) = (Vec::new(), row.time);
            }
            last = Some(row.time);
            if row.time - begun >= self.blank {
                known.push((row.time, row.value as f64 / 100.0));
            }
        }
        known
    }

    fn say(&self, rows: &[Row], newer: &[bool], i: usize) -> Say {
        if !newer[i] || !may_clear(&rows[i]) {
            return Say::Hold;
        }
        let now = rows[i].time;
        // A divisor of the start, so that counting from it is counting from 1970.
        let width = self.window / self.buckets;
        let place = |t: i64| t.div_euclid(width);
        let mut known = self.known(&rows[..=i], newer);
        if known.last().is_none_or(|k| k.0 != now) {
            return Say::Hold; // in the blank
        }
        known.retain(|(t, _)| place(*t) > place(now) - self.buckets);
        if (known.len() as i64) < self.min_readings || now - known[0].0 < self.min_covered {
            return Say::Hold;
        }
        // First and last of each bucket; Holt takes the last only.
        let edge =
            |k: usize, other: Option<&(i64, f64)>| other.is_none_or(|o| place(o.0) != place(known[k].0));
        let is =
            |k: &usize| edge(*k, known.get(k + 1)) || (!self.holt && (*k == 0 || edge(*k, known.get(k - 1))));
        let points: Vec<(f64, f64)> =
            (0..known.len()).filter(is).map(|k| ((known[k].0 - now) as f64, known[k].1)).collect();
        if points.len() < 4 {
            return Say::Hold;
        }
        let predict = if self.holt { holt(&points) } else { line(&points) };
        let round = |v: f64| (v * 1e9).round() / 1e9;
        let way = if self.up { 1.0 } else { -1.0 };
        let reached = |v: f64| round(v) * way >= LIMIT * way;
        let at = |ahead: i64, careful: f64| {
            let (value, error) = predict(ahead as f64);
            value - careful * way * self.sigmas as f64 * error
        };
        match () {
            _ if reached(predict(0.0).0) || reached(at(self.within, 1.0)) => Say::Over,
            _ if !reached(at(self.clear, -1.0)) => Say::Below,
            _ => Say::Band,
        }
    }
}

type Predict = Box<dyn Fn(f64) -> (f64, f64)>;

/// Least squares by sums of products.
fn line(points: &[(f64, f64)]) -> Predict {
    let n = points.len() as f64;
    let sum = |f: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>();
    let (t, v) = (sum(&|p| p.0), sum(&|p| p.1));
    let (tt, tv) = (sum(&|p| p.0 * p.0), sum(&|p| p.0 * p.1));
    let below = n * tt - t * t;
    let slope = (n * tv - t * v) / below;
    let level = (v - slope * t) / n;
    let left = sum(&|p| (p.1 - level - slope * p.0) * (p.1 - level - slope * p.0));
    Box::new(move |ahead| {
        let far = ahead - t / n;
        (level + slope * ahead, (left / (n - 2.0) * (1.0 / n + far * far * n / below)).sqrt())
    })
}

/// Holt, from each point to the next.
fn holt(points: &[(f64, f64)]) -> Predict {
    let (alpha, beta) = (0.5, 0.25);
    let mut slope = (points[1].1 - points[0].1) / (points[1].0 - points[0].0);
    let (mut level, mut errors) = (points[1].1, Vec::new());
    for pair in points[1..].windows(2) {
        let step = pair[1].0 - pair[0].0;
        let error = pair[1].1 - (level + slope * step);
        (level, slope) = (level + slope * step + alpha * error, slope + alpha * beta * error / step);
        errors.push(error * error);
    }
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    let step = (points[points.len() - 1].0 - points[0].0) / (points.len() - 1) as f64;
    Box::new(move |ahead| {
        let h = f64::max(ahead / step, 1.0);
        let b = alpha * beta;
        let grown = (h - 1.0) * (alpha * alpha + alpha * b * h + b * b * h * (2.0 * h - 1.0) / 6.0);
        (level + slope * ahead, (mean * (1.0 + grown)).sqrt())
    })
}

fn setting() -> impl Strategy<Value = Setting> {
    let shape = prop::sample::select(&[(8i64, 4i64), (20, 5), (16, 8), (40, 4)][..]);
    let guards = (4i64..7, 1i64..8, 0i64..3, 1i64..5);
    let left = prop::sample::select(&[(1i64, 1i64), (2, 6), (10, 10), (10, 30)][..]);
    (any::<bool>(), any::<bool>(), 0i64..3, shape, guards, left).prop_map(
        |(holt, up, sigmas, shape, guards, left)| {
            let ((window, buckets), (min_readings, min_covered, blank, gap), (within, clear)) =
                (shape, guards, left);
            let min_covered = min_covered.min(window - window / buckets);
            Setting {
                holt,
                up,
                sigmas,
                window,
                buckets,
                min_readings,
                min_covered,
                blank,
                gap,
                within,
                clear,
            }
        },
    )
}

/// A series that rises and falls, so that there is something to forecast.
fn ramps() -> impl Strategy<Value = Vec<Row>> {
    let slopes = prop::collection::vec(-4i64..5, 1..8);
    (series(&[0, 0, 0, 1, -1]), slopes, any::<bool>()).prop_map(|(mut rows, slopes, ramp)| {
        let mut level = 30;
        for (i, row) in rows.iter_mut().enumerate() {
            level = (level + slopes[i / 12 % slopes.len()]).clamp(0, 100);
            row.value = (level + row.value * if ramp { 1 } else { 7 }).max(0);
        }
        rows
    })
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn the_model_agrees(s in setting(), rows in ramps(), cuts in cuts()) {
        let newer = newer(&rows);
        let expected = [("forecast", changes_at(&rows, |i| s.say(&rows, &newer, i)))];
        agree(&s.rules(), &rows, &cuts, &expected)?;
    }
}

fn rule(keys: &str) -> String {
    format!(
        "[[rule]]\nname = \"f\"\nkind = \"forecast\"\nselect = {{ point = \"T1\" }}\nblank = \"0s\"\n{keys}\n"
    )
}

const FILLING: &str = "limit = \">= 2.0\"\nwindow = \"16s\"\nwithin = \"60s\"\nclear = \"90s\"";

/// 0.01 a second from `start` on.
fn rising(from: i32, to: i32, start: f64) -> Vec<Event> {
    (from..to).map(|s| at(f64::from(s), start + 0.01 * f64::from(s - from), 0)).collect()
}

#[test]
fn a_straight_rise_is_told_at_exactly_the_time() {
    for method in ["linear", "holt"] {
        let rules = rule(&format!("{FILLING}\nmethod = \"{method}\""));
        let out = judge(&rules, &rising(0, 60, 1.0));
        // 1.40 at 40 s: 0.60 are left, a minute's rise.
        assert_eq!(shown(&out), ["forecast on 40"], "{method}");
        assert_eq!(out[0].value, Some(1.0), "{}", out[0].reason);
        // It stands still: the rise is over as soon as the window says so.
        let still: Vec<Event> = (60..90).map(|s| at(f64::from(s), 1.5, 0)).collect();
        let out = judge_restored(&rules, &[rising(0, 51, 1.0), still].concat());
        assert_eq!(out.last().unwrap().to, model::To::Off, "{method} {:?}", shown(&out));
        // It falls: no time is left to tell.
        let fall: Vec<Event> =
            (51..70).map(|s| at(f64::from(s), 1.5 - 0.05 * f64::from(s - 51), 0)).collect();
        let out = judge(&rules, &[rising(0, 51, 1.0), fall].concat());
        assert_eq!((out.len(), out[1].value), (2, None), "{method} {}", out[1].reason);
        // Reached is reached, though it falls.
        let falling: Vec<Event> = (0..12).map(|s| at(f64::from(s), 2.3 - 0.01 * f64::from(s), 0)).collect();
        let out = judge(&rules, &falling);
        assert_eq!((out.len(), out[0].value), (1, Some(0.0)), "{method}");
    }
}

#[test]
fn noise_is_no_trend() {
    let noisy: Vec<Event> =
        (0..200).map(|s| at(f64::from(s), 1.5 + 0.1 * f64::from((s * 7919) % 5 - 2), 0)).collect();
    for method in ["linear", "holt"] {
        assert_eq!(
            shown(&judge(&rule(&format!("{FILLING}\nmethod = \"{method}\"")), &noisy)),
            [""; 0],
            "{method}"
        );
    }
}

#[test]
fn a_window_begins_anew_after_a_gap_a_fault_and_a_calibration() {
    let rules = rule(&format!("{FILLING}\nmin_covered = \"8s\""));
    let rules = rules.replace("blank = \"0s\"", "blank = \"5s\"");
    assert_eq!(shown(&judge(&rules, &rising(0, 20, 1.5))), ["forecast on 13"]);
    for status in [SENSOR_FAULT, CALIBRATION, PAUSED] {
        let parts = [rising(0, 10, 1.5), vec![at(10., 1.6, status)], rising(11, 40, 1.61)].concat();
        assert_eq!(shown(&judge_restored(&rules, &parts)), ["forecast on 24"], "{status}");
    }
    // What only says nothing leaves the window as it is.
    for status in [MISSING, OVER_RANGE] {
        let parts = [rising(0, 10, 1.5), vec![at(10., 1.6, status)], rising(11, 40, 1.61)].concat();
        assert_eq!(shown(&judge(&rules, &parts)), ["forecast on 13"], "{status}");
    }
    assert_eq!(
        shown(&judge(&rules, &[rising(0, 10, 1.5), rising(12, 40, 1.62)].concat())),
        ["forecast on 14"]
    );
    assert_eq!(
        shown(&judge(&rules, &[rising(0, 10, 1.5), rising(13, 40, 1.63)].concat())),
        ["forecast on 26"]
    );
    // It ends nothing.
    assert_eq!(
        shown(&judge(&rules, &[rising(0, 20, 1.5), vec![at(90., 0.1, 0), at(91., 0.1, 0)]].concat())),
        ["forecast on 13"]
    );
}

#[test]
fn new_limits_count_at_once_and_a_new_window_begins_anew() {
    let rules = rule(&format!("{FILLING}\nmin_covered = \"8s\""));
    let closer =
        judge_changed(&rules, &rising(0, 12, 1.0), 12., &rules.replace("2.0", "1.5"), &rising(13, 14, 1.13));
    assert_eq!(shown(&closer), ["forecast on 13"]);
    let other = rules.replace("2.0", "1.5").replace("16s", "32s").replace("blank = \"0s\"", "blank = \"5s\"");
    let longer = judge_changed(&rules, &rising(0, 12, 1.0), 12., &other, &rising(13, 30, 1.13));
    assert_eq!(shown(&longer), ["forecast on 26"]);
    let drill: Vec<Event> = (0..50).map(|s| at(f64::from(s), 1.0 + 0.01 * f64::from(s), SIMULATED)).collect();
    assert_eq!(shown(&judge(&rules, &drill)), ["forecast on 40 simulated"]);
}

/// A tank by its own limits; one that lies outside its range is refused, and nothing is forecast.
#[test]
fn the_limit_may_be_the_points_own() {
    let catalog = |limits: &str| {
        let mut problems = Problems::default();
        let sites = sites_from_csv("s", "site,name,kind,region\nM1,East,plant,320100\n", &mut problems);
        let head =
            "site,point,name,quantity,unit,low,high,place,period,alarm_on,cut_on,low_alarm_on,low_cut_on";
        let text = format!("{head}\nM1,T1,tank,level,m,0,12,,1s,{limits}\n");
        let points = points_from_csv("p", &text, &mut problems);
        assert!(problems.0.is_empty(), "{problems}");
        Arc::new(Catalog::build(sites, points, 1, &mut problems))
    };
    let rule = |limit: &str| {
        rule(&format!("limit = \"{limit}\"\nwindow = \"16s\"\nwithin = \"60s\"\nmin_covered = \"8s\""))
    };
    let cases = [
        ("alarm_on", ",,,", 0.1, 0),
        ("alarm_on", "10,,,", 0.1, 1),
        ("alarm_on", "12,,,", 0.1, 1),
        ("alarm_on", "12.1,,,", 0.1, 0),
        ("cut_on", ",10,,", 0.1, 1),
        ("low_alarm_on", ",,2,", -0.1, 1),
        ("low_cut_on", ",,,2", -0.1, 1),
        ("low_cut_on", ",,,0", -0.1, 0),
        ("low_cut_on", ",,,2", 0.1, 0),
        ("alarm_on", "10,,,", -0.1, 0),
    ];
    for (limit, limits, slope, expected) in cases {
        let catalog = catalog(limits);
        let file = RuleFile { name: "r.toml".into(), text: rule(limit) };
        let (program, problems) = Program::compile(&[file], &catalog);
        assert_eq!(problems.0.len(), usize::from(["12.1,,,", ",,,0"].contains(&limits)), "{problems}");
        let (mut e, mut out) = (Evaluator::new(program, catalog), Vec::new());
        for s in 0..40 {
            apply(&mut e, s, &at(s as f64, 6.0 + slope * s as f64, 0), &mut out);
        }
        assert_eq!(out.len(), expected, "{limit} {limits} {slope}");
        assert!(out.iter().all(|t| t.value > Some(0.0)), "{limit} {limits} {slope}: it is not reached yet");
    }
}
