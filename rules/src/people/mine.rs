//! Who is below in one mine, by what the log said: the cards, when each was heard of and seen, and since when it is where it is.
//!
//! | what comes | what becomes of it |
//! |---|---|
//! | a row, not older than what is known of its card | the card is below, out, or below and uncertain |
//! | a row that is older | nothing |
//! | a card absent from a complete snapshot | out, unless it was heard of after the snapshot |
//! | a card absent from an incomplete snapshot | stays below where it was, uncertain |
//! | a row below without an area | stays in the area it was in, uncertain there |
//! | late (more than 2 min at append), stale, a snapshot older than the last | nothing, but that the work state of a card below, newer than all else of it, is known too until something that counts comes: a call for help counts however late it comes |
//! | more than 5 min ahead of reception | counts at its receive time |
//!
//! Below since: as it is sent, else the first row below. In the area since, and seen: by its rows. A row sees a card where it names a
//! station; of a card that was never at one, since it went below, any row below does.

use crate::clocks::{LATE_AFTER, ReplayClock};
use model::people::{Position, Positions, Presence};
use model::time::{MINUTE, Micros, SECOND};
use std::collections::{BTreeMap, BTreeSet};

/// How far ahead of its reception a time may be.
const AHEAD_MAX: Micros = 5 * MINUTE;
/// How often cards that left are forgotten, and after how long at least: what is older than [`LATE_AFTER`] changes nothing anyway.
const FORGET_EVERY: Micros = 3600 * SECOND;

/// A card.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Card {
    pub name: String,
    /// Where it is, as far as is known; empty where no area was ever said.
    pub area: String,
    /// The last station that saw it.
    pub station: String,
    /// Work state.
    pub state: String,
    pub presence: Presence,
    /// The last row below said no area.
    pub is_astray: bool,
    /// Event time and clock of the newest row, or of the snapshot that it is absent from.
    pub time: Micros,
    pub heard: Micros,
    /// Event time and clock when it was seen last.
    pub seen: Micros,
    pub seen_heard: Micros,
    pub below_since: Micros,
    pub area_since: Micros,
    pub state_since: Micros,
    /// A work state that came late, and its time.
    pub late_state: Option<(String, Micros)>,
}

impl Card {
    /// A card at the beginning of a stay.
    fn new(name: String, row: &Position, time: Micros, now: Micros) -> Self {
        Self {
            name,
            area: row.area.clone(),
            station: String::new(),
            state: String::new(),
            presence: row.presence,
            is_astray: false,
            time,
            heard: now,
            seen: time,
            seen_heard: now,
            below_since: time,
            area_since: time,
            state_since: time,
            late_state: None,
        }
    }

    pub fn is_below(&self) -> bool {
        self.presence != Presence::Out
    }
}

/// A mine.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Mine {
    pub cards: BTreeMap<String, Card>,
    /// Event time of the newest row or snapshot.
    pub as_of: Micros,
    /// Time of the newest snapshot.
    pub snapshot: Micros,
    /// The clock when something came that counted.
    pub heard: Micros,
    /// Number of the replay clock that judges it; 0 the partition's.
    pub clock: u32,
}

/// What a record changed.
#[derive(Default)]
pub(crate) struct Took {
    /// Whether anything of it counts now.
    pub counted: bool,
    /// The areas it touched; `None`: any.
    areas: Option<BTreeSet<String>>,
}

impl Took {
    /// Whether it touched an area, or the mine.
    pub fn touches(&self, area: Option<&str>) -> bool {
        self.areas.as_ref().zip(area).is_none_or(|(areas, area)| areas.contains(area))
    }
}

/// When a record came.
#[derive(Clone, Copy)]
pub(crate) struct Came {
    /// Append time; of a replay its own clock.
    pub appended: Micros,
    /// The clock that judges the mine.
    pub now: Micros,
    pub received: Micros,
    /// Number of the replay clock; 0 the partition's.
    pub clock: u32,
}

impl Came {
    /// When something counts, and whether it is late.
    fn place(&self, time: Micros) -> (Micros, bool) {
        let future = self.clock == 0 && time > self.received.saturating_add(AHEAD_MAX);
        let time = if future { self.received } else { time };
        (time, self.appended.saturating_sub(time) > LATE_AFTER)
    }

    /// The newest time in a record, of a mine, that is neither late nor stale.
    pub fn newest(&self, site: &str, positions: &Positions) -> Option<Micros> {
        let fresh = |time| Some(self.place(time)).filter(|(_, late)| !late).map(|(time, _)| time);
        match &positions.snapshot {
            Some(snapshot) => fresh(snapshot.time).filter(|_| !snapshot.stale),
            None => rows(site, positions).filter_map(|row| fresh(row.time)).max(),
        }
    }
}

