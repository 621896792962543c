//! What a rule decided: a level of a rule at a point went on, off, or was withdrawn. Made by `rules`, carried by the
//! second stream of the log, turned into alarms by `alerts`.

use crate::ids::{Offset, PointId, TransitionId};
use crate::time::Micros;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the level became.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum To {
    /// Raised.
    On,
    /// Cleared by a good reading.
    Off,
    /// Ended because its rule or point is gone; never as cleared.
    Withdrawn,
}

impl To {
    /// As outputs print it.
    pub fn as_str(self) -> &'static str {
        match self {
            To::On => "on",
            To::Off => "off",
            To::Withdrawn => "withdrawn",
        }
    }
}

/// Expected severity of the harm, national colours; the first is the worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Level 1.
    Red,
    /// Level 2.
    Orange,
    /// Level 3.
    Yellow,
    /// Level 4.
    Blue,
}

impl Severity {
    /// All, worst first.
    pub const ALL: [Severity; 4] = [Self::Red, Self::Orange, Self::Yellow, Self::Blue];
    /// Their words, worst first.
    pub const WORDS: [&'static str; 4] = ["red", "orange", "yellow", "blue"];

    /// As outputs print it.
    pub fn as_str(self) -> &'static str {
        Self::WORDS[self as usize]
    }

    /// From its word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Circumstances under which a level was decided.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Marks {
    /// Decided while calibrating: recorded, not told.
    #[serde(skip_serializing_if = "is_false")]
    pub calibrating: bool,
    /// From a drill source: only to drill receivers, never counted.
    #[serde(skip_serializing_if = "is_false")]
    pub simulated: bool,
    /// Found in late or historical readings: recorded and told in a digest, never as live.
    #[serde(skip_serializing_if = "is_false")]
    pub late: bool,
    /// The mine's own system reports it with a bad value: `reported by the mine, unconfirmed`.
    #[serde(skip_serializing_if = "is_false")]
    pub unconfirmed: bool,
    /// From a source marked replay.
    #[serde(skip_serializing_if = "is_false")]
    pub replay: bool,
    /// The level was on, and one more meets its condition (a second card calls for help): told as a level that rises is.
    #[serde(skip_serializing_if = "is_false")]
    pub further: bool,
    /// The level was on and stays on as it is: only its words are newer (how many people are still there), told to nobody.
    #[serde(skip_serializing_if = "is_false")]
    pub update: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the form serde asks for
fn is_false(b: &bool) -> bool {
    !*b
}

/// One step of one latch (rule, point, level).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Transition {
    /// See [`TransitionId::of`].
    pub id: TransitionId,
    /// Event time of the reading, or the partition clock where a tick decided.
    pub time: Micros,
    /// Partition clock when it was decided.
    pub decided: Micros,
    /// Where in the log the deciding record stands.
    pub offset: Offset,
    /// Site code.
    pub site: String,
    /// Point code.
    pub point: String,
    /// Point id.
    pub point_id: PointId,
    /// Rule name.
    pub rule: String,
    /// Short hash of the rule text that decided.
    pub version: String,
    /// Level name.
    pub level: String,
    /// Position of the level in its ladder, 0 the mildest.
    pub rank: u32,
    /// On, off or withdrawn.
    pub to: To,
    /// The value that decided, in the point's unit; `None` where there is none (silent, status).
    pub value: Option<f64>,
    /// The value farthest over the limit since the episode began, this reading included; `None` where there is none.
    #[serde(default)]
    pub peak: Option<f64>,
    /// Severity as the rule decided it.
    pub severity: Severity,
    /// Why, in one sentence a person can read: `1.02 >= 1.0 %`.
    pub reason: String,
    /// Circumstances.
    #[serde(default)]
    pub marks: Marks,
}
