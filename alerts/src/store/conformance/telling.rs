//! Who is told what and when: calibration, drills, late-found episodes, holds, digests, dead letters.

use super::{LATER, at, batch, events_of, id_at, seen_by, told, transition, words};
use crate::tell::DIGEST_ALARMS_MAX;
use crate::{Act, AlarmFilter, AlarmStore, OwnAlarm, TransitionBatch, What};
use model::{AlarmState, Micros, Severity, To, Transition};
use serde_json::Value;

const SECOND: Micros = 1_000_000;

pub(super) async fn suite<S: AlarmStore, F: Future<Output = S>>(make: &mut impl FnMut() -> F) {
    what_is_held_is_told_as_it_stands(&make().await).await;
    what_was_told_before_a_hold_hears_its_end(&make().await).await;
    one_more_is_told_again(&make().await).await;
    a_digest_waits_for_held_partitions(&make().await).await;
    a_long_digest_has_parts(&make().await).await;
    calibration_is_not_told_until_it_is_real(&make().await).await;
    a_calibration_beside_a_real_level_changes_nothing(&make().await).await;
    drills_and_late_episodes_are_told_apart(&make().await).await;
    whoever_was_told_hears_how_it_goes_on(&make().await).await;
    messages_of_one_alarm_keep_their_order(&make().await).await;
    a_dead_letter_is_an_alarm_for_others(&make().await).await;
    what_is_too_old_is_given_up(&make().await).await;
    what_was_delivered_is_forgotten_in_time(&make().await).await;
}

fn of_rule(rule: &str, t: Transition) -> Transition {
    let origin = model::Origin { collector: 3, sequence: t.offset.number };
    Transition {
        id: model::TransitionId::of(rule, t.point_id, &t.level, origin, 0, 0),
        rule: rule.to_owned(),
        ..t
    }
}

fn hold(next: u64, transitions: Vec<Transition>) -> TransitionBatch {
    TransitionBatch { hold: true, ..batch(next, transitions) }
}

async fn what_is_held_is_told_as_it_stands(store: &impl AlarmStore) {
    let fell = |n, to| of_rule("other", transition(n, "alarm", to, 1.2));
    let mut calibrating = of_rule("calibrated", transition(5, "alarm", To::On, 1.2));
    calibrating.marks.calibrating = true;
    let mut calibrated = of_rule("calibrated", transition(6, "alarm", To::Off, 0.2));
    calibrated.marks.calibrating = true;
    let held = vec![
        transition(1, "alarm", To::On, 1.1),
        transition(2, "cut", To::On, 1.6),
        fell(3, To::On),
        fell(4, To::Off),
        calibrating,
        calibrated,
    ];
    store.apply(hold(5, held)).await.unwrap();
    assert!(store.outbox_due("county", LATER, 100).await.unwrap().is_empty());
    assert_eq!(store.list(&AlarmFilter::default()).await.unwrap().len(), 1, "recorded at once");
    store.apply(batch(5, Vec::new())).await.unwrap();
    let live = told(store, "county").await;
    assert_eq!(events_of(&live), ["raised"]);
    assert_eq!(live[0]["alarm"]["level"], "cut", "as it stands, not as it was");
    store.flush(14 * SECOND).await.unwrap();
    assert!(told(store, "county").await.is_empty(), "the other partitions may have something too");
    store.flush(15 * SECOND).await.unwrap();
    let late = told(store, "county").await;
    assert_eq!(events_of(&late), ["digest"]);
    let alarms = late[0]["alarms"].as_array().unwrap();
    assert_eq!(
        (alarms.len(), &alarms[0]["rule"], &late[0]["late"]),
        (1, &Value::from("other"), &Value::from(true))
    );
    store.apply(batch(5, Vec::new())).await.unwrap();
    store.flush(LATER).await.unwrap();
    assert!(told(store, "county").await.is_empty(), "released once");
}

