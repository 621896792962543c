//! What a point shows now: the ordinary day, and on it the scenario. Times here are seconds of the world.

use super::mine::FACE_LABELS;
use super::noise::{between, ease, mix, resolve, sensor, smooth};
use super::plant::LEVEL_HIGH;
use super::{Sample, Signal, SimPoint, SimSite, SinceStart};
use crate::plan::Scenario;
use model::status;
use std::f64::consts::TAU;
use std::ops::Range;

/// How far a wrong clock is ahead: beyond the five minutes from which on a reading counts as of the future.
pub(super) const CLOCK_AHEAD: SinceStart = 7 * 60 * 1_000_000;
/// When the link is down.
pub(super) const LINK_DOWN: Range<f64> = 15.0..45.0;

/// Start of the first surge and time between two.
const SURGE: (f64, f64) = (4.0, 180.0);
/// The rise: start, %/s, top, and how long the top is held.
const RISE_FROM: f64 = 10.0;
const RISE_PER_S: f64 = 0.1 / 60.0;
const RISE_S: f64 = 480.0;
const RISE_HOLD_S: f64 = 120.0;
const FAULT: Range<f64> = 15.0..60.0;
const SPIKE_S: f64 = 20.0;
const SPIKE_TOP: f64 = 3.2;
const CALIBRATING: Range<f64> = 10.0..100.0;
const TEST_GAS: f64 = 2.0;
/// Seconds of one swing of the chattering sensor, and its swing about the limit.
const CHATTER_S: f64 = 8.0;
const CHATTER: f64 = 0.04;
const DAY_S: f64 = 86_400.0;

/// The mine's own system looks at its sensors this often, seconds.
const STEP: f64 = 0.5;
/// So far back it may have to look for the start of a cut, in steps: the longest time over the restore limit.
const STEPS_MAX: usize = 1600;
/// Power comes back this long after the last cut has gone, seconds.
const RESTORE_AFTER: f64 = 10.0;

/// A site at a time.
#[derive(Clone, Copy)]
pub(super) struct Now<'a> {
    pub site: &'a SimSite,
    pub scenario: Scenario,
    pub t: f64,
}

