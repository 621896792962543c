//! Why somebody is told of an alarm and others are not, from the same walk that decides it.

use super::conditions::Unmet;
use super::press::Press;
use super::{Reached, Route, Routes, Seen, Target, Via};
use model::time::rfc3339;
use model::{Alarm, Micros};
use serde::Serialize;
use std::collections::BTreeSet;

/// Who is told of one alarm, and why.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Decision {
    /// Id of the alarm.
    pub alarm: String,
    /// Site and point, rule, level and severity, in a line.
    pub what: String,
    /// The time it was judged at, RFC 3339.
    pub at: String,
    /// When it goes out.
    pub when: &'static str,
    /// Each receiver once, in the order of the configuration.
    pub told: Vec<Told>,
    /// Who is told while nobody acknowledges it, the first first.
    pub later: Vec<Step>,
    /// Routes that do not take it and receivers that are not told though a route names them.
    pub passed: Vec<Passed>,
}

/// A receiver that is told.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Told {
    /// Its name.
    pub receiver: String,
    /// Names of the routes from the top; empty for the `to` of the file.
    pub route: String,
    /// `file:line` of the route.
    pub place: String,
    /// Conditions that hold, and who is on duty.
    pub why: String,
}

/// Who is told while nobody acknowledges.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Step {
    /// How long nobody has, microseconds; where they are told again, the first time.
    pub after: Micros,
    /// In words.
    pub when: String,
    /// Names of the receivers, as of that long after the time it was judged at.
    pub receivers: Vec<String>,
    /// Names of the routes from the top; empty for the top of the file.
    pub route: String,
    /// `file:line` of the route.
    pub place: String,
}

/// What is asked and tells nobody.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Passed {
    /// The route.
    pub route: String,
    /// `file:line` of it.
    pub place: String,
    /// The receiver, where the route took the alarm and this one is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiver: Option<String>,
    /// Why.
    pub why: String,
}

impl Routes {
    /// Who is told of an alarm decided at a time, and why.
    pub fn explain(&self, alarm: &Alarm, at: Micros) -> Decision {
        let subject = self.subject(alarm, at);
        let (mut told, mut passed): (Vec<(usize, Told)>, _) = (Vec::new(), Vec::new());
        self.top.walk(&subject, &mut |seen| match seen {
            Seen::Met(_) => {}
            Seen::Unmet(route, Unmet::Kind) => {
                let wanted = route.kind.map_or("", |k| k.as_str());
                passed.push(pass(route, None, format!("it is for {wanted}")));
            }
            Seen::Unmet(route, unmet) => {
                passed.push(pass(route, None, route.conditions.why(unmet, &subject)))
            }
            Seen::Behind(route, last) => {
                let why = format!("not asked: `{}` ({}) took it before", last.path, last.place);
                passed.push(pass(route, None, why));
            }
            Seen::Took(route) => {
                for target in &route.to {
                    let Reached { receivers, barred, .. } = self.reach(*target, &subject, at);
                    for (receiver, why) in barred {
                        passed.push(pass(route, Some(self.receivers[receiver].name.clone()), why.to_owned()));
                    }
                    told.extend(receivers.iter().map(|(r, via)| (*r, self.told_by(*r, route, via))));
                }
            }
        });
        // Two routes may name one receiver, and it is told once.
        told.sort_by_key(|(receiver, _)| *receiver);
        told.dedup_by_key(|(receiver, _)| *receiver);
        Decision {
            alarm: alarm.id.clone(),
            what: format!(
                "{} {}: {} {} {}",
                alarm.site, alarm.point, alarm.rule, alarm.level, alarm.severity
            ),
            at: rfc3339(at),
            when: when(alarm),
            told: told.into_iter().map(|(_, told)| told).collect(),
            later: self.later(alarm, at),
            passed,
        }
    }

    fn later(&self, alarm: &Alarm, at: Micros) -> Vec<Step> {
        let mut out = Vec::new();
        for route in self.took(alarm, at) {
            for press in &route.presses {
                let (after, to) = match press {
                    Press::Escalate(after, to) => (*after, to),
                    Press::Repeat(every) => (*every, &route.to),
                };
                let reached =
                    |target: &Target| self.reach(*target, &self.subject(alarm, at), at + after).receivers;
                let receivers: BTreeSet<usize> =
                    to.iter().flat_map(reached).map(|(receiver, _)| receiver).collect();
                out.push(Step {
                    after,
                    when: press.text(),
                    receivers: receivers.into_iter().map(|r| self.receivers[r].name.clone()).collect(),
                    route: route.path.clone(),
                    place: route.place.clone(),
                });
            }
        }
        out.sort_by_key(|step| step.after);
        out
    }

    fn told_by(&self, receiver: usize, route: &Route, via: &Via<'_>) -> Told {
        let mut why = if route.path.is_empty() {
            vec!["no route takes it".to_owned()]
        } else {
            route.conditions.text()
        };
        if why.is_empty() {
            why.push(format!("it takes all {}", route.kind.map_or("alarms", |k| k.as_str())));
        }
        match via {
            Via::Named => {}
            Via::Duty(roster, duty) => {
                let who = if duty.stands_in { "the stand-in of" } else { "" };
                why.push(
                    format!("roster {}: {who} {} is on duty ({})", roster.name, duty.person, duty.place)
                        .replace(":  ", ": "),
                );
            }
            Via::Fallback(roster, true) => {
                why.push(format!(
                    "roster {}: nobody is on duty, its fallback ({})",
                    roster.name, roster.place
                ));
            }
            Via::Fallback(roster, false) => {
                why.push(format!(
                    "roster {}: who is on duty is not told of this, its fallback ({})",
                    roster.name, roster.place
                ));
            }
        }
        Told {
            receiver: self.receivers[receiver].name.clone(),
            route: route.path.clone(),
            place: route.place.clone(),
            why: why.join(", "),
        }
    }
}

fn pass(route: &Route, receiver: Option<String>, why: String) -> Passed {
    Passed { route: route.path.clone(), place: route.place.clone(), receiver, why }
}

fn when(alarm: &Alarm) -> &'static str {
    if alarm.is_shelved() {
        "not while it is shelved"
    } else if alarm.marks.calibrating {
        "not while it is calibrating"
    } else if alarm.marks.late {
        "in a digest, since it was found late"
    } else {
        "at once"
    }
}
