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
