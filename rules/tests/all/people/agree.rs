//! Rules about people decide what their model decides: random series of messages and snapshots, complete and not, stale, late, out of
//! order, ahead; alarms of the area between them. The same restored from a snapshot before every entry. Planted mistakes are found.

use super::model::{Ask, CARDS, Came, Decided, Mistake, Row, Rule, Step, decide};
use super::{evaluator, rule, t};
use crate::stand::{Event, START, apply};
use ::model::people::{Position, Positions, Presence, Snapshot};
use ::model::time::SECOND;
use ::model::{To, Transition};
use proptest::prelude::*;
use rules::Evaluator;
use std::collections::BTreeSet;

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
