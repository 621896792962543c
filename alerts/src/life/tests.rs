//! Every pair of state and transition, as a table; then random histories against a model that knows no steps: it looks at the set
//! of levels that are on after each transition, and calls an alarm what lies between two empty sets.

use super::*;
use crate::conformance::{receivers, transition};
use crate::{AlarmFilter, AlarmStore, MemoryStore, TransitionBatch};
use proptest::prelude::*;

/// `on:` the levels that are on before (`*` calibrating, `!` red), then a transition; gives event, reason, rose, and what is shown.
fn check(before: &str, then: &str, expected: &str) {
    let mut active = None;
    let mut n = 0;
    for word in before.split_whitespace() {
        n += 1;
        active = match step(active, &parse(n, word)) {
            Step::Event(changed) => Some(changed.row),
            Step::Nothing(why) => panic!("{before}: `{word}` did nothing: {}", why.as_str()),
        };
    }
    let got = match step(active, &parse(n + 1, then)) {
        Step::Nothing(why) => format!("nothing {}", why.as_str()),
        Step::Event(c) => {
            let a = &c.row.alarm;
            let on: Vec<&str> = c.row.levels.keys().map(String::as_str).collect();
            let rose = if c.rose { " rose" } else { "" };
            let cal = if a.marks.calibrating { "*" } else { "" };
            let withdrawn = if a.withdrawn { " withdrawn" } else { "" };
            let (event, why) = (c.event.as_str(), c.why.as_str());
            format!("{event} {why}{rose}: {}{cal} {} on[{}]{withdrawn}", a.level, a.severity, on.join(","))
        }
    };
    assert_eq!(got, expected, "[{before}] then {then}");
}

/// `+alarm`, `-cut`, `~alarm` (withdrawn); `*` calibrating, `!` red, `?` late, `&` further, `=` update.
fn parse(n: u64, word: &str) -> Transition {
    let to = match word.as_bytes()[0] {
        b'+' => To::On,
        b'-' => To::Off,
        _ => To::Withdrawn,
    };
    let level = word[1..].trim_end_matches(['*', '!', '?', '&', '=']);
    let mut t = transition(n, level, to, 1.0);
    t.marks.calibrating = word.contains('*');
    t.marks.late = word.contains('?');
    t.marks.further = word.contains('&');
    t.marks.update = word.contains('=');
    if word.contains('!') {
        t.severity = Severity::Red;
    }
    t
}

#[test]
fn every_pair_of_state_and_transition() {
    // No active alarm.
    check("", "+alarm", "raised opened rose: alarm yellow on[alarm]");
    check("", "+alarm*", "raised opened rose: alarm* yellow on[alarm]");
    check("", "+cut", "raised opened rose: cut orange on[cut]");
    check("", "+alarm?", "late found_late rose: alarm yellow on[]");
    check("", "-alarm", "nothing not_on");
    check("", "~alarm", "nothing not_on");
    // Active, the transition's level is off.
    check("+alarm", "+cut", "changed level_on rose: cut orange on[alarm,cut]");
    check("+cut", "+alarm", "changed level_on: cut orange on[alarm,cut]");
    check("+alarm", "+cut*", "changed level_on: alarm yellow on[alarm,cut]");
    check("+alarm*", "+cut*", "changed level_on rose: cut* orange on[alarm,cut]");
    check("+cut*", "+alarm", "changed level_on rose: alarm yellow on[alarm,cut]");
    check("+alarm", "-cut", "nothing not_on");
    check("+alarm", "~cut", "nothing not_on");
    // Active, the transition's level is on.
    check("+alarm", "+alarm", "nothing is_on");
    check("+alarm", "+alarm*", "nothing is_on");
    check("+alarm", "+alarm!", "changed severity rose: alarm red on[alarm]");
    check("+alarm!", "+alarm", "changed severity: alarm yellow on[alarm]");
    check("+alarm", "+alarm&", "changed further rose: alarm yellow on[alarm]");
    check("+alarm +cut", "+alarm&", "changed further rose: cut orange on[alarm,cut]");
    check("+alarm", "+alarm=", "changed updated: alarm yellow on[alarm]");
    check("", "+alarm=", "raised opened rose: alarm yellow on[alarm]");
    check("", "+alarm&", "raised opened rose: alarm yellow on[alarm]");
    check("+alarm*", "+alarm*", "nothing is_on");
    check("+alarm*", "+alarm", "changed turned_real rose: alarm yellow on[alarm]");
    check("+alarm +cut", "-cut", "changed level_off: alarm yellow on[alarm]");
    check("+alarm +cut", "-alarm", "changed level_off: cut orange on[cut]");
    check("+alarm +cut", "~cut", "changed level_off: alarm yellow on[alarm]");
    check("+alarm +cut*", "-alarm", "changed level_off: cut* orange on[cut]");
    check("+alarm", "-alarm", "cleared last_off: alarm yellow on[]");
    check("+alarm", "~alarm", "cleared last_withdrawn: alarm yellow on[] withdrawn");
    // After closing the highest it reached is shown, a real level before a calibration's.
    check("+alarm +cut -cut", "-alarm", "cleared last_off: cut orange on[]");
    check("+alarm +cut* -cut", "-alarm", "cleared last_off: alarm yellow on[]");
    check("+alarm*", "-alarm*", "cleared last_off: alarm* yellow on[]");
}