impl Now<'_> {
    fn back(&self, by: f64) -> Self {
        Self { t: self.t - by, ..*self }
    }

    /// What the point shows.
    pub fn sample(&self, p: &SimPoint) -> Sample {
        if self.scenario == Scenario::SensorFault && is_face_t1(p) && FAULT.contains(&self.t) {
            return Sample { value: None, status: status::SENSOR_FAULT };
        }
        let value = self.value(p);
        let mut bits = 0;
        if p.limits.alarm.is_some_and(|on| value >= on) || p.limits.low.is_some_and(|on| value <= on) {
            bits |= status::ALARM;
        }
        if self.calibrating(p) {
            bits |= status::CALIBRATION;
        } else if self.cut(p) {
            bits |= status::CUT;
        }
        Sample { value: Some(value), status: bits }
    }

    fn calibrating(&self, p: &SimPoint) -> bool {
        self.scenario == Scenario::Calibration && is_face_t1(p) && CALIBRATING.contains(&self.t)
    }

    /// Whether the mine's own system has cut on this point: on at the cut limit, off below the alarm limit.
    fn cut(&self, p: &SimPoint) -> bool {
        let (Some(on), Some(off)) = (p.limits.cut, p.limits.alarm) else { return false };
        for step in 0..STEPS_MAX {
            let then = self.back(step as f64 * STEP);
            let value = then.value(p);
            if value < off || then.t < 0.0 || then.calibrating(p) {
                return false;
            }
            if value >= on {
                return true;
            }
        }
        false
    }

    /// Since when the power of the face is off; `None` while it is on.
    pub fn power_off_since(&self) -> Option<f64> {
        // In all other scenarios no face sensor reaches its cut limit.
        if !matches!(self.scenario, Scenario::Surge | Scenario::SensorFault) {
            return None;
        }
        let face: Vec<&SimPoint> = self.site.points.iter().filter(|p| is_face_methane(p)).collect();
        let restore_steps = (RESTORE_AFTER / STEP) as usize;
        // Back to where nothing can have been cut, then forward with the latches.
        let (mut steps, mut calm) = (0, 0);
        while steps < STEPS_MAX && calm <= restore_steps && self.t - steps as f64 * STEP >= 0.0 {
            let then = self.back(steps as f64 * STEP);
            let under = face.iter().all(|p| p.limits.alarm.is_some_and(|off| then.value(p) < off));
            calm = if under { calm + 1 } else { 0 };
            steps += 1;
        }
        let mut on = vec![false; face.len()];
        let (mut since, mut last) = (None, f64::MIN);
        for step in (0..steps).rev() {
            let then = self.back(step as f64 * STEP);
            for (on, p) in on.iter_mut().zip(&face) {
                let value = then.value(p);
                *on = p.limits.cut.is_some_and(|cut| value >= cut)
                    || *on && p.limits.alarm.is_some_and(|off| value >= off);
            }
            if on.contains(&true) {
                since.get_or_insert(then.t);
                last = then.t;
            } else if then.t - last >= RESTORE_AFTER {
                since = None;
            }
        }
        since
    }

    /// The number the sensor shows.
    fn value(&self, p: &SimPoint) -> f64 {
        let t = self.t;
        let raw = match p.signal {
            Signal::Methane { base, swing } => self.methane(p, base, swing),
            Signal::Plain { base, swing } => base + swing * sensor(p.seed, t) + 0.3 * swing * day(p.seed, t),
            Signal::FaceWind => {
                let more = if self.power_off_since().is_some() { 0.5 } else { 0.0 };
                between(p.seed, 5, 1.6, 2.1) + more + 0.15 * sensor(p.seed, t)
            }
            Signal::FaceFeed => f64::from(self.power_off_since().is_none()),
            Signal::Shearer => f64::from(self.producing() > 0.5 && self.power_off_since().is_none()),
            Signal::Door => f64::from(smooth(p.seed, t, 25.0) > 0.6),
            Signal::Constant(v) => v,
            Signal::Level(tank) => self.level(tank) + 0.004 * sensor(p.seed, t),
            Signal::TankTemperature => {
                between(p.seed, 5, 17.0, 23.0) + 3.0 * day(p.seed, t) + 0.2 * sensor(p.seed, t)
            }
            Signal::TankPressure(tank) => {
                between(p.seed, 5, 1.6, 2.4) + 0.12 * self.level(tank) + 0.05 * sensor(p.seed, t)
            }
            Signal::TankGas(tank) => 1.2 + sensor(p.seed, t) + 36.0 * self.vapour(tank),
            Signal::Pump(tank) => f64::from(self.filling(tank)),
            Signal::LevelSwitch(tank) => f64::from(self.level(tank) >= LEVEL_HIGH),
        };
        let (low, high) = p.range.unwrap_or((0.0, 1.0));
        resolve(raw.clamp(low, high), 10f64.powi(i32::from(p.decimals)))
    }

    /// 0 to 1: how much the shearer cuts; some 40 minutes with a pause at the end of each.
    fn producing(&self) -> f64 {
        let cycle = between(self.site.seed, 61, 1800.0, 3000.0);
        let at = (self.t + cycle * between(self.site.seed, 62, 0.1, 0.5)).rem_euclid(cycle) / cycle;
        ease(at / 0.03) * (1.0 - ease((at - 0.65) / 0.04))
    }

    fn methane(&self, p: &SimPoint, base: f64, swing: f64) -> f64 {
        let t = self.t;
        let quiet =
            base + swing * (0.05 * day(p.seed, t) + 0.10 * self.producing() + 0.04 * sensor(p.seed, t));
        if p.labels != FACE_LABELS {
            return quiet;
        }
        match (self.scenario, p.place) {
            (Scenario::Surge, place) => quiet + surge(place, t, quiet),
            (Scenario::SlowRise, "T1") => quiet + slow_rise(t),
            (Scenario::SensorFault, "T1") if (FAULT.end..FAULT.end + SPIKE_S).contains(&t) => {
                quiet + (SPIKE_TOP - quiet) * (1.0 - ease((t - FAULT.end) / SPIKE_S))
            }
            (Scenario::Calibration, "T1") if CALIBRATING.contains(&t) => test_gas(t, quiet),
            (Scenario::Chattering, "T1") => {
                1.0 + if t.rem_euclid(CHATTER_S) < CHATTER_S / 2.0 { CHATTER } else { -CHATTER }
            }
            _ => quiet,
        }
    }

    fn level(&self, tank: usize) -> f64 {
        let usual = usual_level(self.site.seed, tank, self.t).0;
        if self.scenario != Scenario::TankOverfill || tank != 0 {
            return usual;
        }
        let t = self.t;
        let over = 9.9 + 0.05 * (t - 5.0).clamp(0.0, 32.0) - 0.04 * (t - 60.0).clamp(0.0, 140.0);
        // Afterwards it slowly joins the others' rhythm again.
        let join = ease((t - 200.0) / 600.0);
        over * (1.0 - join) + usual * join
    }

    fn filling(&self, tank: usize) -> bool {
        if self.scenario == Scenario::TankOverfill && tank == 0 && self.t < 500.0 {
            return (5.0..37.0).contains(&self.t);
        }
        usual_level(self.site.seed, tank, self.t).1
    }

    /// 0 to 1: vapour about an overfilled tank.
    fn vapour(&self, tank: usize) -> f64 {
        if self.scenario != Scenario::TankOverfill || tank != 0 {
            return 0.0;
        }
        ease((self.t - 25.0) / 12.0) * (1.0 - ease((self.t - 65.0) / 30.0))
    }
}

