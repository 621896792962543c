//! `clock` against a model that keeps every reading.

use crate::agree::*;
use crate::stand::*;
use model::record::run_flags::REPLAY;
use model::status::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
struct Setting {
    drift: bool,
    /// Seconds a bucket.
    width: i64,
    min_readings: usize,
    behind: i64,
    ahead: i64,
}

impl Setting {
    fn rules(&self) -> String {
        let Setting { width, min_readings, behind, ahead, .. } = self;
        let measure = if self.drift { "drift" } else { "offset" };
        format!(
            "[[rule]]\nname = \"m\"\nkind = \"clock\"\nselect = {{ point = \"T1\" }}\nmeasure = \"{measure}\"\nwindow = \"{}s\"\nmin_readings = {min_readings}\n\
             level = [{{ name = \"behind\", on = \">= {behind}\", off = \"< {}\" }}, {{ name = \"ahead\", on = \"<= {ahead}\" }}]\n",
            16 * width,
            behind - 1
        )
    }

    fn say(&self, good: &[Row], behind: bool) -> Say {
        let now = good[good.len() - 1].time.div_euclid(self.width);
        let lags = |ages: std::ops::Range<i64>| -> Vec<i64> {
            let inside = good.iter().filter(|r| ages.contains(&(now - r.time.div_euclid(self.width))));
            inside.map(|r| r.appended - r.time).collect()
        };
        let least = |lags: &[i64]| (lags.len() >= self.min_readings).then(|| *lags.iter().min().unwrap());
        let measured = match self.drift {
            false => least(&lags(0..16)),
            true => least(&lags(0..4)).zip(least(&lags(12..16))).map(|(new, old)| new - old),
        };
        match measured {
            None => Say::Hold,
            Some(lag) if behind && lag >= self.behind => Say::Over,
            Some(lag) if behind && lag < self.behind - 1 => Say::Below,
            Some(_) if behind => Say::Band,
            Some(lag) if lag <= self.ahead => Say::Over,
            Some(_) => Say::Below,
        }
    }
}

fn setting() -> impl Strategy<Value = Setting> {
    (any::<bool>(), 1i64..3, 1usize..5, 1i64..4, -2i64..1).prop_map(
        |(drift, width, min_readings, behind, ahead)| Setting { drift, width, min_readings, behind, ahead },
    )
}

/// A series whose readings come with a lag that moves; a record is never appended before the one before it.
fn lagging() -> impl Strategy<Value = Vec<Row>> {
    let lags = prop::collection::vec(-3i64..7, 1..12);
    (series(&[50]), lags, 1usize..20, any::<bool>()).prop_map(|(mut rows, lags, len, jitter)| {
        let mut appended = 0;
        for (i, row) in rows.iter_mut().enumerate() {
            let more = if jitter { i as i64 % 3 } else { 0 };
            if !is_late(row) {
                appended = appended.max(row.time + lags[i / len % lags.len()] + more);
            }
            row.appended = appended;
        }
        rows
    })
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn the_model_agrees(s in setting(), rows in lagging(), cuts in cuts()) {
        let level = |behind| changes_of_good(&rows, |good| s.say(good, behind));
        agree(&s.rules(), &rows, &cuts, &[("behind", level(true)), ("ahead", level(false))])?;
    }
}

fn rule(keys: &str) -> String {
    format!(
        "[[rule]]\nname = \"c\"\nkind = \"clock\"\nselect = {{ point = \"T1\" }}\nwindow = \"16s\"\nmin_readings = 2\n{keys}\n"
    )
}

/// Readings every second that come `lag` seconds after their own time.
fn lagged(from: i32, to: i32, lag: impl Fn(i32) -> f64, status: i32, flags: u8) -> Vec<Event> {
    let t = |s: f64| START + (s * 1e6) as i64;
    let one =
        |s: i32| Event::Rows(t(f64::from(s) + lag(s)), flags, vec![("T1", t(f64::from(s)), 0.5, status)]);
    (from..to).map(one).collect()
}

#[test]
fn a_clock_that_loses_time_is_told_and_a_link_that_stutters_is_none() {
    let drift = rule("measure = \"drift\"\non = \">= 1\"");
    // A tenth of a second each second: twelve seconds make more than a second.
    let out = judge_restored(&drift, &lagged(0, 30, |s| 5.0 + 0.1 * f64::from(s), 0, 0));
    assert_eq!(shown(&out)[..1], ["clock on 13"], "{:?} {}", shown(&out), out[0].reason);
    // One reading in four comes at once, the others late.
    assert_eq!(shown(&judge(&drift, &lagged(0, 60, |s| if s % 2 == 0 { 1.0 } else { 1.9 }, 0, 0))), [""; 0]);
    let offset = rule("measure = \"offset\"\non = \"<= -30\"");
    assert_eq!(shown(&judge(&offset, &lagged(0, 9, |_| -30.0, 0, 0))), ["clock on 1"]);
    assert_eq!(shown(&judge(&offset, &lagged(0, 9, |_| -29.9, 0, 0))), [""; 0]);
    // It was set right: so once nothing wrong is in the window any more.
    let out = judge(&offset, &[lagged(0, 9, |_| -30.0, 0, 0), lagged(9, 40, |_| 0.5, 0, 0)].concat());
    assert_eq!(shown(&out), ["clock on 1", "clock off 24"]);
}

#[test]
fn what_tells_no_time_says_nothing() {
    let offset = rule("measure = \"offset\"\non = \">= 5\"");
    for status in [FUTURE, NO_DEVICE_TIME, SENSOR_FAULT, MISSING, CALIBRATION, OVER_RANGE, STALE, HISTORICAL]
    {
        assert_eq!(shown(&judge(&offset, &lagged(0, 9, |_| 60.0, status, 0))), [""; 0], "{status}");
    }
    assert_eq!(shown(&judge(&offset, &lagged(0, 9, |_| 60.0, 0, REPLAY))), [""; 0]);
    assert_eq!(shown(&judge(&offset, &lagged(0, 9, |_| 121.0, 0, 0))), [""; 0]);
    assert_eq!(shown(&judge(&offset, &lagged(0, 9, |_| 60.0, SIMULATED, 0))), ["clock on 1 simulated"]);
    // A reading from the future is judged at its receive time: that it has no lag says nothing.
    let none = rule("measure = \"offset\"\non = \"<= 0\"");
    assert_eq!(shown(&judge(&none, &lagged(0, 9, |_| -600.0, FUTURE, 0))), [""; 0]);
    assert_eq!(shown(&judge(&none, &lagged(0, 9, |_| 0.0, 0, REPLAY))), [""; 0]);
    let other = offset.replace("16s", "160s").replace("min_readings = 2", "min_readings = 4");
    let out = judge_changed(&offset, &lagged(0, 3, |_| 1.0, 0, 0), 4., &other, &lagged(5, 12, |_| 6.0, 0, 0));
    assert_eq!(shown(&out), ["clock on 8"]);
}
