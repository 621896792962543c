//! Rules about people against a model simpler than the code: it keeps every record, and works out each card anew from all of them at
//! every question. Random series of messages and snapshots, complete and not, stale, late, out of order, ahead, seen before; restored
//! from a snapshot before every entry. Planted mistakes are found.

use super::{evaluator, rule, t};
use crate::stand::{Event, START, apply};
use ::model::people::{Position, Positions, Presence, Snapshot};
use ::model::time::SECOND;
use ::model::{To, Transition};
use proptest::prelude::*;
use rules::Evaluator;
use std::collections::BTreeSet;

/// A record, in seconds.
#[derive(Clone, Debug)]
pub struct Came {
    at: i64,
    rows: Vec<Row>,
    /// Time, complete, stale.
    snapshot: Option<(i64, bool, bool)>,
    /// No positions: a reading of the area's methane, over or not.
    gas: Option<bool>,
}

#[derive(Clone, Debug)]
struct Row {
    card: u8,
    time: i64,
    area: &'static str,
    station: &'static str,
    state: &'static str,
    presence: Presence,
    entered: Option<i64>,
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
enum Mistake {
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
enum Ask {
    Capacity,
    Alone,
    Overtime,
    Forbidden,
    Help,
    Vanished,
    Evacuation,
}

#[derive(Clone, Debug)]
struct Rule {
    ask: Ask,
    area: bool,
    after: i64,
    on_delay: i64,
    off_delay: i64,
    each: bool,
}

const CARDS: u8 = 4;
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

impl Model<'_> {
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
enum Step {
    Plain,
    Further,
    Update,
}

/// Second, what it became, number.
type Decided = Vec<(i64, bool, f64, Step)>;

/// Each second its records, then a tick.
fn decide(rule: &Rule, came: &[Came], until: i64, mistake: Mistake) -> Decided {
    let mut m = Model { came, mistake, snapshots: Vec::new() };
    for c in came {
        let counts = c.snapshot.and_then(|(time, _, stale)| {
            let (time, late) = m.place(time, c.at);
            let newest = m.snapshots.iter().flatten().max();
            let is_stale = stale && mistake != Mistake::StaleCounts;
            (!late && !is_stale && newest.is_none_or(|n| time >= *n)).then_some(time)
        });
        m.snapshots.push(counts);
    }
    let (mut on, mut met, mut heard) = (false, BTreeSet::new(), i64::MIN / 4);
    // First and last over, and when that came; first below.
    let (mut over, mut below): (Option<(i64, i64, i64)>, Option<i64>) = (None, None);
    let (mut out, mut n) = (Decided::new(), 0);
    // What was told last, and when.
    let (mut told, mut told_at) = (0.0, 0);
    for second in 0..=until {
        while n < came.len() && came[n].at == second {
            n += 1;
            let alarm_changes = rule.ask == Ask::Evacuation && m.in_alarm(n) != m.in_alarm(n - 1);
            let as_of = if alarm_changes { second } else { m.as_of(n) };
            if !m.counted(n - 1) && !alarm_changes {
                continue;
            }
            if !alarm_changes {
                heard = second;
            }
            let (was_on, before) = (on, out.len());
            let (is, number, cards) = ask(&m, rule, n, second, heard, true);
            let further = on && rule.each && cards.iter().any(|c| !met.contains(c));
            match is {
                Some(true) => {
                    below = None;
                    over = Some((over.map_or(as_of, |o| o.0), as_of, second));
                    if !on && as_of - over.unwrap().0 >= rule.on_delay {
                        on = true;
                        out.push((as_of, true, number, Step::Plain));
                    } else if further {
                        out.push((as_of, true, number, Step::Further));
                    }
                }
                Some(false) => {
                    over = None;
                    let first = *below.get_or_insert(as_of);
                    if on && as_of - first >= rule.off_delay {
                        (on, below) = (false, None);
                        out.push((as_of, false, number, Step::Plain));
                    }
                }
                None => {}
            }
            if is.is_some() && mistake != Mistake::LastCardOnly {
                met = cards;
            }
            if !on {
                below = None;
            }
            if was_on && on && out.len() == before && number != told && second - told_at >= 60 {
                out.push((as_of, true, number, Step::Update));
            }
            if out.len() > before {
                (told, told_at) = (number, second);
            }
        }
        let before = out.len();
        let was_on = on;
        let (is, number, cards) = ask(&m, rule, n, second, heard, false);
        if matches!(rule.ask, Ask::Capacity | Ask::Alone) {
            if let Some((first, last, seen)) = over.filter(|_| !on)
                && second - seen <= FRESH
                && last - first + (second - seen) >= rule.on_delay
            {
                on = true;
                out.push((second, true, number, Step::Plain));
            }
        } else if is == Some(true) && cards.iter().any(|c| !met.contains(c)) {
            below = None;
            if !on {
                on = true;
                out.push((second, true, number, Step::Plain));
            } else if rule.each {
                out.push((second, true, number, Step::Further));
            }
            met.extend(cards);
        }
        // Time knows of more only.
        let number = if matches!(rule.ask, Ask::Capacity | Ask::Alone) { number } else { met.len() as f64 };
        if was_on && on && out.len() == before && number != told && second - told_at >= 60 {
            out.push((second, true, number, Step::Update));
        }
        if out.len() > before {
            let last = out.last_mut().unwrap();
            last.2 = number;
            (told, told_at) = (number, second);
        }
    }
    out
}

fn toml(r: &Rule) -> String {
    let after = format!("after = \"{}s\"", r.after);
    let (word, keys) = match r.ask {
        Ask::Capacity => ("capacity", format!("on_delay = \"{}s\"", r.on_delay)),
        Ask::Alone => ("alone", format!("on_delay = \"{}s\"", r.on_delay)),
        Ask::Overtime => ("overtime", after),
        Ask::Forbidden => ("forbidden", format!("{after}\nallow = [\"C0\"]")),
        Ask::Help => ("help", "states = [\"SOS\"]".to_owned()),
        Ask::Vanished => ("vanished", after),
        Ask::Evacuation => ("evacuation", String::new()),
    };
    let each = match r.ask {
        Ask::Capacity | Ask::Alone => String::new(),
        _ => format!("each = {}", r.each),
    };
    let point = if r.area { "A" } else { "people" };
    let select = format!("select = {{ point = \"{point}\" }}");
    let text =
        rule("r", "x", &format!("what = \"{word}\"\n{keys}\noff_delay = \"{}s\"\n{each}", r.off_delay));
    let gas = "[[rule]]\nname = \"gas\"\nkind = \"limit\"\nselect = { point = \"T1\" }\nlevel = [{ name = \"alarm\", on = \">= 1\" }]\n";
    text.replace("select = { quantity = \"x\" }", &select) + gas
}

fn events(came: &[Came], until: i64) -> Vec<Event> {
    let position = |r: &Row| Position {
        site: "M1".into(),
        card: format!("C{}", r.card),
        name: String::new(),
        area: r.area.into(),
        station: r.station.into(),
        time: t(r.time),
        presence: r.presence,
        entered: r.entered.map(t),
        state: r.state.into(),
    };
    let mut out = Vec::new();
    for second in 0..=until {
        for c in came.iter().filter(|c| c.at == second) {
            let snapshot = c.snapshot.map(|(time, complete, stale)| Snapshot {
                site: "M1".into(),
                time: t(time),
                complete,
                stale,
            });
            if let Some(over) = c.gas {
                let row = ("T1", t(second), if over { 1.2 } else { 0.2 }, 0);
                out.push(Event::Rows(t(second), 0, vec![row]));
                continue;
            }
            let rows = c.rows.iter().map(position).collect();
            out.push(Event::People(t(second), 0, Positions { rows, snapshot }));
        }
        out.push(Event::Tick(t(second)));
    }
    out
}

fn shown(out: &[Transition]) -> Decided {
    let line = |t: &Transition| {
        let step = match (t.marks.further, t.marks.update) {
            (false, false) => Step::Plain,
            (true, _) => Step::Further,
            (_, true) => Step::Update,
        };
        ((t.time - START).div_euclid(SECOND), t.to == To::On, t.value.unwrap_or(-1.0), step)
    };
    out.iter().filter(|t| t.rule == "r").map(line).collect()
}

fn rules() -> impl Strategy<Value = Rule> {
    let what = prop_oneof![
        Just(Ask::Capacity),
        Just(Ask::Alone),
        Just(Ask::Overtime),
        Just(Ask::Forbidden),
        Just(Ask::Help),
        Just(Ask::Vanished),
        Just(Ask::Evacuation)
    ];
    let delay = || prop_oneof![Just(0i64), Just(0), 1i64..12];
    (what, any::<bool>(), 1i64..25, delay(), delay(), any::<bool>()).prop_map(
        |(ask, area, after, on_delay, off_delay, each)| {
            let counts = matches!(ask, Ask::Capacity | Ask::Alone);
            let on_delay = if counts { on_delay } else { 0 };
            Rule { ask, area, after, on_delay, off_delay, each: each && !counts && ask != Ask::Overtime }
        },
    )
}

fn row() -> impl Strategy<Value = Row> {
    let area = prop_oneof![4 => Just("A"), 3 => Just("B"), 1 => Just("")];
    let station = prop_oneof![2 => Just("S"), 2 => Just("")];
    let state = prop_oneof![4 => Just(""), 2 => Just("SOS")];
    let presence =
        prop_oneof![8 => Just(Presence::Below), 2 => Just(Presence::Out), 1 => Just(Presence::Uncertain)];
    let lag = prop_oneof![8 => Just(0i64), 2 => 1i64..8, 1 => Just(121i64), 1 => Just(120), 1 => Just(-301)];
    let entered = prop_oneof![5 => Just(None), 1 => (0i64..20).prop_map(Some)];
    (0..CARDS, area, station, state, presence, lag, entered).prop_map(
        |(card, area, station, state, presence, lag, entered)| {
            // Relative to the record for now.
            Row { card, time: -lag, area, station, state, presence, entered: entered.map(|e| -e) }
        },
    )
}

/// Records of one series; between them some seconds, seldom many.
fn series() -> impl Strategy<Value = Vec<Came>> {
    let gap = prop_oneof![6 => 0i64..6, 2 => 6i64..20, 1 => 25i64..45, 1 => Just(130i64)];
    let snapshot = prop_oneof![
        4 => Just(None),
        3 => (prop_oneof![4 => Just(0i64), 1 => 1i64..8, 1 => Just(121i64)], any::<bool>(), prop::bool::weighted(0.15))
            .prop_map(Some)
    ];
    let gas = prop_oneof![4 => Just(None), 1 => any::<bool>().prop_map(Some)];
    type One = (i64, Option<(i64, bool, bool)>, Vec<Row>, Option<bool>);
    prop::collection::vec((gap, snapshot, prop::collection::vec(row(), 0..4), gas), 1..9).prop_map(|all| {
        let mut at = 0;
        let record = |(gap, snapshot, mut rows, gas): One| {
            if gas.is_some() {
                // A reading of the same time again clears nothing.
                (rows, at) = (Vec::new(), at + gap.max(1));
                return Came { at, rows, snapshot: None, gas };
            }
            at += gap;
            for row in &mut rows {
                row.time += at;
                row.entered = row.entered.map(|e| e + at);
            }
            // One row a card in a record.
            let mut seen = BTreeSet::new();
            rows.retain(|r| seen.insert(r.card));
            Came {
                at,
                rows,
                snapshot: snapshot.map(|(lag, complete, stale)| (at - lag, complete, stale)),
                gas,
            }
        };
        all.into_iter().map(record).collect()
    })
}

fn until(came: &[Came]) -> i64 {
    came.last().map_or(0, |c| c.at) + 70
}

fn code(rule: &Rule, came: &[Came]) -> Vec<Transition> {
    let (mut e, mut out) = (evaluator(&toml(rule)), Vec::new());
    (0..).zip(&events(came, until(came))).for_each(|(i, event)| apply(&mut e, i, event, &mut out));
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]
    #[test]
    fn the_code_and_the_model_decide_the_same(rule in rules(), came in series()) {
        let expected = decide(&rule, &came, until(&came), Mistake::None);
        prop_assert_eq!(shown(&code(&rule, &came)), expected, "{}", toml(&rule));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    /// A snapshot before every entry changes nothing.
    #[test]
    fn restored_before_every_entry_it_goes_on(rule in rules(), came in series()) {
        let catalog = super::mine();
        let (program, _) = crate::stand::program_for(&toml(&rule), &catalog);
        let (mut e, mut out) = (Evaluator::new(program.clone(), catalog.clone()), Vec::new());
        for (i, event) in (0..).zip(&events(&came, until(&came))) {
            let shards = [e.snapshot(0)];
            e = Evaluator::restore(program.clone(), catalog.clone(), &shards).unwrap().0;
            apply(&mut e, i, event, &mut out);
        }
        prop_assert_eq!(out, code(&rule, &came));
    }
}

/// A comparison that finds none of these would say nothing.
#[test]
fn planted_mistakes_are_found() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut found = BTreeSet::new();
    let all = [
        Mistake::AbsentIsOut,
        Mistake::StaleCounts,
        Mistake::LateCounts,
        Mistake::UncertainIsGone,
        Mistake::StationsNever,
        Mistake::TimeForever,
        Mistake::LastCardOnly,
        Mistake::AreaSinceEntered,
    ];
    for _ in 0..3000 {
        let rule = rules().new_tree(&mut runner).unwrap().current();
        let came = series().new_tree(&mut runner).unwrap().current();
        let right = shown(&code(&rule, &came));
        for (i, mistake) in all.iter().enumerate() {
            if !found.contains(&i) && decide(&rule, &came, until(&came), *mistake) != right {
                found.insert(i);
            }
        }
        if found.len() == all.len() {
            return;
        }
    }
    let missed: Vec<_> = all.iter().enumerate().filter(|(i, _)| !found.contains(i)).collect();
    panic!("not found: {missed:?}");
}
