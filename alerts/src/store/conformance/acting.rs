//! What people do: the shelf, what is done about an alarm, and that all of it stands in the journal.

use super::{LATER, at, batch, events_of, seen_by, told, transition, words};
use crate::journal::{self, Entry};
use crate::{Act, AlarmFilter, AlarmStore, EventKind, Happened, TransitionBatch, What};
use model::{Alarm, CaseState, Condition, Micros, Severity, To, Transition};
use serde_json::Value;

const SECOND: Micros = 1_000_000;

pub(super) async fn suite<S: AlarmStore, F: Future<Output = S>>(make: &mut impl FnMut() -> F) {
    what_is_shelved_is_told_to_nobody_until_its_time(&make().await).await;
    what_rises_leaves_the_shelf(&make().await).await;
    a_timed_shelf_holds_the_next_alarm_too(&make().await).await;
    a_one_shot_shelf_ends_with_its_alarm(&make().await).await;
    what_turns_real_leaves_the_shelf(&make().await).await;
    a_shelf_put_up_while_calibrating_holds_nothing_real(&make().await).await;
    a_shelf_holds_nothing_once_its_time_is_over(&make().await).await;
    a_shelf_can_be_taken_back_while_no_alarm_is_on(&make().await).await;
    who_was_told_before_hears_the_end_of_what_is_shelved(&make().await).await;
    a_case_goes_its_way_and_needs_two_people(&make().await).await;
    everything_is_in_the_journal(&make().await).await;
    the_first_digits_stand_for_an_id(&make().await).await;
}

fn shelve(until: Micros, one_shot: bool) -> Act {
    Act::new(What::Shelve { until, one_shot }, "wang").with_note("fan is changed")
}

async fn act(store: &impl AlarmStore, id: &str, act: &Act, now: Micros) -> &'static str {
    store.act(&[id.to_owned()], act, now).await.unwrap()[0].outcome
}

async fn alarm(store: &impl AlarmStore, id: &str) -> Alarm {
    store.get(id).await.unwrap().unwrap()
}

/// An alarm that nobody is told of yet, and its id.
async fn raised(store: &impl AlarmStore) -> String {
    let on = transition(1, "alarm", To::On, 1.1);
    store.apply(batch(1, vec![on.clone()])).await.unwrap();
    on.id.to_string()
}

async fn kinds(store: &impl AlarmStore, id: &str) -> Vec<String> {
    store.history(id).await.unwrap().into_iter().map(|e| e.event).filter(|e| e != "delivered").collect()
}

async fn what_is_shelved_is_told_to_nobody_until_its_time(store: &impl AlarmStore) {
    let id = raised(store).await;
    act(store, &id, &seen_by("li"), 2 * SECOND).await;
    told(store, "county").await;
    assert_eq!(act(store, &id, &shelve(60 * SECOND, false), 3 * SECOND).await, "shelved");
    let is = alarm(store, &id).await;
    assert_eq!((is.condition(), is.is_shelved()), (Condition::Shelved, true));
    store.flush(60 * SECOND - 1).await.unwrap();
    assert!(alarm(store, &id).await.is_shelved());
    assert!(told(store, "county").await.is_empty());
    store.flush(60 * SECOND).await.unwrap();
    let is = alarm(store, &id).await;
    assert_eq!(
        (is.condition(), &is.shelved),
        (Condition::Unacknowledged, &None),
        "somebody has to see it again"
    );
    assert!(told(store, "county").await.is_empty(), "they know of it");
    store.flush(61 * SECOND).await.unwrap();
    assert_eq!(kinds(store, &id).await, ["raised", "acknowledged", "shelved", "unshelved"]);
    assert_eq!(act(store, &id, &Act::new(What::Unshelve, "li"), 62 * SECOND).await, "not_shelved");
    act(store, &id, &shelve(90 * SECOND, false), 63 * SECOND).await;
    assert_eq!(act(store, &id, &Act::new(What::Unshelve, "li"), 64 * SECOND).await, "unshelved");
    assert_eq!(alarm(store, &id).await.condition(), Condition::Unacknowledged);
}

async fn what_rises_leaves_the_shelf(store: &impl AlarmStore) {
    let id = raised(store).await;
    told(store, "county").await;
    act(store, &id, &shelve(LATER, false), 2 * SECOND).await;
    store.apply(batch(3, vec![transition(3, "cut", To::On, 1.6)])).await.unwrap();
    let is = alarm(store, &id).await;
    assert_eq!((is.condition(), is.severity), (Condition::Unacknowledged, Severity::Orange));
    assert_eq!(events_of(&told(store, "county").await), ["changed"]);
    assert_eq!(kinds(store, &id).await, ["raised", "shelved", "changed", "unshelved"]);
    // Nor does its shelf hold the next one.
    let off = vec![transition(4, "cut", To::Off, 0.9), transition(5, "alarm", To::Off, 0.9)];
    store.apply(batch(6, off)).await.unwrap();
    store.apply(batch(7, vec![transition(6, "alarm", To::On, 1.1)])).await.unwrap();
    assert!(!store.list(&AlarmFilter::default()).await.unwrap()[0].is_shelved());
}

