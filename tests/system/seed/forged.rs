//! Tests of the judge: in a right history one thing is put wrong, and the judge must say so. Without them an assertion that can
//! never fail would not be seen.

use super::alarms::Told;
use super::judge::{self, Handed};
use super::life::{Mistakes, Stage};
use alerts::{Act, AlarmStore, TransitionBatch, What};
use firedamp::balance::Counts;
use model::time::SECOND;
use model::{AlarmState, Origin, To, TransitionId};

/// A history in which there is a message of each kind.
const SEED: u64 = 3;

/// An undisturbed history, and what was told in it.
fn right() -> (Stage, Vec<Told>) {
    let stage = Stage::new(SEED, false, Mistakes::default());
    stage.live(&[]).unwrap();
    judge::judge(&stage).unwrap();
    let told = stage.bureau.told.lock().unwrap().clone();
    (stage, told)
}

/// The first message of this kind about a rule.
fn first<'a>(told: &'a [Told], event: &str) -> &'a Told {
    let is = |body: &[u8]| {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        let rule = if event == "digest" { &body["alarms"][0]["rule"] } else { &body["alarm"]["rule"] };
        body["event"] == event && !rule.as_str().unwrap().starts_with("firedamp/")
    };
    told.iter().find(|(_, _, body)| is(body)).unwrap_or_else(|| panic!("no message {event}"))
}

#[test]
fn wrong_messages_are_found() {
    let (stage, right) = right();
    let found = |what: &str, why: &str, forge: &dyn Fn(&mut Vec<Told>)| {
        let mut told = right.clone();
        forge(&mut told);
        *stage.bureau.told.lock().unwrap() = told;
        let error = judge::judge(&stage).expect_err(what);
        assert!(error.contains(why), "{what}: {error}");
    };
    for event in ["raised", "changed", "cleared", "digest"] {
        let (at, key, body) = first(&right, event).clone();
        found("one is missing", "messages about alarm", &|told| told.retain(|(_, k, _)| *k != key));
        let again = ("again".to_owned(), body.clone());
        found("one comes twice", "messages about alarm", &|told| {
            told.push((at, again.0.clone(), again.1.clone()))
        });
        let other = [&body[..], b" "].concat();
        found("two contents", "another content", &|told| told.push((at, key.clone(), other.clone())));
        let late =
            |told: &mut Vec<Told>| told.iter_mut().filter(|m| m.1 == key).for_each(|m| m.0 += 400 * SECOND);
        found("one is late", "late", &late);
        let text = String::from_utf8(body).unwrap();
        for (field, wrong, why) in [
            ("\"id\":\"", "z", "unknown alarm"),
            ("\"level\":\"", "z", "messages about alarm"),
            ("\"opened\":\"", "1", "messages about alarm"),
        ] {
            let at = text.find(field).unwrap() + field.len();
            let text = format!("{}{wrong}{}", &text[..at], &text[at + 1..]);
            found(field, why, &|told| {
                told.iter_mut().filter(|m| m.1 == key).for_each(|m| m.2 = text.clone().into());
            });
        }
    }
    let end = first(&right, "cleared");
    found("the end before the beginning", "messages about alarm", &|told| told.insert(0, end.clone()));
}

#[test]
fn wrong_alarms_are_found() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let found = |why: &str, forge: &dyn Fn(&Stage)| {
        let (stage, _) = right();
        forge(&stage);
        let error = judge::judge(&stage).expect_err(why);
        assert!(error.contains(why), "{why}: {error}");
    };
    let all = |stage: &Stage| {
        let filter = alerts::AlarmFilter { all: true, ..Default::default() };
        runtime.block_on(stage.alarms.inner.list(&filter)).unwrap()
    };
    // What no rule decided, as it happened and found late.
    for late in [false, true] {
        found("is not None", &|stage| {
            let mut t = stage
                .alarms
                .taken
                .lock()
                .unwrap()
                .iter()
                .find_map(|b| b.transitions.first().cloned())
                .unwrap();
            let origin = Origin { collector: 1, sequence: 1 };
            t.id = TransitionId::of("foreign", t.point_id, "alarm", origin, 0, 0);
            (t.rule, t.to, t.marks.late) = ("foreign".to_owned(), To::On, late);
            let batch =
                TransitionBatch { partition: 0, next: u64::MAX, transitions: vec![t], now: 0, hold: false };
            runtime.block_on(stage.alarms.inner.apply(batch)).unwrap();
        });
    }
    // What is still on has been closed.
    found("is not Some", &|stage| {
        let active = all(stage).into_iter().find(|a| a.state == AlarmState::Active).unwrap();
        runtime
            .block_on(stage.alarms.inner.act(&[active.id], &Act::new(What::Withdraw, "somebody"), 0))
            .unwrap();
    });
    // What the store never took.
    found("transitions taken", &|stage| _ = stage.alarms.taken.lock().unwrap().pop());
}

#[test]
fn wrong_counts_are_found() {
    let handed = Handed { rows: [10, 14], unknown: [2, 3], rubbish: [1, 2] };
    let right = Counts {
        received: 16,
        accepted: 14,
        refused: 2,
        stored: 9,
        duplicate: 3,
        quarantined: 2,
        pending: 0,
    };
    judge::counted(&right, &handed, 9).unwrap();
    let found = |why: &str, forge: &dyn Fn(&mut Counts)| {
        let mut counts = right;
        forge(&mut counts);
        counts.accepted = counts.stored + counts.duplicate + counts.quarantined + counts.pending;
        counts.received = counts.accepted + counts.refused;
        let error = judge::counted(&counts, &handed, 9).expect_err(why);
        assert!(error.contains(why), "{why}: {error}");
    };
    found("stored, and pending", &|c| c.stored = 8);
    found("stored, and pending", &|c| c.pending = 1);
    for n in [0, 6] {
        found("stored or duplicate", &|c| c.duplicate = n);
    }
    for n in [1, 4] {
        found("quarantined of", &|c| c.quarantined = n);
    }
    for n in [0, 3] {
        found("refused of", &|c| c.refused = n);
    }
    assert!(judge::counted(&Counts { received: 17, ..right }, &handed, 9).is_err());
}
