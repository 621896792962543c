//! What is told along the life of an alarm where routes decide, and what is counted where nobody is told.

use super::{EAST, receivers, routes};
use alerts::{
    Act, AlarmStore, MemoryStore, OwnAlarm, Routes, RoutesInForce, SqlStore, TransitionBatch, What,
    conformance,
};
use model::time::parse_local;
use model::{Micros, Severity, To, Transition};
use prometheus::Registry;
use serde_json::Value;
use std::sync::Arc;

const NAMES: [&str; 4] = ["day", "night", "province", "it"];
const ROUTES: &str = r#"
[[route]]
name = "worst"
severity = "at least orange"
continue = true
to = "province"

[[route]]
name = "day"
time = "08:00-20:00"
to = "day"

[[route]]
name = "night"
to = "night"

[[route]]
name = "own"
own = true
to = "it"
"#;

fn store(text: &str) -> (MemoryStore, RoutesInForce) {
    let in_force = RoutesInForce::new(Arc::new(routes(text, &NAMES)));
    let store = MemoryStore::new(receivers(&NAMES)).with_places(conformance::places());
    (store.with_routes(in_force.clone()), in_force)
}

fn decided(time: &str, t: Transition) -> Transition {
    Transition { decided: parse_local(time, EAST).unwrap(), ..t }
}

/// Takes one transition, much later than it was decided, and gives what each receiver is then told.
async fn take(store: &impl AlarmStore, n: u64, hold: bool, t: Transition) -> Vec<(&'static str, String)> {
    let now = parse_local("2027-01-01 12:00", EAST).unwrap();
    store.apply(TransitionBatch { partition: 0, next: n, transitions: vec![t], now, hold }).await.unwrap();
    said(store, now).await
}

pub(super) async fn said(store: &(impl AlarmStore + ?Sized), now: Micros) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    for name in NAMES {
        loop {
            let due = store.outbox_due(name, Micros::MAX, 100).await.unwrap();
            if due.is_empty() {
                break;
            }
            for message in due {
                let body: Value = serde_json::from_slice(&message.body).unwrap();
                out.push((name, body["event"].as_str().unwrap().to_owned()));
                store.delivered(&message.key, now).await.unwrap();
            }
        }
    }
    out
}

fn all<'a>(event: &str, names: &[&'a str]) -> Vec<(&'a str, String)> {
    names.iter().map(|n| (*n, event.to_owned())).collect()
}

#[tokio::test]
async fn who_was_told_hears_how_it_goes_on_and_a_rise_tells_others() {
    let (store, _) = store(ROUTES);
    let on = |n, level| conformance::transition(n, level, To::On, 1.1);
    let off = |n, level| conformance::transition(n, level, To::Off, 0.9);
    let raised = take(&store, 1, false, decided("2026-12-01 19:59", on(1, "alarm"))).await;
    assert_eq!(raised, all("raised", &["day"]), "by the time at which it was decided");
    let mut update = decided("2026-12-01 20:01", on(2, "alarm"));
    update.marks.update = true;
    assert_eq!(
        take(&store, 2, false, update).await,
        [],
        "a shift that begins is told of nothing that stands"
    );
    let rose = take(&store, 3, false, decided("2026-12-01 20:02", on(3, "cut"))).await;
    let expected = [all("changed", &["day"]), all("raised", &["night", "province"])].concat();
    assert_eq!(rose, expected, "it is worse, and it is night");
    let fell = take(&store, 4, false, decided("2026-12-02 09:00", off(4, "cut"))).await;
    assert_eq!(fell, all("changed", &["day", "night", "province"]));
    let over = take(&store, 5, false, decided("2026-12-02 09:01", off(5, "alarm"))).await;
    assert_eq!(over, all("cleared", &["day", "night", "province"]));
}

#[tokio::test]
async fn one_that_falls_tells_nobody_new() {
    let (store, _) = store(ROUTES);
    let on = |n, level| conformance::transition(n, level, To::On, 1.1);
    take(&store, 1, false, decided("2026-12-01 19:58", on(1, "alarm"))).await;
    take(&store, 2, false, decided("2026-12-01 19:59", on(2, "cut"))).await;
    let off = conformance::transition(3, "cut", To::Off, 0.9);
    let fell = take(&store, 3, false, decided("2026-12-01 20:01", off)).await;
    assert_eq!(fell, all("changed", &["day", "province"]));
}