async fn a_timed_shelf_holds_the_next_alarm_too(store: &impl AlarmStore) {
    let id = raised(store).await;
    told(store, "county").await;
    act(store, &id, &shelve(60 * SECOND, false), 2 * SECOND).await;
    store.apply(batch(3, vec![transition(3, "alarm", To::Off, 0.9)])).await.unwrap();
    assert_eq!(act(store, &id, &shelve(LATER, false), 3 * SECOND).await, "over");
    assert_eq!(events_of(&told(store, "county").await), ["cleared"]);
    store.apply(batch(4, vec![transition(4, "alarm", To::On, 1.1)])).await.unwrap();
    // Another point is not on that shelf.
    store.apply(batch(5, vec![at("M2", transition(5, "alarm", To::On, 1.1))])).await.unwrap();
    let active = store.list(&AlarmFilter::default()).await.unwrap();
    assert_eq!(active.iter().map(Alarm::is_shelved).collect::<Vec<_>>(), [false, true]);
    assert_eq!(events_of(&told(store, "county").await), ["raised"]);
    store.flush(60 * SECOND).await.unwrap();
    let late = told(store, "county").await;
    assert_eq!(events_of(&late), ["raised"], "it is told as it stands");
    assert_eq!(late[0]["alarm"]["shelved"], Value::Null);
    // One that opens worse than what was put aside is not.
    let active =
        store.list(&AlarmFilter { site: Some("M1".into()), ..AlarmFilter::default() }).await.unwrap();
    act(store, &active[0].id, &shelve(LATER, false), 61 * SECOND).await;
    store.apply(batch(62, vec![transition(61, "alarm", To::Off, 0.9)])).await.unwrap();
    store.apply(batch(63, vec![transition(62, "cut", To::On, 1.7)])).await.unwrap();
    let active =
        store.list(&AlarmFilter { site: Some("M1".into()), ..AlarmFilter::default() }).await.unwrap();
    assert_eq!((active[0].level.as_str(), active[0].is_shelved()), ("cut", false));
}

async fn a_one_shot_shelf_ends_with_its_alarm(store: &impl AlarmStore) {
    let id = raised(store).await;
    act(store, &id, &shelve(LATER, true), 2 * SECOND).await;
    store.apply(batch(3, vec![transition(3, "alarm", To::Off, 0.9)])).await.unwrap();
    store.apply(batch(4, vec![transition(4, "alarm", To::On, 1.1)])).await.unwrap();
    assert!(!store.list(&AlarmFilter::default()).await.unwrap()[0].is_shelved());
    assert!(alarm(store, &id).await.shelved.is_some(), "that it was is kept");
    assert_eq!(kinds(store, &id).await, ["raised", "shelved", "cleared"]);
}

/// What a calibration decides.
fn calibrating(n: u64, to: To) -> Transition {
    let mut t = transition(n, "alarm", to, 1.1);
    t.marks.calibrating = true;
    t
}

/// The one alarm that is on.
async fn active(store: &impl AlarmStore) -> Alarm {
    let mut active = store.list(&AlarmFilter::default()).await.unwrap();
    assert_eq!(active.len(), 1);
    active.remove(0)
}

async fn what_turns_real_leaves_the_shelf(store: &impl AlarmStore) {
    store.apply(batch(1, vec![calibrating(1, To::On)])).await.unwrap();
    let id = active(store).await.id;
    assert_eq!(act(store, &id, &shelve(LATER, false), 2 * SECOND).await, "shelved");
    store.apply(batch(3, vec![transition(3, "alarm", To::On, 1.1)])).await.unwrap();
    let is = active(store).await;
    assert_eq!((is.condition(), is.marks.calibrating), (Condition::Unacknowledged, false));
    assert_eq!(events_of(&told(store, "county").await), ["raised"]);
    assert_eq!(kinds(store, &id).await, ["raised", "shelved", "changed", "unshelved"]);
    assert!(store.shelved().await.unwrap().is_empty());
}

