//! What every alarm store promises, a function a promise. Each is given a fresh store made with [`receivers`] and [`places`].

use crate::notifiers::webhook::WebhookSettings;
use crate::receiver::Receiver;
use crate::{
    Act, AlarmEvent, AlarmFilter, AlarmStore, EventKind, Outcome, OwnAlarm, Places, TransitionBatch, What,
};
use model::transition::Marks;
use model::{AlarmState, Micros, Offset, Origin, Place, PointId, Severity, To, Transition, TransitionId};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

mod acting;
mod telling;

/// A county, a second office, a province that is told from orange up of region 14 only, and a drill receiver.
pub fn receivers() -> Vec<Receiver> {
    let mut province = receiver("province");
    (province.severity, province.regions, province.own) = (Severity::Orange, vec!["14".to_owned()], false);
    vec![receiver("county"), receiver("office"), province, Receiver { drill: true, ..receiver("drill") }]
}

fn receiver(name: &str) -> Receiver {
    let settings = WebhookSettings {
        url: "http://127.0.0.1:1/".to_owned(),
        secret: None,
        ca: None,
        timeout: Duration::from_secs(1),
    };
    Receiver::new(name, Arc::new(settings))
}

/// Site `M1` lies in region 140100, every other in 620000.
pub fn places() -> Arc<dyn Places> {
    Arc::new(Two)
}

#[derive(Debug)]
struct Two;

impl Places for Two {
    fn place(&self, site: &str, point: &str) -> Place {
        let region = if site == "M1" { "140100" } else { "620000" }.to_owned();
        Place {
            region,
            site_name: format!("mine {site}"),
            point_name: format!("place {point}"),
            ..Place::default()
        }
    }
}

/// A transition of rule `ch4` at point `T1` of site `M1`, `n` seconds after the beginning; `n` makes its id.
pub fn transition(n: u64, level: &str, to: To, value: f64) -> Transition {
    let point_id = PointId::of("M1", "T1");
    let rank = u32::from(level == "cut");
    Transition {
        id: TransitionId::of("ch4", point_id, level, Origin { collector: 1, sequence: n }, 0, 0),
        time: n as Micros * 1_000_000,
        decided: n as Micros * 1_000_000,
        offset: Offset { partition: 0, number: n },
        site: "M1".to_owned(),
        point: "T1".to_owned(),
        point_id,
        rule: "ch4".to_owned(),
        version: "v".to_owned(),
        level: level.to_owned(),
        rank,
        to,
        value: Some(value),
        peak: None,
        severity: if rank == 1 { Severity::Orange } else { Severity::Yellow },
        reason: format!("{value} %"),
        marks: Marks::default(),
    }
}

/// The same at another site.
fn at(site: &str, t: Transition) -> Transition {
    let point_id = PointId::of(site, "T1");
    Transition { id: id_at(site, &t), site: site.to_owned(), point_id, ..t }
}

fn id_at(site: &str, t: &Transition) -> TransitionId {
    TransitionId::of(
        "ch4",
        PointId::of(site, "T1"),
        &t.level,
        Origin { collector: 2, sequence: t.offset.number },
        0,
        0,
    )
}

fn batch(next: u64, transitions: Vec<Transition>) -> TransitionBatch {
    TransitionBatch { partition: 0, next, transitions, now: next as Micros * 1_000_000, hold: false }
}

/// Somebody who has seen it.
pub fn seen_by(name: &str) -> Act {
    Act::new(What::Acknowledge, name)
}

const LATER: Micros = 1_000_000_000_000;

/// All promises, each on a store of its own.
pub async fn suite<S: AlarmStore, F: Future<Output = S>>(mut make: impl FnMut() -> F) {
    an_alarm_opens_steps_and_closes(&make().await).await;
    a_transition_is_taken_once(&make().await).await;
    an_action_says_what_it_did(&make().await).await;
    what_rises_is_unacknowledged_again(&make().await).await;
    an_orphan_is_withdrawn_by_hand(&make().await).await;
    a_list_has_pages_and_filters(&make().await).await;
    own_alarms_are_cleared_by_hand(&make().await).await;
    own_alarms_of_one_instant_are_two(&make().await).await;
    acting::suite(&mut make).await;
    telling::suite(&mut make).await;
}