#[tokio::test]
async fn a_batch_taken_again_reaches_the_same_with_the_same_keys() {
    let keys = async |now: Micros| {
        let (store, _) = store(ROUTES);
        let transitions = vec![decided("2026-12-01 19:59", conformance::transition(1, "cut", To::On, 1.6))];
        store.apply(TransitionBatch { partition: 0, next: 1, transitions, now, hold: false }).await.unwrap();
        let mut keys = Vec::new();
        for name in NAMES {
            keys.extend(
                store.outbox_due(name, Micros::MAX, 9).await.unwrap().into_iter().map(|m| (m.key, m.body)),
            );
        }
        keys
    };
    let at_once = keys(parse_local("2026-12-01 19:59", EAST).unwrap()).await;
    assert_eq!(at_once.len(), 2);
    assert_eq!(at_once, keys(parse_local("2026-12-02 03:00", EAST).unwrap()).await);
}

#[tokio::test]
async fn what_was_held_and_digests_go_by_the_routes_too() {
    let (store, _) = store(ROUTES);
    let night = |n, level, to| decided("2026-12-01 23:00", conformance::transition(n, level, to, 1.1));
    assert_eq!(take(&store, 1, true, night(1, "alarm", To::On)).await, []);
    assert_eq!(take(&store, 2, true, night(2, "cut", To::On)).await, []);
    let mut late = night(4, "cut", To::On);
    late.marks.late = true;
    assert_eq!(take(&store, 3, false, late).await, all("raised", &["night", "province"]), "as it stands");
    let after = parse_local("2027-01-01 12:30", EAST).unwrap();
    store.flush(after).await.unwrap();
    assert_eq!(said(&store, after).await, all("digest", &["night", "province"]));
}

#[tokio::test]
async fn routes_are_replaced_as_a_whole_and_own_alarms_have_their_route() {
    let (store, in_force) = store(ROUTES);
    let own = |key: &str| OwnAlarm {
        what: "disk-full".to_owned(),
        key: key.to_owned(),
        severity: Severity::Orange,
        reason: "full".to_owned(),
        on: true,
    };
    store.raise_own(own("a"), 1).await.unwrap();
    assert_eq!(said(&store, 2).await, all("raised", &["it"]));
    in_force.replace(Arc::new(routes("to = \"province\"\n", &NAMES)));
    store.raise_own(own("b"), 3).await.unwrap();
    assert_eq!(said(&store, 4).await, all("raised", &["province"]));
    store.raise_own(OwnAlarm { on: false, ..own("a") }, 5).await.unwrap();
    assert_eq!(
        said(&store, 6).await,
        all("cleared", &["it"]),
        "who was told hears the end, whatever the routes say by then"
    );
}

/// What is on the shelf when it opens is told to nobody; when it comes back, by itself or by hand, to those of that moment.
#[tokio::test]
async fn what_comes_back_from_the_shelf_is_told_to_the_shift_of_that_moment() {
    let at = |time: &str| parse_local(time, EAST).unwrap();
    for by_hand in [false, true] {
        let (store, _) = store(ROUTES);
        let take = async |n: u64, time: &str, to| {
            let transitions = vec![decided(time, conformance::transition(n, "alarm", to, 1.1))];
            let batch = TransitionBatch { partition: 0, next: n, transitions, now: at(time), hold: false };
            store.apply(batch).await.unwrap();
            said(&store, at(time)).await
        };
        assert_eq!(take(1, "2026-12-01 18:00", To::On).await, all("raised", &["day"]));
        let first = conformance::transition(1, "alarm", To::On, 1.1).id.to_string();
        let shelve = What::Shelve { until: at("2026-12-02 03:00"), one_shot: false };
        store
            .act(std::slice::from_ref(&first), &Act::new(shelve, "wang"), at("2026-12-01 18:10"))
            .await
            .unwrap();
        assert_eq!(take(2, "2026-12-01 18:20", To::Off).await, all("cleared", &["day"]));
        assert_eq!(take(3, "2026-12-01 19:59", To::On).await, []);
        store.flush(at("2026-12-02 02:59")).await.unwrap();
        assert_eq!(said(&store, at("2026-12-02 02:59")).await, []);
        let back = if by_hand {
            let take_back = Act::new(What::Unshelve, "li");
            store.act(&[first], &take_back, at("2026-12-02 02:59")).await.unwrap();
            at("2026-12-02 02:59")
        } else {
            store.flush(at("2026-12-02 03:00")).await.unwrap();
            at("2026-12-02 03:00")
        };
        assert_eq!(said(&store, back).await, all("raised", &["night"]), "by hand: {by_hand}");
        assert_eq!(take(4, "2026-12-02 09:00", To::Off).await, all("cleared", &["night"]));
    }
}