fn day(seed: u64, t: f64) -> f64 {
    (TAU * (t / DAY_S + between(seed, 63, 0.0, 1.0))).sin()
}

fn is_face_methane(p: &SimPoint) -> bool {
    p.quantity == "ch4" && p.labels == FACE_LABELS
}

fn is_face_t1(p: &SimPoint) -> bool {
    is_face_methane(p) && p.place == "T1"
}

/// What a surge adds. The return corner lets go last: its alarm is still open when the face's is closed again.
fn surge(place: &str, t: f64, quiet: f64) -> f64 {
    let (top, delay, rise, hold, fade) = match place {
        "T0" => (1.95, 0.0, 6.0, 4.0, 40.0),
        "T1" => (1.80, 0.0, 7.0, 2.0, 5.0),
        "T2" => (1.35, 2.5, 8.0, 1.0, 6.0),
        _ => return 0.0,
    };
    if t < SURGE.0 {
        return 0.0;
    }
    let x = (t - SURGE.0).rem_euclid(SURGE.1) - delay;
    let shape = if x < rise + hold { ease(x / rise) } else { (-(x - rise - hold) / fade).exp() };
    (top - quiet) * shape
}

fn slow_rise(t: f64) -> f64 {
    let up = RISE_PER_S * (t - RISE_FROM).clamp(0.0, RISE_S);
    up * (1.0 - ease((t - RISE_FROM - RISE_S - RISE_HOLD_S) / 180.0))
}

/// The gas of a calibration: first none, then the test gas, then air again.
fn test_gas(t: f64, quiet: f64) -> f64 {
    let x = t - CALIBRATING.start;
    let zero = ease(x / 10.0);
    let span = ease((x - 25.0) / 8.0) * (1.0 - ease((x - 65.0) / 10.0));
    let back = ease((x - 78.0) / 10.0);
    quiet * (1.0 - zero) + TEST_GAS * span + quiet * back
}

/// Level in metres and whether it is being filled, of a tank on an ordinary day.
fn usual_level(seed: u64, tank: usize, t: f64) -> (f64, bool) {
    let own = mix(seed, 700 + tank as u64);
    let cycle = between(own, 1, 1800.0, 5400.0);
    let (low, high) = (between(own, 2, 2.0, 3.5), between(own, 3, 6.5, 9.0));
    let fill = between(own, 4, 0.3, 0.5);
    let at = (t / cycle + between(own, 5, 0.0, 1.0)).rem_euclid(1.0);
    let share = if at < fill { at / fill } else { 1.0 - (at - fill) / (1.0 - fill) };
    (low + (high - low) * ease(share), at < fill)
}
