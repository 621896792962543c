//! `window` against a model that keeps every reading: statistics over the readings of a span of time, in whole numbers.

use crate::agree::*;
use crate::stand::*;
use model::status::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
struct Setting {
    stat: &'static str,
    tumbling: bool,
    /// Seconds.
    window: i64,
    buckets: i64,
    min_readings: i64,
    min_covered: i64,
    gap: i64,
    on: i64,
    off: i64,
}

const UP: &[i64] = &[20, 30, 40, 50, 60];

impl Setting {
    fn rules(&self) -> String {
        let Setting { stat, window, buckets, min_readings, min_covered, gap, .. } = self;
        let mut text = format!(
            "[[rule]]\nname = \"m\"\nkind = \"window\"\nselect = {{ point = \"T1\" }}\nstat = \"{stat}\"\nwindow = \"{window}s\"\ngap = \"{gap}s\"\n"
        );
        text +=
            &if self.tumbling { "tumbling = true\n".to_owned() } else { format!("buckets = {buckets}\n") };
        if *stat != "count" {
            text += &format!("min_readings = {min_readings}\nmin_covered = \"{min_covered}s\"\n");
        }
        let scale = if *stat == "count" { 1.0 } else { 100.0 };
        let (on, off) = (self.on as f64 / scale, self.off as f64 / scale);
        text + &format!(
            "level = [{{ name = \"up\", on = \">= {on}\", off = \"< {off}\" }}, {{ name = \"down\", on = \"< {off}\", off = \">= {on}\" }}]\n"
        )
    }

    /// How the statistic of these readings stands to a limit: its sign, without a division.
    fn compare(&self, values: &[i64], now: i64, limit: i64) -> std::cmp::Ordering {
        let (n, sum) = (values.len() as i64, values.iter().sum::<i64>());
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        match self.stat {
            "min" => sorted[0].cmp(&limit),
            "max" => sorted[sorted.len() - 1].cmp(&limit),
            "mean" => sum.cmp(&(limit * n)),
            "count" => n.cmp(&limit),
            "range" => (sorted[sorted.len() - 1] - sorted[0]).cmp(&limit),
            // The smallest value with at least 95 % of the readings at or below it.
            "p95" => sorted[(95 * sorted.len()).div_ceil(100) - 1].cmp(&limit),
            "rise" => (now - sorted[0]).cmp(&limit),
            _ => (now * n - sum).cmp(&(limit * n)),
        }
    }

    fn say(&self, good: &[Row], up: bool) -> Say {
        let now = good[good.len() - 1];
        // Readings lie on whole seconds counted from the start, which is a multiple of every width used here.
        let width = if self.tumbling { self.window } else { self.window / self.buckets };
        let place = |r: &Row| r.time.div_euclid(width);
        let (oldest, newest) = match self.tumbling {
            true => (place(&now) - 1, place(&now) - 1),
            false => (place(&now) - self.buckets + 1, place(&now)),
        };
        let before = &good[..good.len() - 1];
        if self.tumbling && before.last().is_some_and(|r| place(r) == place(&now)) {
            return Say::Hold; // judged by the first after it
        }
        let all = if self.tumbling || self.stat == "deviation" { before } else { good };
        let inside = |i: &usize| (oldest..=newest).contains(&place(&all[*i]));
        let inside: Vec<usize> = (0..all.len()).filter(inside).collect();
        let values: Vec<i64> = inside.iter().map(|i| all[*i].value).collect();
        let step = |i: &usize| if *i == 0 { i64::MAX } else { all[*i].time - all[*i - 1].time };
        let covered: i64 = inside.iter().map(step).filter(|step| *step <= self.gap).sum();
        let known = match self.stat {
            "count" => good.len() > 1 && good[0].time <= oldest * width,
            _ => values.len() as i64 >= self.min_readings && covered >= self.min_covered,
        };
        if !known {
            return Say::Hold;
        }
        let (over, below) = (
            self.compare(&values, now.value, self.on).is_ge(),
            self.compare(&values, now.value, self.off).is_lt(),
        );
        match (over, below) {
            (true, _) => {
                if up {
                    Say::Over
                } else {
                    Say::Below
                }
            }
            (_, true) => {
                if up {
                    Say::Below
                } else {
                    Say::Over
                }
            }
            _ => Say::Band,
        }
    }
}

fn setting() -> impl Strategy<Value = Setting> {
    let stat =
        prop::sample::select(&["min", "max", "mean", "p95", "count", "range", "deviation", "rise"][..]);
    let shape = prop::sample::select(&[(4i64, 2i64), (8, 4), (20, 4), (100, 5)][..]);
    (stat, shape, any::<bool>(), 1i64..5, 1i64..9, 1i64..5, 0i64..2).prop_map(
        |(stat, (window, buckets), tumbling, min_readings, min_covered, gap, strict)| {
            let (on, off) = match stat {
                "count" => (window / 2 + 1, window / 2 + 1 - strict),
                "deviation" => (10, 10 - 20 * strict),
                "range" | "rise" => (20, 20 - 10 * strict),
                _ => (50, 50 - 10 * strict),
            };
            let tumbling = tumbling && !matches!(stat, "deviation" | "rise");
            let most = if tumbling { window } else { window - window / buckets };
            Setting {
                stat,
                tumbling,
                window,
                buckets,
                min_readings,
                min_covered: min_covered.min(most),
                gap,
                on,
                off,
            }
        },
    )
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn the_model_agrees(s in setting(), rows in series(UP), cuts in cuts()) {
        let expected = [
            ("up", changes_of_good(&rows, |good| s.say(good, true))),
            ("down", changes_of_good(&rows, |good| s.say(good, false))),
        ];
        agree(&s.rules(), &rows, &cuts, &expected)?;
    }
}