/// What a metric counts, over all its labels.
fn count(registry: &Registry, name: &str) -> f64 {
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let values = text.lines().filter(|l| l.starts_with(name)).filter_map(|l| l.rsplit(' ').next());
    values.map(|v| v.parse::<f64>().unwrap()).sum()
}

#[tokio::test]
async fn what_nobody_is_told_of_is_counted_once_until_it_rises() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, url) = (Registry::new(), format!("sqlite:{}", dir.path().join("alarms.db").display()));
    let text = "[[route]]\nname = \"other\"\nrule = \"other\"\nto = \"day\"\n";
    let routes = RoutesInForce::new(Arc::new(routes(text, &NAMES)));
    let store = SqlStore::open(&url, receivers(&NAMES), &registry).await.unwrap().with_routes(routes);
    let t = |n, level, to| conformance::transition(n, level, to, 1.1);
    let updated = |n| {
        let mut update = t(n, "alarm", To::On);
        update.marks.update = true;
        update
    };
    let mut further = t(7, "alarm", To::On);
    further.marks.further = true;
    let steps = [
        (t(1, "alarm", To::On), 1.0, "it opens"),
        (updated(2), 1.0, "its words are newer"),
        (t(3, "cut", To::On), 2.0, "it rises"),
        (updated(4), 2.0, "a level below it has newer words"),
        (t(5, "cut", To::Off), 2.0, "it falls"),
        (updated(6), 2.0, "its words are newer again"),
        (further, 3.0, "one more meets its condition"),
        (t(8, "cut", To::On), 4.0, "it rises again"),
        (t(9, "cut", To::Off), 4.0, "it falls again"),
        (t(10, "alarm", To::Off), 4.0, "it ends"),
        (t(11, "alarm", To::On), 5.0, "the next one"),
    ];
    for (n, (step, expected, what)) in (1..).zip(steps) {
        assert_eq!(take(&store, n, false, step).await, []);
        assert_eq!(count(&registry, "firedamp_alerts_untold_total"), expected, "{what}");
    }
}

#[tokio::test]
async fn what_nobody_is_told_of_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let duty = "from,to,person,receiver\n2030-01-01 08:00,2030-01-01 20:00,Wang,day\n";
    std::fs::write(dir.path().join("duty.csv"), duty).unwrap();
    let text = "[[roster]]\nname = \"duty\"\nfile = \"duty.csv\"\nfallback = \"night\"\n\
                [[route]]\nname = \"cut\"\nlevel = \"cut\"\nto = \"duty\"\n";
    let mut problems = model::Problems::default();
    let routes = Routes::parse(&dir.path().join("routes.toml"), text, &receivers(&NAMES), &mut problems);
    let routes = RoutesInForce::new(Arc::new(routes.unwrap_or_else(|| panic!("{problems}"))));
    let (registry, url) = (Registry::new(), format!("sqlite:{}", dir.path().join("alarms.db").display()));
    let store = SqlStore::open(&url, receivers(&NAMES), &registry).await.unwrap().with_routes(routes);
    let count = |name: &str| count(&registry, name);
    assert_eq!(take(&store, 1, false, conformance::transition(1, "alarm", To::On, 1.1)).await, []);
    assert_eq!(
        (count("firedamp_alerts_untold_total"), count("firedamp_alerts_roster_holes_total")),
        (1.0, 0.0)
    );
    let cut = take(&store, 2, false, conformance::transition(2, "cut", To::On, 1.6)).await;
    assert_eq!(cut, all("raised", &["night"]));
    assert_eq!(
        (count("firedamp_alerts_untold_total"), count("firedamp_alerts_roster_holes_total")),
        (1.0, 1.0)
    );
}