async fn a_shelf_put_up_while_calibrating_holds_nothing_real(store: &impl AlarmStore) {
    store.apply(batch(1, vec![calibrating(1, To::On)])).await.unwrap();
    act(store, &active(store).await.id, &shelve(LATER, false), 2 * SECOND).await;
    store.apply(batch(4, vec![calibrating(3, To::Off), calibrating(4, To::On)])).await.unwrap();
    assert!(active(store).await.is_shelved(), "the next calibration is on it too");
    store.apply(batch(6, vec![calibrating(5, To::Off), transition(6, "alarm", To::On, 1.1)])).await.unwrap();
    let is = active(store).await;
    assert_eq!((is.is_shelved(), is.marks.calibrating), (false, false), "a real one of the same severity");
    assert_eq!(events_of(&told(store, "county").await), ["raised"]);
    assert!(store.shelved().await.unwrap().is_empty());
}

/// Also where nobody has taken it away yet: that is done once a second, and not while firedamp is down.
async fn a_shelf_holds_nothing_once_its_time_is_over(store: &impl AlarmStore) {
    for (opens, is_held) in [(59, true), (60, false)] {
        let n = opens * 10;
        store.apply(batch(n, vec![transition(n, "alarm", To::On, 1.1)])).await.unwrap();
        act(store, &active(store).await.id, &shelve(60 * SECOND, false), 2 * SECOND).await;
        let [off, on] = [(n + 1, To::Off), (n + 2, To::On)].map(|(n, to)| transition(n, "alarm", to, 1.1));
        store.apply(batch(n + 1, vec![off])).await.unwrap();
        told(store, "county").await;
        let now = opens as Micros * SECOND;
        store.apply(TransitionBatch { now, ..batch(n + 2, vec![on]) }).await.unwrap();
        assert_eq!(active(store).await.is_shelved(), is_held, "{opens}");
        let raised: &[&str] = if is_held { &[] } else { &["raised"] };
        assert_eq!(events_of(&told(store, "county").await), raised, "{opens}");
        store.apply(batch(n + 3, vec![transition(n + 3, "alarm", To::Off, 0.9)])).await.unwrap();
    }
}

async fn a_shelf_can_be_taken_back_while_no_alarm_is_on(store: &impl AlarmStore) {
    let id = raised(store).await;
    act(store, &id, &shelve(LATER, false), 2 * SECOND).await;
    store.apply(batch(3, vec![transition(3, "alarm", To::Off, 0.9)])).await.unwrap();
    assert_eq!(store.shelved().await.unwrap().len(), 1);
    told(store, "county").await;
    let take_back = Act::new(What::Unshelve, "li").with_note("fan runs");
    assert_eq!(act(store, &id, &take_back, 4 * SECOND).await, "unshelved");
    assert_eq!(kinds(store, &id).await, ["raised", "shelved", "cleared", "unshelved"]);
    assert!(store.shelved().await.unwrap().is_empty());
    assert!(told(store, "county").await.is_empty(), "nothing is on");
    assert_eq!(act(store, &id, &take_back, 5 * SECOND).await, "not_shelved");
    store.apply(batch(6, vec![transition(6, "alarm", To::On, 1.1)])).await.unwrap();
    assert!(!active(store).await.is_shelved());
    assert_eq!(events_of(&told(store, "county").await), ["raised"]);
}

async fn who_was_told_before_hears_the_end_of_what_is_shelved(store: &impl AlarmStore) {
    let on = vec![transition(1, "alarm", To::On, 1.1), transition(2, "cut", To::On, 1.6)];
    let id = on[0].id.to_string();
    store.apply(batch(2, on)).await.unwrap();
    assert_eq!(events_of(&told(store, "county").await), ["raised", "changed"]);
    act(store, &id, &shelve(LATER, false), 3 * SECOND).await;
    store.apply(batch(4, vec![transition(4, "cut", To::Off, 0.9)])).await.unwrap();
    assert!(told(store, "county").await.is_empty(), "what falls is hidden too");
    store.apply(batch(5, vec![transition(5, "alarm", To::Off, 0.9)])).await.unwrap();
    assert_eq!(events_of(&told(store, "county").await), ["cleared"]);
}