fn rule(keys: &str) -> String {
    format!("[[rule]]\nname = \"w\"\nkind = \"window\"\nselect = {{ point = \"T1\" }}\n{keys}\n")
}

fn flat(from: i32, to: i32, value: f64) -> Vec<Event> {
    (from..to).map(|s| at(f64::from(s), value, 0)).collect()
}

/// Exactly one in twenty over is not yet more than one in twenty.
#[test]
fn the_95th_percentile_is_exact() {
    let rules =
        rule("stat = \"p95\"\nwindow = \"160s\"\nmin_readings = 20\nmin_covered = \"19s\"\non = \">= 1.0\"");
    let over = |at_seconds: &[i32], n: i32| -> Vec<Event> {
        (0..n).map(|s| at(f64::from(s), if at_seconds.contains(&s) { 1.0 } else { 0.5 }, 0)).collect()
    };
    assert_eq!(shown(&judge(&rules, &over(&[3], 20))), [""; 0]);
    assert_eq!(shown(&judge(&rules, &over(&[3, 19], 20))), ["window on 19"]);
    assert_eq!(shown(&judge(&rules, &over(&[3, 7], 40))), ["window on 19", "window off 39"]);
    // A falling one: 95 % at or below the limit.
    let falling = rules.replace(">= 1.0", "<= 0.5");
    assert_eq!(shown(&judge(&falling, &over(&[3], 20))), ["window on 19"]);
    assert_eq!(shown(&judge(&falling, &over(&[3, 7], 20))), [""; 0]);
}

#[test]
fn a_tumbling_window_is_judged_once_by_what_comes_next() {
    let rules = rule("stat = \"mean\"\nwindow = \"10s\"\ntumbling = true\non = \">= 0.8\"");
    // 0.7 and 0.9 in turn are 0.8, whatever their floats say.
    let events: Vec<Event> =
        (0..12).map(|s| at(f64::from(s), if s % 2 == 0 { 0.7 } else { 0.9 }, 0)).collect();
    assert_eq!(shown(&judge(&rules, &events)), ["window on 10"]);
    // A window later it says nothing any more: what lies between is unknown.
    assert_eq!(shown(&judge(&rules, &[&events[..10], &[at(19.9, 0.1, 0)]].concat())), ["window on 19.9"]);
    assert_eq!(shown(&judge(&rules, &[&events[..10], &[at(20., 0.1, 0)]].concat())), [""; 0]);
}

#[test]
fn a_reading_against_its_moving_average() {
    let rules = rule("stat = \"deviation\"\nwindow = \"16s\"\non = \">= 0.1\"\noff = \"< 0.05\"");
    let events = [&flat(0, 12, 0.2)[..], &[at(12., 0.3, 0), at(13., 0.2, 0)]].concat();
    assert_eq!(shown(&judge(&rules, &events)), ["window on 12", "window off 13"]);
}

#[test]
fn a_number_of_readings_counts_once_the_whole_window_is_known() {
    let rules = rule("stat = \"count\"\nwindow = \"16s\"\non = \"< 8\"");
    assert_eq!(shown(&judge(&rules, &flat(0, 40, 0.2))), [""; 0]);
    // Half as many: known to be few once 16 seconds are over.
    let few: Vec<Event> = (0..16).map(|s| at(f64::from(3 * s), 0.2, 0)).collect();
    assert_eq!(shown(&judge(&rules, &few)), ["window on 15"]);
}

#[test]
fn what_says_nothing_clears_nothing_and_is_not_in_the_window() {
    let rules = rule("stat = \"max\"\nwindow = \"16s\"\nmin_covered = \"4s\"\non = \">= 1.0\"");
    let over = flat(0, 6, 1.2);
    let odd = [SENSOR_FAULT, PAUSED, CALIBRATION, OVER_RANGE, MISSING];
    let odd: Vec<Event> = (6..60).map(|s| at(f64::from(s), 0.1, odd[s as usize % 5])).collect();
    // Good again: nothing is said before enough is known.
    let out = judge_restored(&rules, &[&over[..], &odd, &flat(60, 70, 0.1)].concat());
    assert_eq!(turns(&out), ["window on 4", "window off 64"]);
    let drill: Vec<Event> = (0..6).map(|s| at(f64::from(s), 1.2, SIMULATED)).collect();
    assert_eq!(shown(&judge(&rules, &drill)), ["window on 4 simulated"]);
}

/// New limits count from the next reading; a window of another length begins anew and ends nothing before enough is known.
#[test]
fn a_rule_that_changes_keeps_its_window_where_it_can() {
    let rules = rule("stat = \"mean\"\nwindow = \"16s\"\nmin_covered = \"4s\"\non = \">= 1.0\"");
    let limit =
        judge_changed(&rules, &flat(0, 8, 0.9), 8., &rules.replace(">= 1.0", ">= 0.9"), &flat(9, 10, 0.9));
    assert_eq!(shown(&limit), ["window on 9"]);
    let other = rules.replace("16s", "32s").replace(">= 1.0", ">= 2.0");
    let length = judge_changed(&rules, &flat(0, 8, 1.9), 8., &other, &flat(9, 20, 1.9));
    assert_eq!(shown(&length), ["window on 4", "window off 13"]);
    // What a percentile counted was counted for its limits.
    let p95 = rules.replace("mean", "p95");
    let counted =
        judge_changed(&p95, &flat(0, 8, 0.9), 8., &p95.replace(">= 1.0", ">= 0.9"), &flat(9, 20, 0.9));
    assert_eq!(shown(&counted), ["window on 13"]);
}
