//! firedamp's own alarms: what is wrong with itself, under rules named `firedamp/<what>`, through the same state machine.

use model::transition::Marks;
use model::{Micros, Offset, Origin, PointId, Severity, To, Transition, TransitionId};

/// Site code of firedamp's own alarms; no catalog has it.
pub const SITE: &str = "firedamp";
/// Rule of the alarm about a receiver that could not be told.
pub const DEAD_LETTER: &str = "firedamp/dead-letter";

/// Something of firedamp's own that began or ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnAlarm {
    /// What: `dead-letter`, `log-silent`, ...; the rule is `firedamp/<what>`.
    pub what: String,
    /// Which one of them: a receiver, a partition, a source.
    pub key: String,
    /// How bad.
    pub severity: Severity,
    /// What is wrong and what to do, one sentence.
    pub reason: String,
    /// Begins or ends.
    pub on: bool,
}

impl OwnAlarm {
    /// As a transition of a rule. The moment stands for the reading that decided.
    pub fn transition(&self, now: Micros) -> Transition {
        let rule = format!("firedamp/{}", self.what);
        let point_id = PointId::of(SITE, &self.key);
        let origin = Origin { collector: 0, sequence: now as u64 };
        Transition {
            id: TransitionId::of(&rule, point_id, "on", origin, 0, u32::from(!self.on)),
            time: now,
            decided: now,
            offset: Offset { partition: u32::MAX, number: 0 },
            site: SITE.to_owned(),
            point: self.key.clone(),
            point_id,
            rule,
            version: String::new(),
            level: "on".to_owned(),
            rank: 0,
            to: if self.on { To::On } else { To::Off },
            value: None,
            peak: None,
            severity: self.severity,
            reason: self.reason.clone(),
            marks: Marks::default(),
        }
    }
}
