//! What people do with an alarm, as a pure function: [`act`] takes an alarm as it stands and what is done, and gives the alarm after
//! it and the event, or the word why not. Every pair of state and action is defined:
//! it stands in the tables of `docs/alarms.md`, which a test keeps true.
//!
//! What rises after it was seen (`seen_seq`) is not acted on (`changed`): the store knows that. Clearing and withdrawing are transitions.

use crate::EventKind;
use model::{Alarm, AlarmState, Case, CaseState, Micros, Shelved};

/// What is done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// Seen.
    Acknowledge,
    /// A remark.
    Comment,
    /// Put aside until then: with `one_shot` only this alarm, else whatever the rule says of the point.
    Shelve {
        /// When it comes back.
        until: Micros,
        /// Only this alarm.
        one_shot: bool,
    },
    /// Taken back before its time.
    Unshelve,
    /// A higher level presses for it.
    Urge {
        /// How: `phone`, `message`, ...
        way: String,
        /// Who was called.
        called: String,
    },
    /// Cause and measure are reported.
    Dispose {
        /// Why it came to the alarm.
        cause: String,
        /// What was done.
        measure: String,
    },
    /// Verified by a second person and struck off.
    CloseOut,
    /// What was reported is not enough.
    Return,
    /// One of firedamp's own alarms is over.
    Clear,
    /// No rule decides about it any more.
    Withdraw,
}

/// Who does what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Act {
    /// What.
    pub what: What,
    /// Who.
    pub by: String,
    /// What they say.
    pub note: String,
    /// The newest event they had seen: what rose after it is not acted on.
    pub seen_seq: Option<i64>,
}

impl Act {
    /// Something done by somebody who says nothing.
    pub fn new(what: What, by: &str) -> Self {
        Self { what, by: by.to_owned(), note: String::new(), seen_seq: None }
    }

    /// With a remark.
    #[must_use]
    pub fn with_note(self, note: &str) -> Self {
        Self { note: note.to_owned(), ..self }
    }

    /// The outcome of an alarm it was done to.
    pub fn done(&self) -> &'static str {
        match self.what {
            What::Acknowledge => "acked",
            What::Comment => "commented",
            What::Shelve { .. } => "shelved",
            What::Unshelve => "unshelved",
            What::Urge { .. } => "urged",
            What::Dispose { .. } => "disposed",
            What::CloseOut => "closed_out",
            What::Return => "returned",
            What::Clear | What::Withdraw => "cleared",
        }
    }

    /// More about it than the note says, JSON; empty where there is nothing.
    pub fn detail(&self) -> String {
        match &self.what {
            What::Urge { way, called } => serde_json::json!({ "way": way, "called": called }).to_string(),
            _ => String::new(),
        }
    }
}

/// The alarm after it and what happened, or the word why nothing did. Not for what goes through transitions.
pub fn act(alarm: &Alarm, act: &Act, now: Micros) -> Result<(Alarm, EventKind), &'static str> {
    let mut after = alarm.clone();
    let by = || Some(act.by.clone());
    let kind = match &act.what {
        What::Acknowledge if alarm.acked => return Err("already"),
        What::Acknowledge => {
            (after.acked, after.acked_by, after.acked_at) = (true, by(), Some(now));
            EventKind::Acknowledged
        }
        What::Comment => EventKind::Commented,
        What::Shelve { .. } if alarm.state == AlarmState::Closed => return Err("over"),
        What::Shelve { until, one_shot } => {
            after.shelved = Some(Shelved {
                by: act.by.clone(),
                note: act.note.clone(),
                since: now,
                until: *until,
                one_shot: *one_shot,
                severity: alarm.severity,
                calibrating: alarm.marks.calibrating,
            });
            EventKind::Shelved
        }
        What::Unshelve => {
            after = unshelved(alarm).ok_or("not_shelved")?;
            EventKind::Unshelved
        }
        What::Urge { .. } | What::Dispose { .. } | What::CloseOut | What::Return => {
            let (case, kind) = case(alarm, act, now)?;
            after.case = Some(case);
            kind
        }
        What::Clear | What::Withdraw => return Err("active"),
    };
    Ok((after, kind))
}

/// Back from the shelf: somebody has to see it again. `None` where it is on none.
pub fn unshelved(alarm: &Alarm) -> Option<Alarm> {
    let back = Alarm { shelved: None, acked: false, acked_by: None, acked_at: None, ..alarm.clone() };
    alarm.is_shelved().then_some(back)
}

/// What is done about it after this.
fn case(alarm: &Alarm, act: &Act, now: Micros) -> Result<(Case, EventKind), &'static str> {
    let mut case = alarm.case.clone().unwrap_or(Case {
        state: CaseState::Urged,
        urged: 0,
        cause: String::new(),
        measure: String::new(),
        disposed_by: None,
        disposed_at: None,
        verified_by: None,
        verified_at: None,
    });
    if case.state == CaseState::Closed {
        return Err("closed");
    }
    let kind = match &act.what {
        What::Urge { .. } => {
            case.urged += 1;
            EventKind::Urged
        }
        What::Dispose { cause, measure } => {
            case.state = CaseState::Disposed;
            (case.cause, case.measure) = (cause.clone(), measure.clone());
            (case.disposed_by, case.disposed_at) = (Some(act.by.clone()), Some(now));
            (case.verified_by, case.verified_at) = (None, None);
            EventKind::Disposed
        }
        _ if case.state != CaseState::Disposed => return Err("not_disposed"),
        What::CloseOut if case.disposed_by.as_deref() == Some(&act.by) => return Err("same_person"),
        What::CloseOut if alarm.state == AlarmState::Active => return Err("active"),
        what => {
            let closes = *what == What::CloseOut;
            case.state = if closes { CaseState::Closed } else { CaseState::Returned };
            (case.verified_by, case.verified_at) = (Some(act.by.clone()), Some(now));
            if closes { EventKind::ClosedOut } else { EventKind::Returned }
        }
    };
    Ok((case, kind))
}

#[cfg(test)]
mod tests;