async fn a_case_goes_its_way_and_needs_two_people(store: &impl AlarmStore) {
    let id = raised(store).await;
    let urge = Act::new(What::Urge { way: "phone".into(), called: "dispatcher".into() }, "county");
    let dispose = Act::new(What::Dispose { cause: "blasting".into(), measure: "more air".into() }, "li");
    let by = |what: What, who: &str| Act::new(what, who);
    assert_eq!(act(store, &id, &by(What::CloseOut, "wang"), 2 * SECOND).await, "not_disposed");
    assert_eq!(act(store, &id, &urge, 3 * SECOND).await, "urged");
    assert_eq!(act(store, &id, &by(What::Return, "wang"), 4 * SECOND).await, "not_disposed");
    assert_eq!(act(store, &id, &dispose, 5 * SECOND).await, "disposed");
    assert_eq!(act(store, &id, &by(What::CloseOut, "wang"), 6 * SECOND).await, "active");
    assert_eq!(act(store, &id, &by(What::CloseOut, "li"), 6 * SECOND).await, "same_person");
    assert_eq!(
        act(store, &id, &by(What::Return, "wang").with_note("which air?"), 7 * SECOND).await,
        "returned"
    );
    assert_eq!(act(store, &id, &dispose, 8 * SECOND).await, "disposed");
    store.apply(batch(9, vec![transition(9, "alarm", To::Off, 0.9)])).await.unwrap();
    assert_eq!(act(store, &id, &by(What::CloseOut, "wang"), 10 * SECOND).await, "closed_out");
    for what in [urge, dispose, by(What::CloseOut, "wang"), by(What::Return, "wang")] {
        assert_eq!(act(store, &id, &what, 11 * SECOND).await, "closed");
    }
    let case = alarm(store, &id).await.case.unwrap();
    assert_eq!((case.state, case.urged, case.cause.as_str()), (CaseState::Closed, 1, "blasting"));
    assert_eq!((case.disposed_by.as_deref(), case.verified_by.as_deref()), (Some("li"), Some("wang")));
    assert_eq!((case.disposed_at, case.verified_at), (Some(8 * SECOND), Some(10 * SECOND)));
    assert_eq!(
        kinds(store, &id).await,
        ["raised", "urged", "disposed", "returned", "disposed", "cleared", "closed_out"]
    );
}

async fn everything_is_in_the_journal(store: &impl AlarmStore) {
    let started = Happened {
        event: "started",
        by: "firedamp".into(),
        note: "0.1".into(),
        detail: "{\"config\":\"ab\"}".into(),
    };
    store.record(started, 1).await.unwrap();
    let id = raised(store).await;
    let due = store.outbox_due("county", LATER, 9).await.unwrap();
    store.failed(&due[0].key, "it answered 500", Some(5), 4).await.unwrap();
    store.delivered(&due[0].key, 6).await.unwrap();
    store.delivered(&due[0].key, 6).await.unwrap();
    let office = store.outbox_due("office", LATER, 9).await.unwrap();
    store.failed(&office[0].key, "no such bureau", None, 7).await.unwrap();
    act(store, &id, &Act::new(What::Comment, "li").with_note("we look"), 8).await;
    let all = store.journal(0, 100).await.unwrap();
    let shown: Vec<(&str, &str, &str)> = all.iter().map(|e| (&*e.event, &*e.by, &*e.note)).collect();
    let buried = "receiver `office` was not told, message";
    assert_eq!(
        shown[..5],
        [
            ("started", "firedamp", "0.1"),
            ("raised", "rules", ""),
            ("failed", "county", "it answered 500"),
            ("delivered", "county", ""),
            ("given_up", "office", "no such bureau"),
        ]
    );
    assert_eq!((shown[5].0, shown[5].1, shown[6]), ("raised", "firedamp", ("commented", "li", "we look")));
    assert_eq!(shown.len(), 7);
    assert!(all[5].alarm.contains(buried), "{}", all[5].alarm);
    let detail = |e: &Entry| serde_json::from_str::<Value>(&e.detail).unwrap();
    assert_eq!(detail(&all[1])["offset"], 1);
    assert_eq!(
        (detail(&all[3])["key"].as_str(), detail(&all[3])["attempts"].as_u64()),
        (Some(&*due[0].key), Some(2))
    );
    assert_eq!(store.history(&id).await.unwrap(), [&all[1..5], &all[6..]].concat());
    assert_eq!(store.journal(3, 2).await.unwrap(), all[3..5]);
    assert_eq!(store.head().await.unwrap(), all[6].head());
    assert_eq!(journal::verify(store, &[], |_| ()).await.unwrap(), Ok(all[6].head()));
    let events = store.events_after(0, 100).await.unwrap();
    let events: Vec<(i64, EventKind)> = events.iter().map(|e| (e.seq, e.event)).collect();
    assert_eq!(events, [(2, EventKind::Raised), (6, EventKind::Raised), (7, EventKind::Commented)]);
    assert_eq!(words(&store.act(&["no such".into()], &seen_by("li"), 9).await.unwrap()), ["gone"]);
    assert_eq!(store.head().await.unwrap().seq, 7, "what did nothing leaves nothing");
}

async fn the_first_digits_stand_for_an_id(store: &impl AlarmStore) {
    let id = raised(store).await;
    store.apply(batch(3, vec![at("M2", transition(2, "alarm", To::On, 1.1))])).await.unwrap();
    for digits in [&id[..], &id[..6], &id[..20]] {
        assert_eq!(store.get(digits).await.unwrap().map(|a| a.id), Some(id.clone()), "{digits}");
    }
    for none in [&id[..5], "", "zzzzzz", &format!("{id}0")] {
        assert_eq!(store.get(none).await.unwrap(), None, "{none}");
    }
}
