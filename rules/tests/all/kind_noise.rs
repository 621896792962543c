//! `noise` against a model that keeps every reading and counts in whole numbers.

use crate::agree::*;
use crate::stand::*;
use model::status::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
struct Setting {
    /// Seconds a bucket.
    width: i64,
    floor: i64,
    min_readings: usize,
    gap: i64,
    on: i64,
    off: i64,
}

impl Setting {
    fn rules(&self) -> String {
        let Setting { width, floor, min_readings, gap, on, off } = self;
        let (window, floor) = (16 * width, *floor as f64 / 100.0);
        format!(
            "[[rule]]\nname = \"m\"\nkind = \"noise\"\nselect = {{ point = \"T1\" }}\nwindow = \"{window}s\"\nfloor = {floor}\nmin_readings = {min_readings}\n\
             gap = \"{gap}s\"\non = \">= {on}\"\noff = \"< {off}\"\n"
        )
    }

    fn say(&self, good: &[Row]) -> Say {
        let now = good[good.len() - 1].time;
        // Twice the distance of the middle from the line, at the time of the last of three, by age in buckets.
        let three = good
            .windows(3)
            .filter(|w| w[1].time - w[0].time <= self.gap && w[2].time - w[1].time <= self.gap);
        let noise: Vec<(i64, i64)> = three
            .map(|w| {
                let age = now.div_euclid(self.width) - w[2].time.div_euclid(self.width);
                (age, (2 * w[1].value - w[0].value - w[2].value).abs())
            })
            .collect();
        let part = |ages: std::ops::Range<i64>| -> Vec<i64> {
            noise.iter().filter(|(age, _)| ages.contains(age)).map(|n| n.1).collect()
        };
        let (new, rest) = (part(0..4), part(4..16));
        if new.len() < self.min_readings || rest.len() < self.min_readings {
            return Say::Hold;
        }
        // new / n over the greater of rest / m and the floor, against a limit, without a division.
        let (sum, n) = (new.iter().sum::<i64>(), new.len() as i64);
        let (before, m) = (rest.iter().sum::<i64>(), rest.len() as i64);
        let against = |limit: i64| (sum * m).cmp(&(limit * n * before.max(2 * self.floor * m)));
        match () {
            _ if against(self.on).is_ge() => Say::Over,
            _ if against(self.off).is_lt() => Say::Below,
            _ => Say::Band,
        }
    }
}

fn setting() -> impl Strategy<Value = Setting> {
    (1i64..3, 1i64..4, 1usize..5, 1i64..5, 2i64..4, 1i64..3).prop_map(
        |(width, floor, min_readings, gap, on, off)| Setting {
            width,
            floor,
            min_readings,
            gap,
            on,
            off: off.min(on),
        },
    )
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn the_model_agrees(s in setting(), rows in series(&[50, 50, 51, 52, 53, 60]), cuts in cuts()) {
        agree(&s.rules(), &rows, &cuts, &[("noise", changes_of_good(&rows, |good| s.say(good)))])?;
    }
}

const NOISE: &str = "[[rule]]\nname = \"n\"\nkind = \"noise\"\nselect = { point = \"T1\" }\nwindow = \"32s\"\nfloor = 0.01\nmin_readings = 4\non = \">= 3\"\noff = \"< 2\"\n";

fn shaky(from: i32, to: i32, by: f64) -> Vec<Event> {
    (from..to).map(|s| at(f64::from(s), 0.5 + by * f64::from(s % 2), 0)).collect()
}

#[test]
fn noise_that_grows_is_told_and_a_rise_is_none() {
    let out = judge_restored(NOISE, &[shaky(0, 40, 0.01), shaky(40, 60, 0.05)].concat());
    assert_eq!(shown(&out)[0], "noise on 44", "{:?} {}", shown(&out), out[0].reason);
    assert_eq!(out[0].to, model::To::On);
    // It stays as noisy: in the end that is what it was.
    assert_eq!(
        judge(NOISE, &[shaky(0, 40, 0.01), shaky(40, 99, 0.05)].concat()).last().unwrap().to,
        model::To::Off
    );
    // Quieter than the floor there is nothing to speak of; a rise at any speed is no noise.
    assert_eq!(shown(&judge(NOISE, &[shaky(0, 40, 0.0), shaky(40, 80, 0.02)].concat())), [""; 0]);
    let rise: Vec<Event> = (40..60).map(|s| at(f64::from(s), 0.5 + 0.05 * f64::from(s - 40), 0)).collect();
    assert_eq!(shown(&judge(NOISE, &[shaky(0, 40, 0.01), rise].concat())), [""; 0]);
}

#[test]
fn a_gap_and_what_is_not_good_make_no_noise_and_end_none() {
    let on = [shaky(0, 40, 0.01), shaky(40, 46, 0.05)].concat();
    for status in [SENSOR_FAULT, CALIBRATION, MISSING, OVER_RANGE, STALE, HISTORICAL] {
        let odd: Vec<Event> = (46..99).map(|s| at(f64::from(s), 0.5, status)).collect();
        assert_eq!(turns(&judge(NOISE, &[&on[..], &odd].concat())).len(), 1, "{status}");
    }
    // Steps across gaps are no noise.
    let gaps: Vec<Event> = (11..30).map(|s| at(4.0 * f64::from(s), f64::from(s % 2), 0)).collect();
    assert_eq!(shown(&judge(NOISE, &[shaky(0, 40, 0.01), gaps].concat())), [""; 0]);
    let drill: Vec<Event> = (40..60).map(|s| at(f64::from(s), f64::from(s % 2), SIMULATED)).collect();
    assert_eq!(shown(&judge(NOISE, &[shaky(0, 40, 0.01), drill].concat())), [""; 0]);
}

#[test]
fn a_window_that_was_changed_begins_anew() {
    let other = NOISE.replace("32s", "64s");
    let out = judge_changed(NOISE, &shaky(0, 40, 0.01), 40., &other, &shaky(41, 60, 0.5));
    assert_eq!(shown(&out), [""; 0]);
    // Neighbours are found anew too: noise begins with the third reading, and two of it are old at 60 s.
    let two = other.replace("min_readings = 4", "min_readings = 2");
    let after = [shaky(41, 50, 0.01), shaky(50, 70, 0.5)].concat();
    assert_eq!(shown(&judge_changed(NOISE, &shaky(0, 40, 0.01), 40., &two, &after))[0], "noise on 60");
    let limit = NOISE.replace(">= 3", ">= 2");
    let out = judge_changed(
        NOISE,
        &[shaky(0, 40, 0.01), shaky(40, 42, 0.05)].concat(),
        42.,
        &limit,
        &shaky(42, 44, 0.05),
    );
    assert_eq!(shown(&out), ["noise on 43"]);
}
