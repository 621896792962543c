//! firedamp's own alarms: what is wrong with itself, under rules named `firedamp/<what>`, through the same state machine.

use model::transition::Marks;
use model::{Micros, Offset, Origin, PointId, Severity, To, Transition, TransitionId};

/// Site code of firedamp's own alarms; no catalog has it.
pub const SITE: &str = "firedamp";
/// Something could not be delivered and was given up. Ended by hand: a later success does not bring it back.
pub const DEAD_LETTER: &str = "dead-letter";
/// A receiver has not answered for a while. Ends by itself.
pub const RECEIVER_DOWN: &str = "receiver-down";
/// A receiver took it, but not for all its addresses. Ended by hand.
pub const ADDRESS_REFUSED: &str = "address-refused";

/// All that are about a receiver.
pub const ABOUT_RECEIVERS: [&str; 3] = [DEAD_LETTER, RECEIVER_DOWN, ADDRESS_REFUSED];

/// Whether an alarm of this rule is about a receiver: then it goes out by others, and its own loss raises no further one.
pub fn is_about_receiver(rule: &str) -> bool {
    let what = rule.strip_prefix("firedamp/");
    what.is_some_and(|w| ABOUT_RECEIVERS.contains(&w))
}

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
    /// One about a receiver.
    pub(crate) fn about_receiver(what: &str, receiver: &str, reason: String, on: bool) -> Self {
        Self { what: what.to_owned(), key: receiver.to_owned(), severity: Severity::Orange, reason, on }
    }

    /// As a transition of a rule. The number of the event it will be stands for the reading that decided, so that no two are
    /// one, even where the clock stands still or goes back.
    pub(crate) fn transition(&self, seq: i64, now: Micros) -> Transition {
        let rule = format!("firedamp/{}", self.what);
        let point_id = PointId::of(SITE, &self.key);
        let origin = Origin { collector: now as u64, sequence: seq as u64 };
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
