//! Where people are: positions of cards, as single messages (MQTT) or as whole snapshots of a mine (RYSS files).

use crate::time::Micros;
use serde::{Deserialize, Serialize};

/// Whether a card is below ground, as far as is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// Seen below ground.
    Below,
    /// Seen leaving, or absent from a complete snapshot.
    Out,
    /// Absent from an incomplete snapshot: still counted as below, marked uncertain.
    Uncertain,
}

/// One card at one time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Position {
    /// Site code of the mine.
    pub site: String,
    /// Card code (17 characters in coal).
    pub card: String,
    /// Person's name; empty where it is not sent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Area code; empty where it is not known.
    #[serde(default)]
    pub area: String,
    /// Base station code; empty where it is not known.
    #[serde(default)]
    pub station: String,
    /// When it was seen there, microseconds UTC.
    pub time: Micros,
    /// Below, out, or uncertain.
    pub presence: Presence,
    /// When the person went below; `None` where it is not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entered: Option<Micros>,
    /// Work state as it is sent (`正常`, a call for help); empty where it is not. Rules say which words mean what.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
}

/// Positions that came together.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Positions {
    /// The cards.
    pub rows: Vec<Position>,
    /// `Some` when the rows are all cards of one site at one time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
}

/// What a snapshot says beside its rows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// Site code.
    pub site: String,
    /// Time of the snapshot.
    pub time: Micros,
    /// No record of it was skipped: who is absent has left.
    pub complete: bool,
    /// Older than the newest of its site: corrects history, not the current state.
    pub stale: bool,
}
