//! Rules about people against a model simpler than the code: it keeps every record, and works out each card anew from all of them at
//! every question.

use ::model::people::Presence;
use std::collections::BTreeSet;

/// A record, in seconds.
#[derive(Clone, Debug)]
pub struct Came {
    pub at: i64,
    pub rows: Vec<Row>,
    /// Time, complete, stale.
    pub snapshot: Option<(i64, bool, bool)>,
    /// No positions: a reading of the area's methane, over or not.
    pub gas: Option<bool>,
}

#[derive(Clone, Debug)]
pub struct Row {
    pub card: u8,
    pub time: i64,
    pub area: &'static str,
    pub station: &'static str,
    pub state: &'static str,
    pub presence: Presence,
    pub entered: Option<i64>,
}

/// What is taken for true of a card at a record: a row, or its absence.
#[derive(Clone, Debug)]
struct Fact {
    time: i64,
    heard: i64,
    /// `None`: absent, from a complete snapshot or not.
    row: Option<Row>,
    complete: bool,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Mistake {
    None,
    AbsentIsOut,
    StaleCounts,
    LateCounts,
    UncertainIsGone,
    StationsNever,
    TimeForever,
    LastCardOnly,
    AreaSinceEntered,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Ask {
    Capacity,
    Alone,
    Overtime,
    Forbidden,
    Help,
    Vanished,
    Evacuation,
}

#[derive(Clone, Debug)]
pub struct Rule {
    pub ask: Ask,
    pub area: bool,
    pub after: i64,
    pub on_delay: i64,
    pub off_delay: i64,
    pub each: bool,
}

pub const CARDS: u8 = 4;
/// As in the catalog of the stand.
const FRESH: i64 = 30;

/// What is known of a card below.
#[derive(Debug)]
struct Known {
    area: &'static str,
    uncertain: bool,
    since: i64,
    area_since: i64,
    /// Time of its newest row, and the clock then.
    time: i64,
    heard: i64,
    seen: i64,
    states: Vec<&'static str>,
}

struct Model<'a> {
    came: &'a [Came],
    mistake: Mistake,
    /// The time of each snapshot that counts.
    snapshots: Vec<Option<i64>>,
}

impl<'a> Model<'a> {
    fn of(came: &'a [Came], mistake: Mistake) -> Self {
        let mut m = Self { came, mistake, snapshots: Vec::new() };
        for c in came {
            let counts = c.snapshot.and_then(|(time, _, stale)| {
                let (time, late) = m.place(time, c.at);
                let newest = m.snapshots.iter().flatten().max();
                let is_stale = stale && mistake != Mistake::StaleCounts;
                (!late && !is_stale && newest.is_none_or(|n| time >= *n)).then_some(time)
            });
            m.snapshots.push(counts);
        }
        m
    }

    fn place(&self, time: i64, at: i64) -> (i64, bool) {
        let time = if time > at + 300 { at } else { time };
        (time, at - time > 120 && self.mistake != Mistake::LateCounts)
    }

    /// Whether a snapshot counts, and its time.
    fn counts(&self, i: usize) -> Option<i64> {
        self.snapshots[i]
    }

