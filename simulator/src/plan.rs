//! What is simulated: how many mines and plants, how often they report, which scenario the first of them goes through.

use anyhow::bail;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Most sites of one plan: each has connections and tasks of its own.
const SITES_MAX: usize = 200;
/// Shortest period of a device.
const PERIOD_MIN: Duration = Duration::from_millis(10);
/// Fastest world.
const RATE_MAX: f64 = 10_000.0;

/// Seed, sizes and scenario. Two plans that are equal make worlds that are equal.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// Decides every value that is not decided by the scenario.
    pub seed: u64,
    /// Mines. The first goes through the scenario where it is one of a mine.
    pub mines: usize,
    /// Of the mines, how many report by national files; the last ones.
    pub file_mines: usize,
    /// Tank farms of four tanks each. The first goes through the scenario where it is one of a plant.
    pub plants: usize,
    /// How often each point is read and sent.
    pub period: Duration,
    /// How often a mine that reports by files drops one; whole seconds, as the file names count in them.
    pub file_period: Duration,
    /// What happens.
    pub scenario: Scenario,
    /// World seconds per second of the clock: 60 lets an hour of the world pass in a minute. Times on readings stay
    /// those of the clock.
    pub rate: f64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 1,
            mines: 3,
            file_mines: 0,
            plants: 1,
            period: Duration::from_secs(1),
            file_period: Duration::from_secs(10),
            scenario: Scenario::Surge,
            rate: 1.0,
        }
    }
}

impl Plan {
    /// Whether it can be run.
    ///
    /// # Errors
    /// A sentence that says what to change.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.mines + self.plants == 0 || self.mines + self.plants > SITES_MAX {
            bail!("{} mines and {} plants: write 1 to {SITES_MAX} sites in all", self.mines, self.plants);
        }
        if self.file_mines > self.mines {
            bail!(
                "{} of {} mines report by files: write at most {}",
                self.file_mines,
                self.mines,
                self.mines
            );
        }
        if self.period < PERIOD_MIN {
            bail!("a period of {:?} is too short: write at least {PERIOD_MIN:?}", self.period);
        }
        if self.file_period.is_zero() || self.file_period.subsec_nanos() != 0 {
            bail!("files are dropped every {:?}: write whole seconds", self.file_period);
        }
        if !(self.rate > 0.0 && self.rate <= RATE_MAX) {
            bail!("the world runs at rate {}: write a number above 0, at most {RATE_MAX}", self.rate);
        }
        match self.scenario.stage() {
            Stage::Mine if self.mines == 0 => {
                bail!("scenario `{}` needs a mine: write mines = 1", self.scenario)
            }
            Stage::Plant if self.plants == 0 => {
                bail!("scenario `{}` needs a plant: write plants = 1", self.scenario)
            }
            _ => Ok(()),
        }
    }
}

/// Where a scenario plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// Nowhere.
    None,
    /// In the first mine.
    Mine,
    /// In the first plant.
    Plant,
}

/// What happens beside the ordinary day. All of it at the first mine, or the first plant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Scenario {
    /// Nothing.
    Quiet,
    /// Methane rises at the face and goes over alarm and cut; the mine cuts power, withdraws people, airs, restores.
    Surge,
    /// Methane at the face rises evenly for eight minutes.
    SlowRise,
    /// The sensor at the face fails, sends nothing, and comes back with the spike of its start.
    SensorFault,
    /// The sensor at the face is calibrated with 2 % test gas.
    Calibration,
    /// The mine's link breaks; what was measured meanwhile comes afterwards with its own times.
    LinkBreak,
    /// The mine's clock is ahead.
    WrongClock,
    /// A tank is filled beyond its limits.
    TankOverfill,
    /// The sensor at the face swings about the limit.
    Chattering,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Scenario; 9] = [
        Self::Quiet,
        Self::Surge,
        Self::SlowRise,
        Self::SensorFault,
        Self::Calibration,
        Self::LinkBreak,
        Self::WrongClock,
        Self::TankOverfill,
        Self::Chattering,
    ];
    /// Their names, in the order of [`Scenario::ALL`].
    pub const NAMES: [&'static str; 9] = [
        "quiet",
        "surge",
        "slow-rise",
        "sensor-fault",
        "calibration",
        "link-break",
        "wrong-clock",
        "tank-overfill",
        "chattering",
    ];

    /// Its name, as users write it.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// What it does, in one line.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Quiet => "an ordinary day: nothing goes over a limit",
            Self::Surge => {
                "a gas surge at a face from second 4: over alarm and cut, power cut, aired, restored; again every 3 min"
            }
            Self::SlowRise => {
                "methane at the face rises evenly from second 10, 0.1 % a minute, over 1.0 % within 7 min"
            }
            Self::SensorFault => {
                "the sensor at the face fails from second 15 to 60 and comes back with a false spike"
            }
            Self::Calibration => {
                "the sensor at the face is calibrated from second 10 to 100 with 2 % test gas"
            }
            Self::LinkBreak => {
                "the mine's link breaks from second 15 to 45; the readings of the gap come afterwards"
            }
            Self::WrongClock => "the mine's clock is 7 minutes ahead",
            Self::TankOverfill => "a tank is filled beyond high and high-high from second 5, then emptied",
            Self::Chattering => "the sensor at the face swings about 1.0 %, on and off every 8 seconds",
        }
    }

    pub(crate) fn stage(self) -> Stage {
        match self {
            Self::Quiet => Stage::None,
            Self::TankOverfill => Stage::Plant,
            _ => Stage::Mine,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scenario {
    type Err = String;
    fn from_str(word: &str) -> Result<Self, String> {
        match Self::NAMES.iter().position(|n| *n == word) {
            Some(i) => Ok(Self::ALL[i]),
            None => {
                let nearest = model::problem::nearest(word, Self::NAMES.iter().copied());
                let help = nearest.map_or_else(|| Self::NAMES.join(", "), |n| format!("did you mean `{n}`?"));
                Err(format!("there is no scenario `{word}`: {help}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_go_by_name_and_say_what_they_do() {
        for scenario in Scenario::ALL {
            assert_eq!(scenario.name().parse(), Ok(scenario));
            assert!(scenario.describe().len() > 20 && !scenario.describe().contains('\n'));
        }
        assert!("surges".parse::<Scenario>().unwrap_err().contains("did you mean `surge`?"));
    }

    #[test]
    fn impossible_plans_are_refused_with_what_to_change() {
        let base = Plan::default();
        assert!(base.check().is_ok());
        let wrong = [
            (Plan { mines: 0, plants: 0, ..base.clone() }, "1 to 200 sites"),
            (Plan { mines: 0, ..base.clone() }, "needs a mine"),
            (Plan { plants: 0, scenario: Scenario::TankOverfill, ..base.clone() }, "needs a plant"),
            (Plan { file_mines: 4, ..base.clone() }, "at most 3"),
            (Plan { period: Duration::ZERO, ..base.clone() }, "too short"),
            (Plan { file_period: Duration::from_millis(1500), ..base.clone() }, "whole seconds"),
            (Plan { rate: f64::NAN, ..base.clone() }, "above 0"),
        ];
        for (plan, says) in wrong {
            let said = plan.check().unwrap_err().to_string();
            assert!(said.contains(says), "{said}");
        }
    }
}
