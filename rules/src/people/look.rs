//! What a rule asks of the cards at its anchor at one moment, and the words for the answer. Every answer says how many of the cards are
//! uncertain and how old it is.
//!
//! | asked | at a record | as time passes |
//! |---|---|---|
//! | how many are there (`capacity`, `alone`) | yes, no; unknown where an uncertain card could make it either | - |
//! | since when (`overtime`, `forbidden`) | event times, and the clock since the card was heard of | the same, while the mine is heard of: for three periods |
//! | `help` | the newest work state | one that came late |
//! | `evacuation` | everybody there, while the area is in alarm; asked when an alarm begins or ends, too | - |
//! | `vanished` | from the record that saw the card last to the newest of the mine | only of the one card that is below: nothing else comes |

use super::level::{Asked, Level};
use super::mine::Card;
use crate::kinds::people::{Anchor, What, is_one_of};
use crate::reading::Verdict;
use model::people::Presence;
use model::time::{Micros, SECOND, rfc3339};

/// Periods without a record before time raises nothing any more.
const FRESH_PERIODS: i64 = 3;

/// An answer.
pub(super) struct Look<'a> {
    pub verdict: Verdict,
    /// Cards there, and how many of them are uncertain.
    there: usize,
    uncertain: usize,
    /// The cards that meet the condition, by code; none where it is about their number.
    pub met: Vec<(&'a str, &'a Card)>,
    /// Whether it is about cards, not about their number.
    pub of_cards: bool,
    /// Asked for an area in alarm, and there is none.
    pub is_alarm_over: bool,
    /// When time can make a card meet the condition that does not yet.
    pub due: Micros,
}

/// What a card says of a condition: it meets it, or will at a time.
enum Meets {
    Now,
    At(Micros),
    Never,
}

impl<'a> Look<'a> {
    /// Asks; `is_record`: at a record, else as time passes.
    pub fn at(asked: &Asked<'a>, is_record: bool) -> Self {
        let (mine, anchor, what) = (asked.mine, asked.anchor, &asked.watch.what);
        let moment = Moment::of(asked, is_record);
        let (mut there, mut uncertain, mut met, mut due) = (0, 0, Vec::new(), Micros::MAX);
        for (code, card) in mine.cards.iter().filter(|(_, card)| is_there(card, anchor)) {
            there += 1;
            uncertain += usize::from(is_uncertain(card, anchor));
            match moment.meets(code, card, asked) {
                Meets::Now => met.push((code.as_str(), card)),
                Meets::At(time) => due = due.min(time),
                Meets::Never => {}
            }
        }
        let max = anchor.max.map_or(usize::MAX, |max| max as usize);
        let verdict = match what {
            What::Capacity(_) if there > max => Verdict::Over,
            What::Alone if there == 1 && uncertain == 0 => Verdict::Over,
            // Whoever is uncertain may have left.
            What::Alone if there - uncertain < 2 && uncertain > 0 => Verdict::Hold,
            What::Capacity(_) | What::Alone => Verdict::Below,
            _ if met.is_empty() => Verdict::Below,
            _ => Verdict::Over,
        };
        let is_alarm_over = matches!(what, What::Evacuation(_)) && asked.alarms.is_empty();
        Self { verdict, there, uncertain, met, of_cards: !what.counts(), is_alarm_over, due }
    }

    /// The number worth reporting.
    pub fn count(&self) -> f64 {
        (if self.of_cards { self.met.len() } else { self.there }) as f64
    }

    /// Why the level is on, or off; `new`: the card that is named first.
    pub fn reason(&self, asked: &Asked<'_>, on: bool, new: Option<&str>, level: &Level) -> String {
        let (anchor, mine) = (asked.anchor, asked.mine);
        let place = anchor.area.as_ref().map_or("in the mine".to_owned(), |area| format!("in area {area}"));
        let age = asked.now.saturating_sub(mine.as_of).max(0) / SECOND;
        let known = format!("{} uncertain, counted {age} s ago", self.uncertain);
        let people = match self.there {
            1 => "1 person".to_owned(),
            n => format!("{n} people"),
        };
        match &asked.watch.what {
            What::Capacity(_) => {
                let max = anchor.max.unwrap_or_default();
                format!("{people} {place}, {max} may be ({known})")
            }
            What::Alone => {
                let there = mine.cards.iter().find(|(_, card)| is_there(card, anchor));
                let only = there.filter(|_| on && self.there == 1);
                let who = only.map(|(code, card)| format!(": {}", named(code, card))).unwrap_or_default();
                format!("{people} {place}{who} ({known})")
            }
            What::Evacuation(_) => {
                let alarm = match &asked.alarms[..] {
                    [] => "the alarm is over".to_owned(),
                    [alarm] => format!("in alarm: {alarm}"),
                    [alarm, more @ ..] => format!("in alarm: {alarm} and {} more", more.len()),
                };
                let left = match level.left.len() {
                    0 => "nobody has left since".to_owned(),
                    n => format!("{n} left since, the last at {}", rfc3339(level.last_left)),
                };
                let card = self.met.iter().find(|(code, _)| new == Some(*code));
                let new = card.map(|(code, card)| format!("; {} came in", named(code, card)));
                let new = new.unwrap_or_default();
                format!("{people} still {place}, {} at first, {alarm}; {left}{new} ({known})", level.began)
            }
            _ => match self.met.iter().find(|(code, _)| new == Some(*code)).or(self.met.first()) {
                None => format!("nobody any more {place}; {people} there ({known})"),
                Some((code, card)) => format!("{} ({known})", self.of_card(asked, code, card, &place)),
            },
        }
    }