#[test]
fn the_peak_is_the_rules_word_else_the_value_of_the_highest_level() {
    let mut steps = [
        transition(1, "alarm", To::On, 1.1),
        transition(2, "cut", To::On, 1.6),
        transition(3, "cut", To::Off, 0.9),
    ];
    let peak = |steps: &[Transition]| {
        let mut row = None;
        for t in steps {
            if let Step::Event(c) = step(row.take(), t) {
                row = Some(c.row);
            }
        }
        row.and_then(|r| r.alarm.peak)
    };
    assert_eq!(peak(&steps), Some(1.6));
    steps[2].peak = Some(1.9);
    assert_eq!(peak(&steps), Some(1.9));
    steps[1].value = None;
    assert_eq!(peak(&steps[..2]), Some(1.1), "a level without a value takes none away");
}

const LEVELS: [&str; 3] = ["warning", "alarm", "cut"];

/// One transition of a random history: id (so that some come twice), level, what, severity, calibrating, late.
fn random() -> impl Strategy<Value = Transition> {
    let to = prop_oneof![4 => Just(To::On), 4 => Just(To::Off), 1 => Just(To::Withdrawn)];
    (0..40u64, 0..3usize, to, 0..4usize, proptest::bool::weighted(0.2), proptest::bool::weighted(0.1))
        .prop_map(|(n, level, to, severity, calibrating, late)| {
            let mut t = transition(n, LEVELS[level], to, n as f64);
            t.rank = level as u32;
            t.severity = Severity::ALL[severity];
            (t.marks.calibrating, t.marks.late) = (calibrating, late);
            t
        })
}

/// What a list shows of an alarm, as far as the model knows.
type Shown = (String, Option<Micros>, bool, String);

/// Alarms of a history, oldest first, without looking at steps.
fn model(history: &[Transition]) -> Vec<Shown> {
    let (mut seen, mut out) = (std::collections::HashSet::new(), Vec::new());
    let mut on: BTreeMap<&str, (bool, u32)> = BTreeMap::new();
    let (mut highest, mut open) = ((false, 0), None::<usize>);
    for t in history.iter().filter(|t| seen.insert(t.id)) {
        let late = t.marks.late;
        match (t.to, late) {
            (To::On, true) => out.push((t.id.to_string(), Some(t.time), false, t.level.clone())),
            (_, true) => {}
            (To::On, false) => {
                let real = on.get(t.level.as_str()).is_some_and(|(real, _)| *real) || !t.marks.calibrating;
                on.insert(&t.level, (real, t.rank));
                if open.is_none() {
                    open = Some(out.len());
                    highest = (false, 0);
                    out.push((t.id.to_string(), None, false, t.level.clone()));
                }
                highest = highest.max((real, t.rank));
            }
            (to, false) => {
                if on.remove(t.level.as_str()).is_some() && on.is_empty() {
                    let alarm = &mut out[open.take().expect("a level was on")];
                    (alarm.1, alarm.2) = (Some(t.time), to == To::Withdrawn);
                    alarm.3 = LEVELS[highest.1 as usize].to_owned();
                }
            }
        }
        if let (Some(open), Some((_, rank))) = (open, on.values().max()) {
            out[open].3 = LEVELS[*rank as usize].to_owned();
        }
    }
    out
}

async fn stored(store: &MemoryStore) -> Vec<Shown> {
    let all = store.list(&AlarmFilter { all: true, ..AlarmFilter::default() }).await.unwrap();
    let mut shown: Vec<Shown> = all.into_iter().map(|a| (a.id, a.closed, a.withdrawn, a.level)).collect();
    shown.sort();
    shown
}

/// Bodies by key.
async fn told(store: &MemoryStore) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    store.flush(Micros::MAX / 2).await.unwrap();
    for receiver in receivers() {
        loop {
            let due = store.outbox_due(&receiver.name, Micros::MAX, 100).await.unwrap();
            if due.is_empty() {
                break;
            }
            for message in due {
                store.delivered(&message.key, 0).await.unwrap();
                out.insert(message.key, String::from_utf8(message.body).unwrap());
            }
        }
    }
    out
}

fn batch(next: u64, transitions: &[Transition], hold: bool) -> TransitionBatch {
    TransitionBatch { partition: 0, next, transitions: transitions.to_vec(), now: next as Micros, hold }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Late, repeated, reordered, withdrawn: the alarms are those of the model, however the history is cut into batches, held or
    /// replayed from an earlier place; and no two messages of a key differ.
    #[test]
    fn any_history_gives_the_alarms_of_the_model(
        history in proptest::collection::vec(random(), 1..60),
        cuts in proptest::collection::vec((1..8usize, any::<bool>(), 0..6usize), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (whole, pieces) = (MemoryStore::new(receivers()), MemoryStore::new(receivers()));
            whole.apply(batch(history.len() as u64, &history, false)).await.unwrap();
            let (mut at, mut next, mut cuts) = (0, 0, cuts.into_iter().cycle());
            while at < history.len() {
                let (len, hold, back) = cuts.next().unwrap();
                // A replay: transitions that stand behind come again at new offsets.
                let from = at.saturating_sub(back);
                let end = (at + len).min(history.len());
                next += 1;
                pieces.apply(batch(next, &history[from..end], hold)).await.unwrap();
                at = end;
            }
            let mut expected = model(&history);
            expected.sort();
            prop_assert_eq!(&stored(&whole).await, &expected);
            prop_assert_eq!(&stored(&pieces).await, &expected);
            let active = pieces.list(&AlarmFilter::default()).await.unwrap();
            prop_assert!(active.len() <= 1, "one active alarm per rule and point");
            let (one, other) = (told(&whole).await, told(&pieces).await);
            for (key, body) in &one {
                prop_assert!(other.get(key).is_none_or(|b| b == body), "a key with two contents");
            }
            Ok(())
        })?;
    }
}
