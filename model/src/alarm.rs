//! An alarm: one (rule, point) from its first level to the end of its last. The columns every output shows.

use crate::time::{Micros, parse, rfc3339};
use crate::transition::{Marks, Severity};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Whether any level is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlarmState {
    /// At least one level is on.
    Active,
    /// All levels are off or withdrawn.
    Closed,
}

impl AlarmState {
    /// As outputs print it.
    pub fn as_str(self) -> &'static str {
        match self {
            AlarmState::Active => "active",
            AlarmState::Closed => "closed",
        }
    }
}

/// What the catalog says of a site and a point, in words for people. Empty where it says nothing.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    /// GB/T 2260 code, six digits.
    pub region: String,
    /// Name of the site.
    pub site_name: String,
    /// Location or name of the point.
    pub point_name: String,
    /// What is measured: `ch4 co ...`.
    pub quantity: String,
    /// Unit of value and limits.
    pub unit: String,
    /// Place class `T0` ... `T8`.
    #[serde(rename = "place")]
    pub class: String,
    /// What the site was doing: `operating`, `idle`, `maintenance` or `starting`.
    pub site_state: String,
}

/// Put aside by a person for a time, with a reason: it is recorded and nobody is told, until it rises or opens worse than it was then.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Shelved {
    /// Who did it.
    pub by: String,
    /// Why.
    pub note: String,
    /// When.
    #[serde(serialize_with = "time_out", deserialize_with = "time_in")]
    pub since: Micros,
    /// When it comes back by itself.
    #[serde(serialize_with = "time_out", deserialize_with = "time_in")]
    pub until: Micros,
    /// Only this alarm, as long as it lasts; else whatever the rule says of the point until then.
    pub one_shot: bool,
    /// What is worse than this was not put aside.
    pub severity: Severity,
    /// Nor was what is real: it was an alarm of a calibration.
    #[serde(default)]
    pub calibrating: bool,
}

/// How far what is done about an alarm has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaseState {
    /// A higher level presses for it; cause and measure are not known.
    Urged,
    /// Cause and measure are reported.
    Disposed,
    /// What was reported is not enough.
    Returned,
    /// Verified by a second person.
    Closed,
}

/// What is done about an alarm: the regulator's loop of urging, cause, measure and verification.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Case {
    /// How far it has come.
    pub state: CaseState,
    /// Times it was urged.
    pub urged: u32,
    /// Why it came to the alarm.
    pub cause: String,
    /// What was done.
    pub measure: String,
    /// Who reported both.
    pub disposed_by: Option<String>,
    /// When.
    #[serde(serialize_with = "time_out_opt", deserialize_with = "time_in_opt")]
    pub disposed_at: Option<Micros>,
    /// Who verified it or sent it back.
    pub verified_by: Option<String>,
    /// When.
    #[serde(serialize_with = "time_out_opt", deserialize_with = "time_in_opt")]
    pub verified_at: Option<Micros>,
}

/// An alarm as lists, API and webhooks show it. Times are RFC 3339 with milliseconds in UTC.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Alarm {
    /// Id of the transition that opened it, 32 hex digits.
    pub id: String,
    /// Site code.
    pub site: String,
    /// Point code.
    pub point: String,
    /// Region, names, quantity, place class and state of the site, as the catalog had them when it opened.
    #[serde(flatten)]
    pub place: Place,
    /// Rule name.
    pub rule: String,
    /// Highest level now on; after closing the highest it reached.
    pub level: String,
    /// Active or closed.
    pub state: AlarmState,
    /// Whether somebody acknowledged it.
    pub acked: bool,
    /// Severity of the level shown, as the rules decided it.
    pub severity: Severity,
    /// Event time of its first transition.
    #[serde(serialize_with = "time_out", deserialize_with = "time_in")]
    pub opened: Micros,
    /// Event time of its last transition once closed.
    #[serde(serialize_with = "time_out_opt", deserialize_with = "time_in_opt")]
    pub closed: Option<Micros>,
    /// Event time of its newest transition.
    #[serde(serialize_with = "time_out", deserialize_with = "time_in")]
    pub changed: Micros,
    /// Value farthest over the limit among its transitions, in the point's unit.
    pub peak: Option<f64>,
    /// Ended because its rule or point is gone.
    pub withdrawn: bool,
    /// Who acknowledged.
    pub acked_by: Option<String>,
    /// When.
    #[serde(serialize_with = "time_out_opt", deserialize_with = "time_in_opt")]
    pub acked_at: Option<Micros>,
    /// Reason of the newest transition.
    pub reason: String,
    /// Circumstances of the newest transition.
    pub marks: Marks,
    /// Put aside, or was while it lasted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shelved: Option<Shelved>,
    /// What is done about it, once somebody did anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<Case>,
}

/// States of an alarm as ISA-18.2 names them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Condition {
    /// Over, and somebody has seen it.
    Normal,
    /// On, and nobody has seen it.
    Unacknowledged,
    /// On, and somebody has seen it.
    Acknowledged,
    /// Over, and nobody has seen it.
    ReturnedUnacknowledged,
    /// On, and put aside.
    Shelved,
}

impl Condition {
    /// As outputs print it.
    pub fn as_str(self) -> &'static str {
        match self {
            Condition::Normal => "normal",
            Condition::Unacknowledged => "unacknowledged",
            Condition::Acknowledged => "acknowledged",
            Condition::ReturnedUnacknowledged => "returned_unacknowledged",
            Condition::Shelved => "shelved",
        }
    }
}

impl Alarm {
    /// Whether it is put aside now: what is over is not.
    pub fn is_shelved(&self) -> bool {
        self.state == AlarmState::Active && self.shelved.is_some()
    }

    /// Its state by ISA-18.2.
    pub fn condition(&self) -> Condition {
        match (self.state, self.acked) {
            (AlarmState::Active, _) if self.shelved.is_some() => Condition::Shelved,
            (AlarmState::Active, false) => Condition::Unacknowledged,
            (AlarmState::Active, true) => Condition::Acknowledged,
            (AlarmState::Closed, false) => Condition::ReturnedUnacknowledged,
            (AlarmState::Closed, true) => Condition::Normal,
        }
    }
}

fn time_out<S: Serializer>(t: &Micros, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&rfc3339(*t))
}

#[allow(clippy::ref_option)] // the form serde asks for
fn time_out_opt<S: Serializer>(t: &Option<Micros>, s: S) -> Result<S::Ok, S::Error> {
    match t {
        Some(t) => s.serialize_str(&rfc3339(*t)),
        None => s.serialize_none(),
    }
}

fn time_in<'de, D: Deserializer<'de>>(d: D) -> Result<Micros, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(d)?;
    parse(&text).map_err(serde::de::Error::custom)
}

fn time_in_opt<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Micros>, D::Error> {
    let text = Option::<String>::deserialize(d)?;
    text.map(|t| parse(&t).map_err(serde::de::Error::custom)).transpose()
}