async fn what_was_told_before_a_hold_hears_its_end(store: &impl AlarmStore) {
    let ended = |n, to| of_rule("ended", transition(n, "alarm", to, 1.2));
    store.apply(batch(2, vec![transition(1, "alarm", To::On, 1.1), ended(2, To::On)])).await.unwrap();
    assert_eq!(events_of(&told(store, "county").await), ["raised", "raised"]);
    let meanwhile =
        vec![transition(3, "cut", To::On, 1.6), transition(4, "cut", To::Off, 0.9), ended(5, To::Off)];
    store.apply(hold(5, meanwhile)).await.unwrap();
    assert!(told(store, "county").await.is_empty());
    store.apply(batch(6, Vec::new())).await.unwrap();
    let after = told(store, "county").await;
    assert_eq!(events_of(&after), ["cleared"], "what stands as it was told is not told again");
    store.flush(LATER).await.unwrap();
    assert!(told(store, "county").await.is_empty(), "who heard the end needs no digest");
}

/// One more meets the condition of a level that is on: told again and unacknowledged again, also where something else followed in a hold.
async fn one_more_is_told_again(store: &impl AlarmStore) {
    let further = |n| {
        let mut t = transition(n, "alarm", To::On, n as f64);
        (t.marks.further, t.reason) = (true, format!("{n} call"));
        t
    };
    store.apply(batch(1, vec![transition(1, "alarm", To::On, 1.1)])).await.unwrap();
    let id = store.list(&AlarmFilter::default()).await.unwrap()[0].id.clone();
    told(store, "county").await;
    let ids = std::slice::from_ref(&id);
    store.act(ids, &seen_by("li"), 2).await.unwrap();
    store.apply(batch(2, vec![further(2)])).await.unwrap();
    let again = told(store, "county").await;
    assert_eq!((events_of(&again), &again[0]["alarm"]["reason"]), (vec!["changed"], &Value::from("2 call")));
    assert!(!store.get(&id).await.unwrap().unwrap().acked);
    let mut update = transition(3, "alarm", To::On, 9.0);
    (update.marks.update, update.reason) = (true, "9 call".to_owned());
    store.apply(batch(3, vec![update])).await.unwrap();
    assert!(told(store, "county").await.is_empty(), "newer words are told to nobody");
    assert_eq!(store.get(&id).await.unwrap().unwrap().reason, "9 call");
    let held = vec![further(4), transition(5, "cut", To::On, 1.6), transition(6, "cut", To::Off, 0.9)];
    store.apply(hold(6, held)).await.unwrap();
    store.apply(batch(7, Vec::new())).await.unwrap();
    assert_eq!(events_of(&told(store, "county").await), ["changed"]);
}

async fn a_digest_waits_for_held_partitions(store: &impl AlarmStore) {
    store
        .apply(hold(2, vec![transition(1, "alarm", To::On, 1.1), transition(2, "alarm", To::Off, 0.9)]))
        .await
        .unwrap();
    store.apply(TransitionBatch { partition: 1, ..hold(2, Vec::new()) }).await.unwrap();
    store.apply(batch(3, Vec::new())).await.unwrap();
    store.flush(60 * SECOND).await.unwrap();
    assert!(told(store, "county").await.is_empty(), "partition 1 is still catching up");
    store.apply(TransitionBatch { partition: 1, ..batch(3, Vec::new()) }).await.unwrap();
    store.flush(60 * SECOND).await.unwrap();
    assert_eq!(events_of(&told(store, "county").await), ["digest"]);
    // A partition that never catches up does not keep it for ever.
    store
        .apply(hold(9, vec![transition(8, "alarm", To::On, 1.1), transition(9, "alarm", To::Off, 0.9)]))
        .await
        .unwrap();
    store.apply(TransitionBatch { partition: 1, ..hold(9, Vec::new()) }).await.unwrap();
    store.apply(batch(10, Vec::new())).await.unwrap();
    store.flush(620 * SECOND).await.unwrap();
    assert_eq!(events_of(&told(store, "county").await), ["digest"]);
}