    /// What one card does, and how many others do.
    fn of_card(&self, asked: &Asked<'_>, code: &str, card: &Card, place: &str) -> String {
        let (anchor, now) = (asked.anchor, asked.now);
        let since = since(card, anchor);
        let what = match &asked.watch.what {
            What::Overtime(_) => {
                format!("is {place} for {}, since {}", long(lasts(card, since, now)), rfc3339(since))
            }
            What::Forbidden(..) => format!("is {place}, forbidden, since {}", rfc3339(since)),
            What::Help(states) => {
                let (said, since) = calls(card, states).unwrap_or_default();
                format!("calls for help ({said}) {place} since {}", rfc3339(since))
            }
            _ => format!("was seen last at {}, {} ago", rfc3339(card.seen), long(now - card.seen_heard)),
        };
        let uncertain = if is_uncertain(card, anchor) { "; uncertain whether it is still there" } else { "" };
        let more = match self.met.len() - 1 {
            0 => String::new(),
            n => format!("; and {n} more"),
        };
        format!("{} {what}{uncertain}{more}", named(code, card))
    }
}

/// When and how it is asked.
struct Moment {
    is_record: bool,
    /// The mine is heard of: what lasts may be taken to last on.
    is_fresh: bool,
    /// One card is below, and no other.
    is_only: bool,
}

impl Moment {
    fn of(asked: &Asked<'_>, is_record: bool) -> Self {
        let silence = asked.now.saturating_sub(asked.mine.heard);
        let is_fresh = is_record || silence <= asked.anchor.period.saturating_mul(FRESH_PERIODS);
        let asks = matches!(asked.watch.what, What::Vanished(_));
        let below = || asked.mine.cards.values().filter(|c| c.is_below());
        Self { is_record, is_fresh, is_only: asks && below().nth(1).is_none() }
    }

    fn meets(&self, code: &str, card: &Card, asked: &Asked<'_>) -> Meets {
        let now = asked.now;
        let by = |due: Micros| if now >= due { Meets::Now } else { Meets::At(due) };
        match &asked.watch.what {
            What::Capacity(_) | What::Alone => Meets::Never,
            What::Forbidden(_, allow) if is_one_of(code, allow) => Meets::Never,
            What::Overtime(after) | What::Forbidden(after, _) => {
                let lasted = card.time.saturating_sub(since(card, asked.anchor));
                // By event times up to the newest row, by the clock from then on.
                let due = if lasted >= *after { now } else { card.heard.saturating_add(after - lasted) };
                if self.is_fresh { by(due) } else { Meets::At(due) }
            }
            What::Help(states) => {
                if calls(card, states).is_some() {
                    Meets::Now
                } else {
                    Meets::Never
                }
            }
            What::Vanished(after) if self.is_only => by(card.seen_heard.saturating_add(*after)),
            What::Vanished(after) => {
                let unseen = asked.mine.heard.saturating_sub(card.seen_heard);
                if self.is_record && unseen >= *after { Meets::Now } else { Meets::Never }
            }
            What::Evacuation(_) => {
                if asked.alarms.is_empty() {
                    Meets::Never
                } else {
                    Meets::Now
                }
            }
        }
    }
}

fn is_there(card: &Card, anchor: &Anchor) -> bool {
    card.is_below() && anchor.area.as_ref().is_none_or(|area| *area == card.area)
}

fn is_uncertain(card: &Card, anchor: &Anchor) -> bool {
    card.presence == Presence::Uncertain || (anchor.area.is_some() && card.is_astray)
}

/// Since when a card is at an anchor.
fn since(card: &Card, anchor: &Anchor) -> Micros {
    if anchor.area.is_some() { card.area_since } else { card.below_since }
}

/// How long that is: by event times up to what was heard last of it, by the clock from then on.
fn lasts(card: &Card, since: Micros, now: Micros) -> Micros {
    card.time.saturating_sub(since).saturating_add(now.saturating_sub(card.heard).max(0))
}

/// The call of a card, and its time; a work state that came late counts too.
fn calls<'a>(card: &'a Card, states: &[String]) -> Option<(&'a str, Micros)> {
    let late = card.late_state.iter().map(|(state, since)| (state.as_str(), *since));
    let all = std::iter::once((card.state.as_str(), card.state_since)).chain(late);
    all.into_iter().find(|(state, _)| states.iter().any(|s| s == state))
}

/// Card, name, and where it was seen last.
fn named(code: &str, card: &Card) -> String {
    let said = [("", &card.name), ("area ", &card.area), ("station ", &card.station)];
    let said: Vec<String> = said
        .iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(word, text)| format!("{word}{text}"))
        .collect();
    if said.is_empty() { format!("card {code}") } else { format!("card {code} ({})", said.join(", ")) }
}

/// `10 h 3 min`, for people.
fn long(span: Micros) -> String {
    let s = span.max(0) / SECOND;
    match (s / 3600, s % 3600 / 60, s % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, min, _) => format!("{min} min"),
        (h, min, _) => format!("{h} h {min} min"),
    }
}