/// What a receiver is told, in order, taken from the outbox as the dispatcher does.
async fn told(store: &impl AlarmStore, receiver: &str) -> Vec<Value> {
    let mut out = Vec::new();
    loop {
        let due = store.outbox_due(receiver, LATER, 100).await.unwrap();
        if due.is_empty() {
            return out;
        }
        for message in due {
            out.push(serde_json::from_slice(&message.body).unwrap());
            store.delivered(&message.key, LATER).await.unwrap();
        }
    }
}

fn events_of(told: &[Value]) -> Vec<&str> {
    told.iter().map(|m| m["event"].as_str().unwrap()).collect()
}

fn kinds(events: &[AlarmEvent]) -> Vec<EventKind> {
    events.iter().map(|e| e.event).collect()
}

fn words(done: &[Outcome]) -> Vec<&str> {
    done.iter().map(|d| d.outcome).collect()
}

async fn an_alarm_opens_steps_and_closes(store: &impl AlarmStore) {
    let steps = [
        transition(1, "alarm", To::On, 1.1),
        transition(2, "cut", To::On, 1.6),
        transition(3, "cut", To::Off, 0.9),
        transition(4, "alarm", To::Off, 0.9),
    ];
    let events = store.apply(batch(3, steps[..2].to_vec())).await.unwrap();
    assert_eq!(kinds(&events), [EventKind::Raised, EventKind::Changed]);
    let active = store.list(&AlarmFilter::default()).await.unwrap();
    assert_eq!(active.len(), 1);
    let alarm = &active[0];
    assert_eq!((alarm.level.as_str(), alarm.severity, alarm.peak), ("cut", Severity::Orange, Some(1.6)));
    assert_eq!(alarm.id, steps[0].id.to_string());
    assert_eq!((alarm.place.region.as_str(), alarm.place.site_name.as_str()), ("140100", "mine M1"));
    let events = store.apply(batch(5, steps[2..].to_vec())).await.unwrap();
    assert_eq!(kinds(&events), [EventKind::Changed, EventKind::Cleared]);
    assert!(store.list(&AlarmFilter::default()).await.unwrap().is_empty());
    let all = store.list(&AlarmFilter { all: true, ..AlarmFilter::default() }).await.unwrap();
    assert_eq!((all[0].state, all[0].closed), (AlarmState::Closed, Some(4_000_000)));
    assert_eq!(all[0].level, "cut", "after closing the highest level it reached is shown");
    assert_eq!(store.position(0).await.unwrap(), 5);
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.raised, counts.cleared, counts.sent, counts.pending), (1, 1, 11, 11));
    let county = told(store, "county").await;
    assert_eq!(events_of(&county), ["raised", "changed", "changed", "cleared"]);
    assert_eq!(
        (&county[0]["time"], &county[0]["alarm"]["state"]),
        (&"1970-01-01T00:00:01.000Z".into(), &"active".into())
    );
    assert!(told(store, "drill").await.is_empty());
    let events = store.events_after(1, 2).await.unwrap();
    assert_eq!(events.iter().map(|e| e.seq).collect::<Vec<_>>(), [2, 3]);
}

async fn a_transition_is_taken_once(store: &impl AlarmStore) {
    let on = transition(1, "alarm", To::On, 1.1);
    store.apply(batch(1, vec![on.clone(), on.clone()])).await.unwrap();
    assert!(store.apply(batch(1, vec![on.clone()])).await.unwrap().is_empty(), "an offset that was taken");
    assert!(store.apply(batch(2, vec![on.clone()])).await.unwrap().is_empty(), "an id that was taken");
    store.apply(batch(3, vec![transition(3, "alarm", To::Off, 0.9), on])).await.unwrap();
    assert!(store.list(&AlarmFilter::default()).await.unwrap().is_empty(), "nor after its end");
    assert_eq!(store.head().await.unwrap().seq, 2);
    assert_eq!(events_of(&told(store, "county").await), ["raised", "cleared"]);
    store.apply(batch(2, Vec::new())).await.unwrap();
    assert_eq!(store.position(0).await.unwrap(), 3, "a position never goes back");
}