    /// The facts of a card, from the first `n` records; and late work states behind the last of them.
    fn facts(&self, card: u8, n: usize) -> (Vec<Fact>, Option<&'static str>) {
        let (mut facts, mut late): (Vec<Fact>, Option<&'static str>) = (Vec::new(), None);
        let is_below = |facts: &[Fact]| facts.last().is_some_and(|f| !is_out(f, self.mistake));
        let newest =
            |facts: &[Fact]| facts.iter().filter(|f| f.row.is_some() || f.complete).map(|f| f.time).max();
        for (i, came) in self.came[..n].iter().enumerate() {
            let snapshot = self.counts(i);
            let mine: Vec<&Row> = came.rows.iter().filter(|r| r.card == card).collect();
            if let Some(time) = snapshot
                && mine.is_empty()
                && is_below(&facts)
                && newest(&facts).is_some_and(|n| n <= time)
            {
                let complete = came.snapshot.is_some_and(|s| s.1);
                facts.push(Fact { time, heard: came.at, row: None, complete });
            }
            for row in mine {
                let (time, is_late) = self.place(row.time, came.at);
                let time = snapshot.unwrap_or(time);
                let is_late = if came.snapshot.is_some() { snapshot.is_none() } else { is_late };
                let newer = newest(&facts).is_none_or(|n| time >= n);
                if is_late {
                    let newest = newest(&facts).unwrap_or(i64::MAX);
                    if is_below(&facts) && row.time > newest && row.presence != Presence::Out {
                        late = Some(row.state);
                    }
                } else if newer {
                    late = None;
                    facts.push(Fact { time, heard: came.at, row: Some(row.clone()), complete: false });
                }
            }
        }
        (facts, late)
    }

    fn known(&self, card: u8, n: usize) -> Option<Known> {
        let (facts, late) = self.facts(card, n);
        let last_out = facts.iter().rposition(|f| is_out(f, self.mistake));
        let stay = &facts[last_out.map_or(0, |i| i + 1)..];
        let rows: Vec<(&Fact, &Row)> = stay.iter().filter_map(|f| Some((f, f.row.as_ref()?))).collect();
        let &(first, _) = rows.first()?;
        let &(last, newest) = rows.last()?;
        let placed: Vec<_> = rows.iter().filter(|(_, r)| !r.area.is_empty()).collect();
        let area = placed.last().map_or("", |(_, r)| r.area);
        // Since the first row of the newest run of rows in that area.
        let other = placed.iter().rposition(|(_, r)| r.area != area).map_or(0, |i| i + 1);
        let first_area = rows.first().filter(|(_, r)| r.area.is_empty() && placed.is_empty());
        let area_since = placed.get(other).or(first_area.as_ref()).map_or(first.time, |(f, _)| f.time);
        let entered = rows.iter().rev().find_map(|(_, r)| r.entered);
        let mut seen = first.heard;
        let mut had_station = false;
        for (fact, row) in rows.iter().filter(|(_, r)| r.presence == Presence::Below) {
            if !row.station.is_empty() || !had_station || self.mistake == Mistake::StationsNever {
                seen = fact.heard;
            }
            had_station |= !row.station.is_empty();
        }
        Some(Known {
            area,
            uncertain: stay.last()?.row.as_ref().is_none_or(|r| r.presence == Presence::Uncertain),
            since: entered.unwrap_or(first.time),
            area_since: if self.mistake == Mistake::AreaSinceEntered { first.time } else { area_since },
            time: last.time,
            heard: last.heard,
            seen,
            states: [Some(newest.state), late].into_iter().flatten().collect(),
        })
    }

    /// Whether a record counted at all.
    fn counted(&self, i: usize) -> bool {
        let came = &self.came[i];
        if came.gas.is_some() {
            return false;
        }
        if came.snapshot.is_some() {
            return self.counts(i).is_some();
        }
        (0..CARDS).any(|card| self.facts(card, i + 1).0.len() > self.facts(card, i).0.len())
    }

    /// Whether the area is in alarm after the first `n` records.
    fn in_alarm(&self, n: usize) -> bool {
        self.came[..n].iter().rev().find_map(|c| c.gas) == Some(true)
    }

    /// The newest event time of the first `n` records.
    fn as_of(&self, n: usize) -> i64 {
        let rows = (0..CARDS).flat_map(|c| self.facts(c, n).0).filter(|f| f.row.is_some()).map(|f| f.time);
        rows.chain((0..n).filter_map(|i| self.counts(i))).max().unwrap_or(0)
    }
}

fn is_out(fact: &Fact, mistake: Mistake) -> bool {
    match &fact.row {
        Some(row) => row.presence == Presence::Out,
        None => fact.complete || mistake == Mistake::AbsentIsOut,
    }
}

/// What is asked at an anchor: whether over (`None`: unknown), its number, the cards.
type Answer = (Option<bool>, f64, BTreeSet<u8>);

fn ask(m: &Model<'_>, rule: &Rule, n: usize, now: i64, heard: i64, is_record: bool) -> Answer {
    let below: Vec<(u8, Known)> = (0..CARDS).filter_map(|c| Some((c, m.known(c, n)?))).collect();
    let only = below.len() == 1;
    let gone = |k: &Known| m.mistake == Mistake::UncertainIsGone && k.uncertain;
    let there: Vec<&(u8, Known)> =
        below.iter().filter(|(_, k)| (!rule.area || k.area == "A") && !gone(k)).collect();
    let is_astray = |card: u8| {
        let row = m.facts(card, n).0.iter().rev().find_map(|f| f.row.clone());
        rule.area && row.is_some_and(|r| r.area.is_empty())
    };
    let uncertain = there.iter().filter(|(c, k)| k.uncertain || is_astray(*c)).count();
    let count = there.len();
    let fresh = is_record || now - heard <= FRESH || m.mistake == Mistake::TimeForever;
    let lasts = |k: &Known| k.time - if rule.area { k.area_since } else { k.since } + (now - k.heard).max(0);
    let meets = |c: u8, k: &Known| match rule.ask {
        Ask::Capacity | Ask::Alone => false,
        Ask::Overtime => fresh && lasts(k) >= rule.after,
        Ask::Forbidden => fresh && c != 0 && lasts(k) >= rule.after,
        Ask::Help => k.states.contains(&"SOS"),
        Ask::Vanished if only => now - k.seen >= rule.after,
        Ask::Vanished => is_record && heard - k.seen >= rule.after,
        Ask::Evacuation => m.in_alarm(n),
    };
    let met: BTreeSet<u8> = there.iter().filter(|(c, k)| meets(*c, k)).map(|(c, _)| *c).collect();
    let limit = if rule.area { 1 } else { 2 };
    match rule.ask {
        Ask::Capacity => (Some(count > limit), count as f64, met),
        Ask::Alone if count == 1 && uncertain == 0 => (Some(true), 1.0, met),
        Ask::Alone if count - uncertain < 2 && uncertain > 0 => (None, count as f64, met),
        Ask::Alone => (Some(false), count as f64, met),
        _ => (Some(!met.is_empty()), met.len() as f64, met),
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Step {
    Plain,
    Further,
    Update,
}

/// Second, what it became, number.
pub type Decided = Vec<(i64, bool, f64, Step)>;

/// A level at work.
#[derive(Default)]
struct Level {
    on: bool,
    met: BTreeSet<u8>,
    /// First and last over, and when that came; first below.
    over: Option<(i64, i64, i64)>,
    below: Option<i64>,
    /// What was told last, and when.
    told: (f64, i64),
    out: Decided,
}

impl Level {
    fn push(&mut self, time: i64, number: f64, step: Step) {
        self.out.push((time, self.on, number, step));
    }

    fn at_record(
        &mut self,
        rule: &Rule,
        second: i64,
        as_of: i64,
        (is, number, cards): Answer,
        forgets: bool,
    ) {
        let (was_on, before) = (self.on, self.out.len());
        let further = self.on && rule.each && cards.iter().any(|c| !self.met.contains(c));
        match is {
            Some(true) => {
                let first = self.over.map_or(as_of, |o| o.0);
                (self.below, self.over) = (None, Some((first, as_of, second)));
                if !self.on && as_of - first >= rule.on_delay {
                    self.on = true;
                    self.push(as_of, number, Step::Plain);
                } else if further {
                    self.push(as_of, number, Step::Further);
                }
            }
            Some(false) => {
                self.over = None;
                let first = *self.below.get_or_insert(as_of);
                if self.on && as_of - first >= rule.off_delay {
                    self.on = false;
                    self.push(as_of, number, Step::Plain);
                }
            }
            None => {}
        }
        if is.is_some() && !forgets {
            self.met = cards;
        }
        if !self.on {
            self.below = None;
        }
        self.tell(was_on, before, second, as_of, number);
    }

    fn as_time_passes(&mut self, rule: &Rule, second: i64, (is, number, cards): Answer) {
        let (was_on, before) = (self.on, self.out.len());
        let counts = matches!(rule.ask, Ask::Capacity | Ask::Alone);
        let new = cards.iter().any(|c| !self.met.contains(c));
        if !counts && is == Some(true) && new {
            self.met.extend(cards);
        }
        // Time knows of more only.
        let number = if counts { number } else { self.met.len() as f64 };
        if counts {
            let served = |(first, last, seen): (i64, i64, i64)| {
                second - seen <= FRESH && last - first + (second - seen) >= rule.on_delay
            };
            if !self.on && self.over.is_some_and(served) {
                self.on = true;
                self.push(second, number, Step::Plain);
            }
        } else if is == Some(true) && new {
            self.below = None;
            let step = if self.on { Step::Further } else { Step::Plain };
            self.on = true;
            if step == Step::Plain || rule.each {
                self.push(second, number, step);
            }
        }
        self.tell(was_on, before, second, second, number);
    }

    fn tell(&mut self, was_on: bool, before: usize, second: i64, time: i64, number: f64) {
        let is_other = number != self.told.0 && second - self.told.1 >= 60;
        if was_on && self.on && self.out.len() == before && is_other {
            self.push(time, number, Step::Update);
        }
        if self.out.len() > before {
            self.told = (number, second);
        }
    }
}

/// Each second its records, then a tick.
pub fn decide(rule: &Rule, came: &[Came], until: i64, mistake: Mistake) -> Decided {
    let m = Model::of(came, mistake);
    let (mut level, mut heard, mut n) = (Level::default(), i64::MIN / 4, 0);
    for second in 0..=until {
        while n < came.len() && came[n].at == second {
            n += 1;
            let alarm_changes = rule.ask == Ask::Evacuation && m.in_alarm(n) != m.in_alarm(n - 1);
            let as_of = if alarm_changes { second } else { m.as_of(n) };
            if !m.counted(n - 1) && !alarm_changes {
                continue;
            }
            heard = if alarm_changes { heard } else { second };
            let answer = ask(&m, rule, n, second, heard, true);
            level.at_record(rule, second, as_of, answer, mistake == Mistake::LastCardOnly);
        }
        level.as_time_passes(rule, second, ask(&m, rule, n, second, heard, false));
    }
    level.out
}
