//! Floods: a receiver that is told more than it can read is told the rest as one list a minute. It begins with the message that would be one
//! more than `flood` within ten minutes, and ends with the first that comes when nothing is listed any more and fewer than half as many came
//! within ten minutes. Pure: the time comes in as an argument.

use crate::receiver::Receiver;
use model::Micros;
use model::time::MINUTE;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Messages are counted over so long.
pub const WITHIN: Micros = 10 * MINUTE;
/// A list goes out so long after the first alarm that is on it.
pub const LIST_AFTER: Micros = MINUTE;

/// How much one receiver was told lately.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Flood {
    /// When the newest messages were written or listed, as many as begin a flood.
    times: Vec<Micros>,
    /// What comes is listed.
    on: bool,
    /// When the list goes out; `None` while nothing is on it.
    #[serde(skip)]
    pub due: Option<Micros>,
}

impl Flood {
    /// One message more, for a receiver that reads so many; whether it is listed.
    pub fn lists(&mut self, most: usize, now: Micros) -> bool {
        // A clock that went back makes neither too much of the past, nor a list late.
        let recent = self.times.iter().filter(|t| (now - WITHIN + 1..=now).contains(*t)).count();
        self.on = if self.on { self.due.is_some() || recent * 2 >= most } else { recent >= most };
        self.times.push(now);
        self.times.drain(..self.times.len().saturating_sub(most));
        if self.on {
            let due = now + LIST_AFTER;
            self.due = Some(self.due.map_or(due, |before| before.min(due)));
        }
        self.on
    }
}

/// All receivers, as one transaction changes them.
#[derive(Default, Debug)]
pub struct Floods {
    by_receiver: BTreeMap<String, Flood>,
    changed: BTreeSet<String>,
    /// Receiver and alarm id of what is listed instead of told, not yet written.
    pub listed: Vec<(String, String)>,
}

impl Floods {
    /// As they were stored.
    pub fn new(stored: Vec<(String, Flood)>) -> Self {
        Self { by_receiver: stored.into_iter().collect(), ..Self::default() }
    }

    /// One message more about an alarm; whether it is listed instead.
    pub fn lists(&mut self, receiver: &Receiver, alarm: &str, now: Micros) -> bool {
        if receiver.flood == 0 {
            return false;
        }
        self.changed.insert(receiver.name.clone());
        let flood = self.by_receiver.entry(receiver.name.clone()).or_default();
        let lists = flood.lists(receiver.flood, now);
        if lists {
            self.listed.push((receiver.name.clone(), alarm.to_owned()));
        }
        lists
    }

    /// Receivers whose lists go out now.
    pub fn due(&self, now: Micros) -> Vec<String> {
        // Or so far ahead as only a clock that went back makes it.
        let is_due = |due| due <= now || due > now + LIST_AFTER;
        let due = self.by_receiver.iter().filter(|(_, flood)| flood.due.is_some_and(is_due));
        due.map(|(name, _)| name.clone()).collect()
    }

    /// The list of a receiver went out; with `rest` at once another.
    pub fn told(&mut self, receiver: &str, rest: Option<Micros>) {
        if let Some(flood) = self.by_receiver.get_mut(receiver) {
            flood.due = rest;
            self.changed.insert(receiver.to_owned());
        }
    }

    /// What is to be stored again.
    pub fn changed(&mut self) -> Vec<(String, Flood)> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        changed.filter_map(|name| self.by_receiver.get(&name).cloned().map(|flood| (name, flood))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_with_one_more_within_ten_minutes() {
        let mut flood = Flood::default();
        for n in 0..10 {
            assert!(!flood.lists(10, n * MINUTE), "{n}");
        }
        assert!(!flood.lists(10, 10 * MINUTE), "the first of them is ten minutes ago");
        let mut flood = Flood::default();
        assert!((0..10).all(|n| !flood.lists(10, n * MINUTE)));
        assert!(flood.lists(10, 10 * MINUTE - 1));
        assert_eq!(flood.due, Some(11 * MINUTE - 1));
        assert!(flood.lists(10, 10 * MINUTE), "what comes then is on the same list");
        assert_eq!(flood.due, Some(11 * MINUTE - 1));
    }

    #[test]
    fn it_ends_once_its_list_is_told_and_few_come() {
        // Eleven messages, so many of them a minute later.
        let begun = |later: usize| {
            let mut flood = Flood::default();
            let lists = (0..11).map(|n| flood.lists(10, if n < 11 - later { 0 } else { MINUTE }));
            assert_eq!(lists.filter(|lists| *lists).count(), 1);
            flood
        };
        assert!(begun(4).lists(10, 60 * MINUTE), "its list was not told yet");
        let mut back = begun(0);
        assert!(back.lists(10, -60 * MINUTE), "a clock that went back");
        assert_eq!(back.due, Some(-59 * MINUTE));
        let told = |later| Flood { due: None, ..begun(later) };
        assert!(told(4).lists(10, WITHIN - 1));
        assert!(!told(4).lists(10, WITHIN), "four within ten minutes");
        assert!(told(5).lists(10, WITHIN), "five are too many");
    }
}