async fn an_action_says_what_it_did(store: &impl AlarmStore) {
    let first = transition(1, "alarm", To::On, 1.1);
    let id = first.id.to_string();
    store.apply(batch(1, vec![first])).await.unwrap();
    let ids = vec![id.clone(), "no such".to_owned()];
    let seen = store.head().await.unwrap().seq;
    store.apply(batch(2, vec![transition(2, "cut", To::On, 1.6)])).await.unwrap();
    let done = store.act(&ids, &Act { seen_seq: Some(seen), ..seen_by("wang") }, 9).await.unwrap();
    assert_eq!(words(&done), ["changed", "gone"], "it rose after what the caller had seen");
    let seen = store.head().await.unwrap().seq;
    store.apply(batch(3, vec![transition(3, "cut", To::Off, 0.9)])).await.unwrap();
    let done = store.act(&ids[..1], &Act { seen_seq: Some(seen), ..seen_by("wang") }, 9).await.unwrap();
    assert_eq!(words(&done), ["acked"], "that it fell meanwhile is no reason to refuse");
    assert_eq!(words(&store.act(&ids[..1], &seen_by("li"), 9).await.unwrap()), ["already"]);
    let alarm = store.get(&id).await.unwrap().unwrap();
    assert_eq!(
        (alarm.acked, alarm.acked_by.as_deref(), alarm.state),
        (true, Some("wang"), AlarmState::Active)
    );
    assert_eq!(
        words(&store.act(&ids, &Act::new(What::Clear, "wang").with_note(""), 9).await.unwrap()),
        ["active", "gone"]
    );
    assert_eq!(kinds(&store.events_after(3, 9).await.unwrap()), [EventKind::Acknowledged]);
    assert_eq!(
        events_of(&told(store, "county").await),
        ["raised", "changed", "changed"],
        "nobody is told of it"
    );
}

async fn what_rises_is_unacknowledged_again(store: &impl AlarmStore) {
    let ids = [transition(1, "alarm", To::On, 1.1).id.to_string()];
    store.apply(batch(1, vec![transition(1, "alarm", To::On, 1.1)])).await.unwrap();
    store.act(&ids, &seen_by("wang"), 9).await.unwrap();
    store.apply(batch(2, vec![transition(2, "cut", To::On, 1.6)])).await.unwrap();
    let alarm = store.get(&ids[0]).await.unwrap().unwrap();
    assert_eq!((alarm.acked, alarm.acked_by, alarm.acked_at), (false, None, None));
    store.act(&ids, &seen_by("li"), 9).await.unwrap();
    store
        .apply(batch(4, vec![transition(3, "cut", To::Off, 0.9), transition(4, "alarm", To::Off, 0.9)]))
        .await
        .unwrap();
    let alarm = store.get(&ids[0]).await.unwrap().unwrap();
    assert_eq!(alarm.acked_by.as_deref(), Some("li"), "falling keeps it");
}

async fn an_orphan_is_withdrawn_by_hand(store: &impl AlarmStore) {
    let on = vec![transition(1, "alarm", To::On, 1.1), transition(2, "cut", To::On, 1.6)];
    let ids = [on[0].id.to_string()];
    store.apply(batch(2, on)).await.unwrap();
    assert_eq!(
        words(
            &store.act(&ids, &Act::new(What::Withdraw, "wang").with_note("point is gone"), 9).await.unwrap()
        ),
        ["cleared"]
    );
    assert_eq!(
        words(&store.act(&ids, &Act::new(What::Withdraw, "wang").with_note(""), 9).await.unwrap()),
        ["already"]
    );
    let alarm = store.get(&ids[0]).await.unwrap().unwrap();
    assert_eq!(
        (alarm.state, alarm.withdrawn, alarm.reason.as_str()),
        (AlarmState::Closed, true, "closed by wang: point is gone")
    );
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.raised, counts.cleared, counts.withdrawn), (1, 0, 1));
    assert_eq!(events_of(&told(store, "county").await).last(), Some(&"cleared"));
    store.apply(batch(3, vec![transition(3, "alarm", To::Off, 0.9)])).await.unwrap();
    let again = transition(4, "alarm", To::On, 1.1);
    store.apply(batch(4, vec![again.clone()])).await.unwrap();
    assert_eq!(
        store.list(&AlarmFilter::default()).await.unwrap()[0].id,
        again.id.to_string(),
        "a rule that is there after all"
    );
}