async fn a_long_digest_has_parts(store: &impl AlarmStore) {
    let count = DIGEST_ALARMS_MAX as u64 + 1;
    let late = (1..=count).map(|n| {
        let mut t = transition(n, "alarm", To::On, 1.1);
        t.marks.late = true;
        t
    });
    store.apply(batch(count, late.collect())).await.unwrap();
    store.flush(LATER).await.unwrap();
    let parts = told(store, "county").await;
    let shape: Vec<_> = parts
        .iter()
        .map(|p| (p["part"].as_u64(), p["parts"].as_u64(), p["alarms"].as_array().unwrap().len()))
        .collect();
    assert_eq!(shape, [(Some(1), Some(2), DIGEST_ALARMS_MAX), (Some(2), Some(2), 1)]);
}

async fn calibration_is_not_told_until_it_is_real(store: &impl AlarmStore) {
    let mut born = transition(1, "alarm", To::On, 1.1);
    born.marks.calibrating = true;
    store.apply(batch(1, vec![born.clone()])).await.unwrap();
    assert!(told(store, "county").await.is_empty());
    let ids = [born.id.to_string()];
    assert!(store.get(&ids[0]).await.unwrap().unwrap().marks.calibrating);
    store.act(&ids, &seen_by("wang"), 9).await.unwrap();
    store.apply(batch(2, vec![transition(2, "alarm", To::On, 1.1)])).await.unwrap();
    assert_eq!(
        events_of(&told(store, "county").await),
        ["raised"],
        "the first message about an alarm that turned real"
    );
    let alarm = store.get(&ids[0]).await.unwrap().unwrap();
    assert!(!alarm.marks.calibrating && !alarm.acked, "what was acknowledged was a calibration");
    store.apply(batch(3, vec![transition(3, "alarm", To::Off, 0.9)])).await.unwrap();
    let mut ends = transition(5, "alarm", To::Off, 0.9);
    ends.marks.calibrating = true;
    let again = Transition { id: transition(4, "alarm", To::On, 1.1).id, ..born };
    store.apply(batch(5, vec![again, ends])).await.unwrap();
    assert_eq!(
        events_of(&told(store, "county").await),
        ["cleared"],
        "an episode of a calibration only is never told"
    );
    store.flush(LATER).await.unwrap();
    assert!(told(store, "county").await.is_empty(), "nor in a digest");
}

async fn a_calibration_beside_a_real_level_changes_nothing(store: &impl AlarmStore) {
    let mut cut = transition(2, "cut", To::On, 1.6);
    cut.marks.calibrating = true;
    let id = transition(1, "alarm", To::On, 1.1).id.to_string();
    store.apply(batch(2, vec![transition(1, "alarm", To::On, 1.1), cut])).await.unwrap();
    let alarm = store.get(&id).await.unwrap().unwrap();
    assert_eq!((alarm.level.as_str(), alarm.marks.calibrating), ("alarm", false));
    assert_eq!(events_of(&told(store, "county").await), ["raised"]);
    store.apply(batch(3, vec![transition(3, "cut", To::On, 1.6)])).await.unwrap();
    let now = told(store, "county").await;
    assert_eq!(
        (events_of(&now), &now[0]["alarm"]["level"]),
        (vec!["changed"], &Value::from("cut")),
        "until it is real"
    );
}