impl Mine {
    /// The clock that judges it, the partition's being at `now`.
    pub fn now(&self, now: Micros, replay: &[ReplayClock]) -> Micros {
        match self.clock {
            0 => now,
            n => replay.get(n as usize - 1).map_or(now, |clock| clock.now),
        }
    }

    /// Takes what a record says of the mine `site`.
    pub fn take(&mut self, site: &str, positions: &Positions, came: Came) -> Took {
        let mut took = Took::default();
        match &positions.snapshot {
            Some(snapshot) => {
                let (time, late) = came.place(snapshot.time);
                if !late && !snapshot.stale && time >= self.snapshot {
                    self.take_snapshot(site, positions, (time, snapshot.complete), came);
                    took = Took { counted: true, areas: None };
                } else {
                    rows(site, positions).for_each(|row| drop(self.late_state(row)));
                }
            }
            None => {
                let mut areas = BTreeSet::new();
                for row in rows(site, positions) {
                    let (time, late) = came.place(row.time);
                    if late {
                        areas.extend(self.late_state(row));
                    } else {
                        took.counted |= self.put(row, time, came.now, &mut areas);
                    }
                }
                took.areas = Some(areas);
            }
        }
        if took.counted {
            if came.now.div_euclid(FORGET_EVERY) > self.heard.div_euclid(FORGET_EVERY) {
                self.cards.retain(|_, c| c.is_below() || came.now.saturating_sub(c.heard) < FORGET_EVERY);
            }
            (self.heard, self.clock) = (came.now, came.clock);
        }
        took
    }

    fn take_snapshot(
        &mut self,
        site: &str,
        positions: &Positions,
        (time, complete): (Micros, bool),
        came: Came,
    ) {
        (self.snapshot, self.as_of) = (time, self.as_of.max(time));
        let present: BTreeSet<&str> = rows(site, positions).map(|r| r.card.as_str()).collect();
        for (code, card) in &mut self.cards {
            if card.is_below() && card.time <= time && !present.contains(code.as_str()) {
                card.presence = if complete { Presence::Out } else { Presence::Uncertain };
                if complete {
                    (card.time, card.heard) = (time, came.now);
                }
            }
        }
        let mut areas = BTreeSet::new();
        for row in rows(site, positions) {
            self.put(row, time, came.now, &mut areas);
        }
    }

    /// Takes a row that counts at `time`; false where more is known of its card already. `areas`: those it touches.
    fn put(&mut self, row: &Position, time: Micros, now: Micros, areas: &mut BTreeSet<String>) -> bool {
        let old = self.cards.get(&row.card);
        if old.is_some_and(|old| old.time > time) {
            return false;
        }
        self.as_of = self.as_of.max(time);
        let before = old.filter(|old| old.is_below());
        areas.extend(before.map(|old| old.area.clone()));
        let name = || old.map(|old| old.name.clone()).unwrap_or_default();
        let mut card = before.cloned().unwrap_or_else(|| Card::new(name(), row, time, now));
        (card.presence, card.time, card.heard) = (row.presence, time, now);
        if !row.name.is_empty() {
            card.name.clone_from(&row.name);
        }
        if let Some(entered) = row.entered {
            card.below_since = entered;
        }
        card.is_astray = row.area.is_empty();
        if !row.area.is_empty() && row.area != card.area {
            (card.area, card.area_since) = (row.area.clone(), time);
        }
        if row.presence == Presence::Below && (!row.station.is_empty() || card.station.is_empty()) {
            card.station.clone_from(&row.station);
            (card.seen, card.seen_heard) = (time, now);
        }
        card.late_state = None;
        if row.state != card.state {
            (card.state, card.state_since) = (row.state.clone(), time);
        }
        areas.insert(card.area.clone());
        self.cards.insert(row.card.clone(), card);
        true
    }

    /// Takes the work state of a row that came late; the area it touches.
    fn late_state(&mut self, row: &Position) -> Option<String> {
        let card = self.cards.get_mut(&row.card).filter(|card| card.is_below() && row.time > card.time);
        let card = card.filter(|_| row.presence != Presence::Out)?;
        card.late_state = Some((row.state.clone(), row.time));
        Some(card.area.clone())
    }
}

/// The rows of a record that are of one mine.
fn rows<'a>(site: &'a str, positions: &'a Positions) -> impl Iterator<Item = &'a Position> {
    positions.rows.iter().filter(move |r| r.site == site)
}