async fn a_list_has_pages_and_filters(store: &impl AlarmStore) {
    let mut all = Vec::new();
    for n in 0..6u64 {
        let site = format!("M{}", n % 3);
        let on = at(&site, transition(n + 1, if n == 4 { "cut" } else { "alarm" }, To::On, 1.0));
        all.push(Transition { rule: format!("r{n}"), ..on.clone() });
        if n < 2 {
            let off =
                at(&site, Transition { rule: format!("r{n}"), ..transition(n + 100, "alarm", To::Off, 0.0) });
            all.push(off);
        }
    }
    let id = |n: u64| {
        id_at(&format!("M{}", n % 3), &transition(n + 1, if n == 4 { "cut" } else { "alarm" }, To::On, 1.0))
            .to_string()
    };
    store.apply(batch(200, all)).await.unwrap();
    let ids = async |filter: AlarmFilter| -> Vec<String> {
        store.list(&filter).await.unwrap().into_iter().map(|a| a.id).collect()
    };
    let everything = AlarmFilter { all: true, ..AlarmFilter::default() };
    let whole = ids(everything.clone()).await;
    assert_eq!(whole, [5, 4, 3, 2, 1, 0].map(id), "active first, newest first");
    let mut paged = Vec::new();
    while paged.len() < 6 {
        let page = ids(AlarmFilter { limit: 2, after: paged.last().cloned(), ..everything.clone() }).await;
        assert_eq!(page.len(), 2);
        paged.extend(page);
    }
    assert_eq!(paged, whole);
    assert!(ids(AlarmFilter { after: paged.last().cloned(), ..everything.clone() }).await.is_empty());
    assert!(ids(AlarmFilter { after: Some("no such".into()), ..everything.clone() }).await.is_empty());
    assert_eq!(ids(AlarmFilter::default()).await, [5, 4, 3, 2].map(id));
    assert_eq!(ids(AlarmFilter { site: Some("M1".into()), ..everything.clone() }).await, [4, 1].map(id));
    assert_eq!(
        ids(AlarmFilter { severity: Some(Severity::Orange), ..everything.clone() }).await,
        [4].map(id)
    );
    for region in ["140100", "1401", "14"] {
        assert_eq!(
            ids(AlarmFilter { region: Some(region.into()), ..everything.clone() }).await,
            [4, 1].map(id),
            "{region}"
        );
    }
    let none = AlarmFilter { site: Some("M1".into()), region: Some("62".into()), ..everything };
    assert!(ids(none).await.is_empty());
}

fn own(on: bool) -> OwnAlarm {
    let (what, key, reason) = ("log-silent".to_owned(), "3".to_owned(), "no tick".to_owned());
    OwnAlarm { what, key, severity: Severity::Orange, reason, on }
}

async fn own_alarms_are_cleared_by_hand(store: &impl AlarmStore) {
    store.raise_own(own(true), 1).await.unwrap();
    store.raise_own(own(true), 2).await.unwrap();
    let active = store.list(&AlarmFilter::default()).await.unwrap();
    assert_eq!(active.len(), 1, "raised twice is one alarm");
    assert_eq!(active[0].rule, "firedamp/log-silent");
    let done = store
        .act(&[active[0].id.clone()], &Act::new(What::Clear, "wang").with_note("seen to"), 3)
        .await
        .unwrap();
    assert_eq!(done[0].outcome, "cleared");
    assert!(store.list(&AlarmFilter::default()).await.unwrap().is_empty());
    assert_eq!(store.counts().await.unwrap().raised, 0, "own alarms are not the mines'");
    assert_eq!(events_of(&told(store, "office").await), ["raised", "cleared"]);
    assert!(told(store, "province").await.is_empty(), "it has not asked for firedamp's own");
}

async fn own_alarms_of_one_instant_are_two(store: &impl AlarmStore) {
    for on in [true, false, true, true, false, false, true] {
        store.raise_own(own(on), 5).await.unwrap();
    }
    let all = store.list(&AlarmFilter { all: true, ..AlarmFilter::default() }).await.unwrap();
    assert_eq!(all.iter().filter(|a| a.state == AlarmState::Active).count(), 1);
    assert_eq!(all.len(), 3);
    let office = told(store, "office").await;
    assert_eq!(events_of(&office).iter().filter(|e| **e == "raised").count(), 3);
    assert_eq!(office.len(), 5);
}
