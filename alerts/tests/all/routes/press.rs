//! Who is pressed while nobody acknowledges an alarm, and when, on every store.

use super::life::said;
use super::{read, receivers, routes};
use alerts::life::What;
use alerts::{Act, AlarmStore, MemoryStore, Routes, RoutesInForce, SqlStore, TransitionBatch, conformance};
use model::time::{MINUTE, SECOND};
use model::{Micros, To, Transition};
use prometheus::Registry;
use std::sync::Arc;

const NAMES: [&str; 4] = ["day", "night", "province", "it"];
const PRESSED: &str = r#"
to = "day"
repeat = "10min"

[[escalate]]
after = "5min"
to = "province"

[[escalate]]
after = "15min"
to = ["it"]
"#;

/// When the first alarm is raised.
const RAISED: Micros = 1_800_000_000 * SECOND;
/// When the first message of it is delivered: the clock starts.
const BEGIN: Micros = RAISED + SECOND;

/// Runs on a store in memory, one in a file, and one in PostgreSQL.
async fn on_each(text: &str, test: impl AsyncFn(&dyn AlarmStore, RoutesInForce)) {
    on_each_of(&NAMES, text, test).await;
}

/// The same over other receivers.
pub(super) async fn on_each_of(
    names: &[&str],
    text: &str,
    test: impl AsyncFn(&dyn AlarmStore, RoutesInForce),
) {
    let in_force = || RoutesInForce::new(Arc::new(routes(text, names)));
    let in_memory = in_force();
    test(&MemoryStore::new(receivers(names)).with_routes(in_memory.clone()), in_memory).await;
    let (in_file, dir) = (in_force(), tempfile::tempdir().unwrap());
    let url = format!("sqlite:{}", dir.path().join("alarms.db").display());
    let server = tests::postgres::start();
    for (url, in_force) in [(url, in_file), (server.database(), in_force())] {
        let store = SqlStore::open(&url, receivers(names), &Registry::new()).await.unwrap();
        test(&store.with_routes(in_force.clone()), in_force).await;
    }
}

async fn apply(store: &dyn AlarmStore, n: u64, to: To, level: &str, now: Micros, hold: bool) {
    let transitions = vec![Transition { decided: now, ..conformance::transition(n, level, to, 1.1) }];
    store.apply(TransitionBatch { partition: 0, next: n, transitions, now, hold }).await.unwrap();
}

/// What is told when the clocks are looked at, a second after which it is delivered.
async fn at(store: &dyn AlarmStore, now: Micros) -> Vec<(&'static str, String)> {
    store.flush(now).await.unwrap();
    said(store, now + SECOND).await
}

fn one(name: &'static str, event: &str) -> Vec<(&'static str, String)> {
    vec![(name, event.to_owned())]
}

async fn id(store: &dyn AlarmStore) -> Vec<String> {
    store.list(&Default::default()).await.unwrap().into_iter().map(|a| a.id).collect()
}