async fn drills_and_late_episodes_are_told_apart(store: &impl AlarmStore) {
    let mut drill = transition(3, "alarm", To::On, 1.1);
    drill.marks.simulated = true;
    let mut late = transition(4, "alarm", To::On, 1.1);
    late.marks.late = true;
    store.apply(batch(4, vec![drill.clone(), late.clone()])).await.unwrap();
    assert_eq!(events_of(&told(store, "drill").await), ["raised"]);
    assert!(told(store, "office").await.is_empty());
    let episode = store.get(&late.id.to_string()).await.unwrap().unwrap();
    assert_eq!(
        (episode.state, episode.marks.late),
        (AlarmState::Closed, true),
        "recorded as one that is over"
    );
    store.flush(303 * SECOND).await.unwrap();
    assert!(told(store, "office").await.is_empty());
    store.flush(304 * SECOND).await.unwrap();
    assert_eq!(events_of(&told(store, "office").await), ["digest"]);
    assert!(told(store, "drill").await.is_empty());
    let counts = store.counts().await.unwrap();
    assert_eq!(
        (counts.raised, counts.sent),
        (0, 2),
        "neither alarm counts, nor what a drill receiver is told"
    );
    // A real alarm of the same rule and point is another one.
    store.apply(batch(5, vec![transition(5, "alarm", To::On, 1.1)])).await.unwrap();
    assert_eq!(store.list(&AlarmFilter::default()).await.unwrap().len(), 2);
    assert_eq!(events_of(&told(store, "office").await), ["raised"]);
    assert!(told(store, "drill").await.is_empty());
}

async fn whoever_was_told_hears_how_it_goes_on(store: &impl AlarmStore) {
    let steps = vec![
        transition(1, "alarm", To::On, 1.1),
        at("M2", transition(2, "cut", To::On, 1.6)),
        transition(3, "cut", To::On, 1.6),
        transition(4, "cut", To::Off, 0.9),
        transition(5, "alarm", To::Off, 0.9),
    ];
    store.apply(batch(5, steps)).await.unwrap();
    let province = told(store, "province").await;
    assert_eq!(
        events_of(&province),
        ["raised", "changed", "cleared"],
        "from orange up, region 14, to the end"
    );
    assert_eq!(province[0]["alarm"]["level"], "cut");
    assert_eq!(province[1]["alarm"]["severity"], "yellow", "that it fell below what it asked for too");
}

async fn messages_of_one_alarm_keep_their_order(store: &impl AlarmStore) {
    let steps = vec![
        transition(1, "alarm", To::On, 1.1),
        transition(2, "cut", To::On, 1.6),
        at("M2", transition(3, "alarm", To::On, 1.1)),
    ];
    store.apply(batch(3, steps)).await.unwrap();
    let due = store.outbox_due("county", LATER, 9).await.unwrap();
    let alarms = [
        transition(1, "alarm", To::On, 1.1).id.to_string(),
        id_at("M2", &transition(3, "alarm", To::On, 1.1)).to_string(),
    ];
    assert_eq!(due.iter().map(|m| m.alarm.clone()).collect::<Vec<_>>(), alarms);
    store.failed(&due[0].key, "503", Some(LATER), 4 * SECOND).await.unwrap();
    let due_now = store.outbox_due("county", LATER - 1, 9).await.unwrap();
    assert_eq!(due_now.len(), 1, "what follows a message that waits does not overtake it");
    assert_eq!(due_now[0].key, due[1].key, "another alarm does not wait for it");
    store.revive("county", 5 * SECOND).await.unwrap();
    assert_eq!(store.outbox_due("county", 5 * SECOND, 9).await.unwrap().len(), 2);
    let waiting = store.backlog().await.unwrap();
    let county = waiting.iter().find(|b| b.receiver == "county").unwrap();
    assert_eq!((county.pending, county.oldest), (3, 3 * SECOND));
}

