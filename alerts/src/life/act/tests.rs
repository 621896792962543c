//! Every pair of state and action, one by one, beside the table in `docs/alarms.md`, which is written from the code.

use super::*;
use crate::life::{Step, step};
use crate::store::conformance::transition;
use model::{Condition, To};
use std::fmt::Write;

const DOCS: &str = include_str!("../../../../docs/alarms.md");

fn actions() -> Vec<(&'static str, What)> {
    let text = || "x".to_owned();
    vec![
        ("acknowledge", What::Acknowledge),
        ("comment", What::Comment),
        ("shelve", What::Shelve { until: 99, one_shot: false }),
        ("unshelve", What::Unshelve),
        ("urge", What::Urge { way: text(), called: text() }),
        ("dispose", What::Dispose { cause: text(), measure: text() }),
        ("close", What::CloseOut),
        ("return", What::Return),
    ]
}

/// Done by `li`, unless it is said by whom.
fn done(alarm: &Alarm, what: &What, by: &str) -> Result<(Alarm, EventKind), &'static str> {
    act(alarm, &Act::new(what.clone(), by), 7)
}

fn raised() -> Alarm {
    let Step::Event(changed) = step(None, &transition(1, "alarm", To::On, 1.1)) else { unreachable!() };
    changed.row.alarm
}

/// An alarm in each condition.
fn conditions() -> Vec<(Condition, Alarm)> {
    let acked = done(&raised(), &What::Acknowledge, "li").unwrap().0;
    let over = |alarm: &Alarm| Alarm { state: AlarmState::Closed, closed: Some(5), ..alarm.clone() };
    let shelved = done(&raised(), &What::Shelve { until: 9, one_shot: true }, "li").unwrap().0;
    [raised(), acked.clone(), shelved, over(&raised()), over(&acked)]
        .into_iter()
        .map(|alarm| (alarm.condition(), alarm))
        .collect()
}

/// An alarm that is over, with each state of what is done about it.
fn cases() -> Vec<(&'static str, Alarm)> {
    let none = Alarm { state: AlarmState::Closed, ..raised() };
    let after = |alarm: &Alarm, what: usize, by: &str| done(alarm, &actions()[what].1, by).unwrap().0;
    let urged = after(&none, 4, "county");
    let disposed = after(&none, 5, "li");
    let (closed, returned) = (after(&disposed, 6, "wang"), after(&disposed, 7, "wang"));
    vec![("none", none), ("urged", urged), ("disposed", disposed), ("returned", returned), ("closed", closed)]
}

fn cell(after: Result<(Alarm, EventKind), &'static str>, state: impl Fn(&Alarm) -> String) -> String {
    after.map_or_else(
        |why| format!("`{why}`"),
        |(alarm, event)| format!("{} ({})", state(&alarm), event.as_str()),
    )
}

fn table(
    states: &[(String, Alarm)],
    what: std::ops::Range<usize>,
    state: impl Fn(&Alarm) -> String,
) -> String {
    let mut out = String::from("|");
    for name in std::iter::once("").chain(states.iter().map(|(name, _)| name.as_str())) {
        let _ = write!(out, " {name} |");
    }
    let _ = writeln!(out, "\n|{}", "---|".repeat(states.len() + 1));
    for (word, what) in &actions()[what] {
        let _ = write!(out, "| {word} |");
        for (_, alarm) in states {
            let _ = write!(out, " {} |", cell(done(alarm, what, "zhao"), &state));
        }
        out.push('\n');
    }
    out
}

fn case_word(alarm: &Alarm) -> String {
    alarm.case.as_ref().map_or("none".to_owned(), |case| format!("{:?}", case.state).to_lowercase())
}

#[test]
fn the_tables_in_the_document_are_those_of_the_code() {
    let by_condition: Vec<_> =
        conditions().into_iter().map(|(c, alarm)| (c.as_str().to_owned(), alarm)).collect();
    let by_case: Vec<_> = cases().into_iter().map(|(name, alarm)| (name.to_owned(), alarm)).collect();
    let tables = [
        table(&by_condition, 0..4, |alarm| alarm.condition().as_str().to_owned()),
        table(&by_case, 4..8, case_word),
    ];
    for table in tables {
        assert!(DOCS.contains(&table), "docs/alarms.md lacks\n\n{table}");
    }
}

#[test]
fn what_an_action_leaves_alone_stays() {
    for (_, alarm) in conditions().into_iter().map(|(c, a)| (c.as_str(), a)).chain(cases()) {
        for (word, what) in actions() {
            let Ok((after, _)) = done(&alarm, &what, "zhao") else { continue };
            let mut expected = alarm.clone();
            match what {
                What::Acknowledge => {
                    (expected.acked, expected.acked_by, expected.acked_at) =
                        (true, Some("zhao".into()), Some(7));
                }
                What::Shelve { .. } => expected.shelved.clone_from(&after.shelved),
                What::Unshelve => {
                    (expected.shelved, expected.acked, expected.acked_by, expected.acked_at) =
                        (None, false, None, None);
                }
                What::Comment => {}
                _ => expected.case.clone_from(&after.case),
            }
            assert_eq!(after, expected, "{word}");
        }
    }
}

#[test]
fn a_second_person_verifies_and_not_while_the_alarm_is_on() {
    let disposed = done(&raised(), &actions()[5].1, "li").unwrap().0;
    assert_eq!(done(&disposed, &What::CloseOut, "wang"), Err("active"));
    let over = Alarm { state: AlarmState::Closed, ..disposed };
    assert_eq!(done(&over, &What::CloseOut, "li"), Err("same_person"));
    let case = done(&over, &What::CloseOut, "wang").unwrap().0.case.unwrap();
    assert_eq!((case.disposed_by.as_deref(), case.verified_by.as_deref()), (Some("li"), Some("wang")));
    // Reported anew, nobody has looked at it.
    let returned = done(&over, &What::Return, "wang").unwrap().0;
    let again = done(&returned, &actions()[5].1, "li").unwrap().0.case.unwrap();
    assert_eq!((again.state, again.verified_by), (CaseState::Disposed, None));
}