#[tokio::test]
async fn the_next_level_is_told_in_time_and_only_while_nobody_acknowledges() {
    on_each(PRESSED, async |store, _| {
        apply(store, 1, To::On, "alarm", RAISED, false).await;
        assert_eq!(said(store, BEGIN).await, one("day", "raised"));
        assert_eq!(at(store, BEGIN + 5 * MINUTE - 1).await, []);
        assert_eq!(at(store, BEGIN + 5 * MINUTE).await, one("province", "escalated"));
        assert_eq!(at(store, BEGIN + 10 * MINUTE - 1).await, [], "once, and its delivery starts no clock");
        assert_eq!(at(store, BEGIN + 10 * MINUTE).await, one("day", "reminded"));
        assert_eq!(at(store, BEGIN + 15 * MINUTE).await, one("it", "escalated"));
        assert_eq!(at(store, BEGIN + 20 * MINUTE).await, one("day", "reminded"));
        let id = id(store).await;
        let history = store.history(&id[0]).await.unwrap();
        let escalated: Vec<_> = history.iter().filter(|e| e.event == "escalated").collect();
        let notes: Vec<&str> = escalated.iter().map(|e| e.note.as_str()).collect();
        assert_eq!(notes, ["not acknowledged for 5min", "not acknowledged for 15min"]);
        assert_eq!(escalated[0].detail, r#"{"to":["province"]}"#);

        store.act(&id, &conformance::seen_by("wang"), BEGIN + 25 * MINUTE).await.unwrap();
        assert_eq!(at(store, BEGIN + 60 * MINUTE).await, [], "somebody has seen it");
        // What rises has to be seen again, and who was pressed before is pressed again.
        apply(store, 2, To::On, "cut", BEGIN + 61 * MINUTE, false).await;
        let begin = BEGIN + 61 * MINUTE + 30 * SECOND;
        assert_eq!(said(store, begin).await.len(), 3, "changed, to all who know of it");
        assert_eq!(at(store, begin + 5 * MINUTE - 1).await, []);
        assert_eq!(at(store, begin + 5 * MINUTE).await, one("province", "escalated"));
    })
    .await;
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_stops_no_clock() {
    on_each(PRESSED, async |store, _| {
        apply(store, 1, To::On, "alarm", RAISED, false).await;
        store.flush(RAISED + 6 * MINUTE - 1).await.unwrap();
        assert!(store.outbox_due("province", Micros::MAX, 9).await.unwrap().is_empty());
        store.flush(RAISED + 6 * MINUTE).await.unwrap();
        assert_eq!(store.outbox_due("province", Micros::MAX, 9).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_was_missed_is_made_up_for_once() {
    on_each(PRESSED, async |store, _| {
        apply(store, 1, To::On, "alarm", RAISED, false).await;
        said(store, BEGIN).await;
        let all = [one("day", "reminded"), one("province", "escalated"), one("it", "escalated")].concat();
        assert_eq!(at(store, BEGIN + 47 * MINUTE).await, all);
        assert_eq!(at(store, BEGIN + 50 * MINUTE).await, one("day", "reminded"));
    })
    .await;
}

#[tokio::test]
async fn what_is_held_shelved_or_over_presses_nobody() {
    on_each(PRESSED, async |store, _| {
        apply(store, 1, To::On, "alarm", RAISED, false).await;
        said(store, BEGIN).await;
        // The rules are behind: whether it is still on is not known.
        store
            .apply(TransitionBatch { partition: 0, next: 1, transitions: vec![], now: BEGIN, hold: true })
            .await
            .unwrap();
        assert_eq!(at(store, BEGIN + 6 * MINUTE).await, []);
        store
            .apply(TransitionBatch { partition: 0, next: 1, transitions: vec![], now: BEGIN, hold: false })
            .await
            .unwrap();
        assert_eq!(at(store, BEGIN + 7 * MINUTE).await, one("province", "escalated"));

        let id = id(store).await;
        let until = BEGIN + 100 * MINUTE;
        let shelve = Act::new(What::Shelve { until, one_shot: false }, "wang").with_note("fan is changed");
        store.act(&id, &shelve, BEGIN + 8 * MINUTE).await.unwrap();
        assert_eq!(at(store, BEGIN + 99 * MINUTE).await, []);
        assert_eq!(at(store, until).await, [], "it is back, and who knows of it is not told again");
        assert_eq!(
            at(store, until + 6 * MINUTE).await,
            one("province", "escalated"),
            "its clock begins anew"
        );

        apply(store, 2, To::Off, "alarm", until + 7 * MINUTE, false).await;
        assert_eq!(said(store, until + 7 * MINUTE).await.len(), 2);
        assert_eq!(at(store, until + 1000 * MINUTE).await, []);
    })
    .await;
}

#[tokio::test]
async fn other_routes_press_for_what_stands_already() {
    on_each("to = \"day\"\n", async |store, in_force| {
        apply(store, 1, To::On, "alarm", RAISED, false).await;
        said(store, BEGIN).await;
        assert_eq!(at(store, BEGIN + 60 * MINUTE).await, []);
        in_force.replace(Arc::new(routes(PRESSED, &NAMES)));
        let all = [one("day", "reminded"), one("province", "escalated"), one("it", "escalated")].concat();
        assert_eq!(at(store, BEGIN + 61 * MINUTE).await, all);
        in_force.replace(Arc::new(routes(PRESSED, &NAMES)));
        assert_eq!(at(store, BEGIN + 62 * MINUTE).await, [], "who knows of it is not told once more");
        in_force.replace(Arc::new(routes("to = \"day\"\n", &NAMES)));
        assert_eq!(at(store, BEGIN + 100 * MINUTE).await, []);
    })
    .await;
}

#[tokio::test]
async fn reminders_do_not_stand_for_a_step_that_comes_later() {
    on_each("to = \"day\"\nrepeat = \"10min\"\n", async |store, in_force| {
        apply(store, 1, To::On, "alarm", RAISED, false).await;
        said(store, BEGIN).await;
        assert_eq!(at(store, BEGIN + 30 * MINUTE).await, one("day", "reminded"));
        in_force.replace(Arc::new(routes(PRESSED, &NAMES)));
        let both = [one("province", "escalated"), one("it", "escalated")].concat();
        assert_eq!(at(store, BEGIN + 31 * MINUTE).await, both);
        assert_eq!(at(store, BEGIN + 40 * MINUTE).await, one("day", "reminded"));
    })
    .await;
}

/// A step that was done is not done again for the next shift, whatever comes into force and however often the process starts.
#[tokio::test]
async fn a_change_of_shift_and_a_reload_escalate_nothing_anew() {
    let dir = tempfile::tempdir().unwrap();
    let change = model::time::rfc3339(BEGIN + 7 * MINUTE);
    let duty = format!(
        "from,to,person,receiver\n2026-01-01T00:00:00Z,{change},Wang,night\n{change},2029-01-01T00:00:00Z,Li,province\n"
    );
    std::fs::write(dir.path().join("duty.csv"), duty).unwrap();
    let text = "to = \"day\"\n[[escalate]]\nafter = \"5min\"\nto = \"duty\"\n\
                [[roster]]\nname = \"duty\"\nfile = \"duty.csv\"\nfallback = \"it\"\n";
    let read = || {
        let mut problems = model::Problems::default();
        let routes = Routes::parse(&dir.path().join("routes.toml"), text, &receivers(&NAMES), &mut problems);
        Arc::new(routes.unwrap_or_else(|| panic!("{problems}")))
    };
    let in_force = RoutesInForce::new(read());
    let store = MemoryStore::new(receivers(&NAMES)).with_routes(in_force.clone());
    apply(&store, 1, To::On, "alarm", RAISED, false).await;
    said(&store, BEGIN).await;
    assert_eq!(at(&store, BEGIN + 5 * MINUTE).await, one("night", "escalated"));
    in_force.replace(read());
    assert_eq!(at(&store, BEGIN + 8 * MINUTE).await, [], "it is Li's shift, and the step was done");
    store.crash();
    assert_eq!(at(&store, BEGIN + 9 * MINUTE).await, [], "nor at a start");
}

#[tokio::test]
async fn a_wall_clock_that_goes_back_stops_no_clock() {
    on_each(PRESSED, async |store, _| {
        apply(store, 1, To::On, "alarm", RAISED, false).await;
        store.flush(RAISED).await.unwrap();
        let back = RAISED - 600 * MINUTE;
        store.flush(back).await.unwrap();
        store.flush(back + 5 * MINUTE - 1).await.unwrap();
        assert!(store.outbox_due("province", Micros::MAX, 9).await.unwrap().is_empty());
        store.flush(back + 5 * MINUTE).await.unwrap();
        assert_eq!(store.outbox_due("province", Micros::MAX, 9).await.unwrap().len(), 1);
    })
    .await;
}

/// Whatever made it so that somebody has to acknowledge it, a clock runs.
#[tokio::test]
async fn no_alarm_waits_without_a_clock() {
    on_each(PRESSED, async |store, _| {
        apply(store, 1, To::On, "alarm", RAISED, false).await;
        said(store, BEGIN).await;
        store.act(&id(store).await, &conformance::seen_by("wang"), BEGIN).await.unwrap();
        // It rose and fell while the rules were behind: it stands as it was told, and nobody has seen that it rose.
        apply(store, 2, To::On, "cut", BEGIN + MINUTE, true).await;
        apply(store, 3, To::Off, "cut", BEGIN + MINUTE, true).await;
        let now = BEGIN + 2 * MINUTE;
        store
            .apply(TransitionBatch { partition: 0, next: 3, transitions: vec![], now, hold: false })
            .await
            .unwrap();
        assert_eq!(at(store, now + 6 * MINUTE - 1).await, []);
        assert_eq!(at(store, now + 6 * MINUTE).await, one("province", "escalated"));
        // Off the shelf by a level that those who know of it were told of before.
        let (cut, shelved) = (now + 7 * MINUTE, now + 8 * MINUTE);
        apply(store, 4, To::On, "cut", cut, false).await;
        said(store, cut).await;
        let shelve =
            Act::new(What::Shelve { until: now + 100 * MINUTE, one_shot: false }, "wang").with_note("x");
        store.act(&id(store).await, &shelve, shelved).await.unwrap();
        apply(store, 5, To::Off, "cut", shelved, false).await;
        apply(store, 6, To::On, "cut", shelved, false).await;
        assert_eq!(at(store, shelved + 6 * MINUTE).await, one("province", "escalated"));
    })
    .await;
}

#[tokio::test]
async fn a_roster_is_who_is_on_duty_when_it_is_pressed() {
    let dir = tempfile::tempdir().unwrap();
    let change = model::time::rfc3339(BEGIN + 7 * MINUTE);
    let duty = format!(
        "from,to,person,receiver\n2026-01-01T00:00:00Z,{change},Wang,day\n{change},2029-01-01T00:00:00Z,Li,night\n"
    );
    std::fs::write(dir.path().join("duty.csv"), duty).unwrap();
    let text = "to = \"duty\"\nrepeat = \"10min\"\n[[escalate]]\nafter = \"5min\"\nto = \"duty\"\n\
                [[roster]]\nname = \"duty\"\nfile = \"duty.csv\"\nfallback = \"it\"\n";
    let mut problems = model::Problems::default();
    let routes = Routes::parse(&dir.path().join("routes.toml"), text, &receivers(&NAMES), &mut problems);
    let routes = Arc::new(routes.unwrap_or_else(|| panic!("{problems}")));
    let store = MemoryStore::new(receivers(&NAMES)).with_routes(RoutesInForce::new(routes));
    apply(&store, 1, To::On, "alarm", RAISED, false).await;
    assert_eq!(said(&store, BEGIN).await, one("day", "raised"));
    // Late, after a change of shift.
    assert_eq!(at(&store, BEGIN + 8 * MINUTE).await, one("night", "escalated"));
    assert_eq!(at(&store, BEGIN + 10 * MINUTE).await, one("night", "reminded"));
}

#[test]
fn steps_are_those_of_the_route_above_unless_it_has_its_own() {
    let text = format!(
        "{PRESSED}\n[[route]]\nname = \"a\"\nlevel = \"alarm\"\nto = \"night\"\n\n[[route]]\nname = \"b\"\nto = \"night\"\nrepeat = \"1h\"\n\
         [[route.escalate]]\nafter = \"1min\"\nto = \"it\"\n"
    );
    let routes = routes(&text, &NAMES);
    let later = |level| {
        let alarm = conformance_alarm(level);
        let steps = routes.explain(&alarm, RAISED).later;
        steps.into_iter().map(|s| format!("{}: {}", s.when, s.receivers.join(", "))).collect::<Vec<_>>()
    };
    let above = [
        "not acknowledged for 5min: province",
        "not acknowledged, every 10min: night",
        "not acknowledged for 15min: it",
    ];
    assert_eq!(later("alarm"), above);
    assert_eq!(later("cut"), ["not acknowledged for 1min: it", "not acknowledged, every 1h: night"]);
}

fn conformance_alarm(level: &str) -> model::Alarm {
    use alerts::life::{Step, step};
    match step(None, &conformance::transition(1, level, To::On, 1.1)) {
        Step::Event(changed) => changed.row.alarm,
        Step::Nothing(why) => panic!("{why:?}"),
    }
}

#[test]
fn what_is_wrong_with_a_step_is_told_where_it_stands() {
    let text = "to = \"day\"\nrepeat = \"10s\"\n[[escalate]]\nto = \"provinz\"\n[[escalate]]\nafter = \"0s\"\nto = \"it\"\n";
    let (_, problems) = read(text, &NAMES);
    for part in [
        "2:10: error: `repeat` is 10s, the shortest is 1min",
        "3:1: error: `escalate.after` is missing",
        "there is no receiver or roster `provinz`",
        "did you mean `province`?",
        "`after` is 0ms, the shortest is 1s",
    ] {
        assert!(problems.contains(part), "{part} in\n{problems}");
    }
}