async fn a_dead_letter_is_an_alarm_for_others(store: &impl AlarmStore) {
    store.apply(batch(1, vec![transition(1, "alarm", To::On, 1.1)])).await.unwrap();
    let message = store.outbox_due("county", LATER, 9).await.unwrap().remove(0);
    store.failed(&message.key, "500", Some(LATER), 2 * SECOND).await.unwrap();
    assert!(store.outbox_due("county", LATER - 1, 9).await.unwrap().is_empty(), "not before its time");
    let again = store.outbox_due("county", LATER, 9).await.unwrap().remove(0);
    assert_eq!((again.attempts, &again.body), (1, &message.body), "one content a key");
    store.failed(&message.key, "gone", None, 3 * SECOND).await.unwrap();
    assert!(
        store.outbox_due("county", LATER, 9).await.unwrap().is_empty(),
        "its own channel is not used to tell it"
    );
    let office = store.outbox_due("office", LATER, 9).await.unwrap();
    let last = office.last().unwrap();
    assert!(String::from_utf8_lossy(&last.body).contains("firedamp/dead-letter"));
    let active =
        store.list(&AlarmFilter { site: Some("firedamp".into()), ..AlarmFilter::default() }).await.unwrap();
    store.failed(&last.key, "gone too", None, 4 * SECOND).await.unwrap();
    let after =
        store.list(&AlarmFilter { site: Some("firedamp".into()), ..AlarmFilter::default() }).await.unwrap();
    assert_eq!((active.len(), after), (1, active.clone()), "what tells of a dead letter raises no other");
    store.delivered(&office[0].key, 4 * SECOND).await.unwrap();
    store.delivered(&office[0].key, 5 * SECOND).await.unwrap();
    store.failed(&office[0].key, "late news", None, 5 * SECOND).await.unwrap();
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.sent, counts.dead, counts.delivered, counts.pending), (3, 2, 1, 0), "settled once");
    assert_eq!(
        words(
            &store
                .act(&[active[0].id.clone()], &Act::new(What::Clear, "wang").with_note(""), 9)
                .await
                .unwrap()
        ),
        ["cleared"]
    );
}

async fn what_is_too_old_is_given_up(store: &impl AlarmStore) {
    let steps = vec![transition(1, "alarm", To::On, 1.1), at("M2", transition(2, "alarm", To::On, 1.1))];
    store.apply(batch(2, steps)).await.unwrap();
    let due = store.outbox_due("county", LATER, 9).await.unwrap();
    store.failed(&due[0].key, "500", Some(LATER), 3 * SECOND).await.unwrap();
    assert_eq!(store.expire("county", 2 * SECOND, 9 * SECOND).await.unwrap(), 0, "not older than that");
    assert_eq!(store.expire("office", 3 * SECOND, 9 * SECOND).await.unwrap(), 0, "never tried");
    assert_eq!(store.expire("county", 3 * SECOND, 9 * SECOND).await.unwrap(), 1, "what was tried");
    let due = store.outbox_due("county", LATER, 9).await.unwrap();
    assert_eq!((due.len(), due[0].attempts), (1, 0), "what was never tried is tried once");
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.dead, counts.pending), (1, 4));
    assert_eq!(
        store
            .list(&AlarmFilter { site: Some("firedamp".into()), ..AlarmFilter::default() })
            .await
            .unwrap()
            .len(),
        1
    );
}

async fn what_was_delivered_is_forgotten_in_time(store: &impl AlarmStore) {
    let on = transition(1, "alarm", To::On, 1.1);
    store.apply(batch(1, vec![on.clone()])).await.unwrap();
    for name in ["county", "office"] {
        let message = store.outbox_due(name, LATER, 9).await.unwrap().remove(0);
        store.delivered(&message.key, SECOND).await.unwrap();
    }
    let own = OwnAlarm {
        what: "x".into(),
        key: "y".into(),
        severity: Severity::Blue,
        reason: "z".into(),
        on: true,
    };
    store.raise_own(own, SECOND).await.unwrap();
    let month = 31 * model::time::DAY;
    store.flush(month).await.unwrap();
    let counts = store.counts().await.unwrap();
    assert_eq!(
        (counts.sent, counts.delivered, counts.pending),
        (4, 2, 2),
        "sums stay, and so does what waits"
    );
    assert_eq!(told(store, "county").await.len(), 1);
    // An id is remembered longer than any replay; after that its alarm still stands between it and a second one.
    store.apply(TransitionBatch { now: month, ..batch(2, vec![on]) }).await.unwrap();
    assert_eq!(store.list(&AlarmFilter::default()).await.unwrap().len(), 2);
}
