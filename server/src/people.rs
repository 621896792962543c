//! Who is below ground, by mine and area. Absence counts as left only in a complete snapshot; otherwise the card stays
//! below, marked uncertain. Counts always carry their age and how many of them are uncertain.

use model::Micros;
use model::people::{Position, Positions, Presence};
use serde::Serialize;
use std::collections::BTreeMap;

/// State of all mines.
#[derive(Default, Debug)]
pub struct People {
    sites: BTreeMap<String, Mine>,
}

#[derive(Default, Debug)]
struct Mine {
    cards: BTreeMap<String, Position>,
    /// Time of the newest snapshot or position.
    as_of: Micros,
    /// A complete snapshot came since the start: nothing older adds to it.
    complete: bool,
}

/// People below in one mine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Count {
    /// Site code.
    pub site: String,
    /// Cards below, uncertain ones among them.
    pub below: usize,
    /// Of these: absent from an incomplete snapshot.
    pub uncertain: usize,
    /// Time of the newest snapshot or position, microseconds UTC.
    pub as_of: Micros,
    /// Cards below by area.
    pub areas: BTreeMap<String, usize>,
}

impl People {
    /// Takes in positions in the order of the log.
    pub fn take(&mut self, positions: &Positions) {
        if let Some(snapshot) = &positions.snapshot {
            let mine = self.sites.entry(snapshot.site.clone()).or_default();
            if snapshot.stale || snapshot.time < mine.as_of {
                return; // corrects history only
            }
            mine.as_of = snapshot.time;
            mine.complete |= snapshot.complete;
            for card in mine.cards.values_mut() {
                let present = positions.rows.iter().any(|r| r.card == card.card);
                if !present && card.presence != Presence::Out {
                    card.presence = if snapshot.complete { Presence::Out } else { Presence::Uncertain };
                }
            }
        }
        for row in &positions.rows {
            let mine = self.sites.entry(row.site.clone()).or_default();
            let newer = mine
                .cards
                .get(&row.card)
                .is_none_or(|old| row.time >= old.time || positions.snapshot.is_some());
            if newer {
                mine.as_of = mine.as_of.max(row.time);
                mine.cards.insert(row.card.clone(), row.clone());
            }
        }
    }

    /// Takes in where a card was seen last before this process began. It counts as below, marked uncertain, until it is heard of
    /// again: whoever left meanwhile is counted too long rather than somebody below left out.
    pub fn restore(&mut self, last: Position) {
        let mine = self.sites.entry(last.site.clone()).or_default();
        mine.as_of = mine.as_of.max(last.time);
        if !mine.complete && last.presence != Presence::Out {
            let uncertain = Position { presence: Presence::Uncertain, ..last };
            mine.cards.entry(uncertain.card.clone()).or_insert(uncertain);
        }
    }

    /// Counts of all mines that ever sent positions.
    pub fn counts(&self) -> Vec<Count> {
        self.sites.iter().map(|(site, mine)| mine.count(site)).collect()
    }

    /// The cards below in one mine.
    pub fn below(&self, site: &str) -> Vec<&Position> {
        let mine = self.sites.get(site);
        mine.into_iter().flat_map(|m| m.cards.values()).filter(|p| p.presence != Presence::Out).collect()
    }
}

impl Mine {
    fn count(&self, site: &str) -> Count {
        let mut areas = BTreeMap::new();
        let (mut below, mut uncertain) = (0, 0);
        for card in self.cards.values().filter(|c| c.presence != Presence::Out) {
            below += 1;
            uncertain += usize::from(card.presence == Presence::Uncertain);
            *areas.entry(card.area.clone()).or_default() += 1;
        }
        Count { site: site.to_owned(), below, uncertain, as_of: self.as_of, areas }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::people::Snapshot;

    fn snapshot(time: Micros, cards: &[&str], complete: bool) -> Positions {
        let row = |card: &&str| Position {
            site: "M1".into(),
            card: (*card).into(),
            name: String::new(),
            area: "A".into(),
            station: String::new(),
            time,
            presence: Presence::Below,
            entered: None,
            state: String::new(),
        };
        let snapshot = Snapshot { site: "M1".into(), time, complete, stale: false };
        Positions { rows: cards.iter().map(row).collect(), snapshot: Some(snapshot) }
    }

    #[test]
    fn absence_is_leaving_only_in_a_complete_snapshot() {
        let mut people = People::default();
        let count = |p: &People| (p.counts()[0].below, p.counts()[0].uncertain);
        people.take(&snapshot(1, &["a", "b", "c"], true));
        assert_eq!(count(&people), (3, 0));
        people.take(&snapshot(2, &["a"], false));
        assert_eq!(count(&people), (3, 2));
        people.take(&snapshot(1, &[], true)); // older than the newest: changes nothing
        assert_eq!(count(&people), (3, 2));
        people.take(&snapshot(3, &["a", "b"], true));
        assert_eq!(count(&people), (2, 0));
        people.take(&snapshot(4, &[], true));
        assert_eq!(count(&people), (0, 0));
    }

    #[test]
    fn who_was_below_before_a_restart_is_uncertain_until_heard_of() {
        let mut people = People::default();
        let count = |p: &People| (p.counts()[0].below, p.counts()[0].uncertain);
        for mut row in snapshot(5, &["a", "b", "c"], true).rows {
            row.presence = if row.card == "c" { Presence::Out } else { Presence::Below };
            people.restore(row);
        }
        assert_eq!((count(&people), people.counts()[0].as_of), ((2, 2), 5));
        people.take(&Positions { rows: snapshot(6, &["a"], true).rows, snapshot: None });
        assert_eq!(count(&people), (2, 1));
        people.take(&snapshot(7, &["a"], true));
        assert_eq!(count(&people), (1, 0));
        people.restore(snapshot(5, &["b"], true).rows.remove(0));
        assert_eq!(count(&people), (1, 0), "the complete snapshot knows better");
    }
}
