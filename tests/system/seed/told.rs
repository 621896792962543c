//! The judge of alarms and messages: both must be those of the model in `expected.rs`, and what was told must have been told in time.

use super::alarms::SeedAlarms;
use super::expected::{Expected, Said, Shape};
use super::judge::equal;
use super::life::{START, Stage};
use alerts::{AlarmFilter, AlarmStore, EventKind, store::DIGEST_LATE};
use model::time::SECOND;
use model::{Alarm, Micros, Transition};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// In an undisturbed run nothing is told later than this after it was decided: ticks come once a second.
const PROMPT: Micros = 3 * SECOND;

/// The alarms are those that the transitions open and close, each once, and what is over stays over. Gives those of rules that
/// were decided as it happened.
pub async fn alarms(stage: &Stage, decided: &[Transition]) -> Result<Vec<Alarm>, String> {
    let store = &stage.alarms.inner;
    let filter = AlarmFilter { all: true, ..AlarmFilter::default() };
    let all = store.list(&filter).await.map_err(|e| e.to_string())?;
    let gone = all.iter().find(|a| a.rule == "firedamp/records-gone");
    equal!(gone.map(|a| &a.reason), None, "records were trimmed before they were read");
    let taken = stage.alarms.taken.lock().map_err(|e| e.to_string())?.clone();
    let ids = |of: &mut dyn Iterator<Item = &Transition>| -> BTreeSet<String> {
        of.map(|t| t.id.to_string()).collect()
    };
    let (took, wrote) = (ids(&mut taken.iter().flat_map(|b| &b.transitions)), ids(&mut decided.iter()));
    equal!(took.symmetric_difference(&wrote).count(), 0, "transitions taken, and decided");
    let expected = Expected::of(&taken);
    let ruled: Vec<Alarm> = all.iter().filter(|a| !is_own(a)).cloned().collect();
    let shapes: BTreeMap<String, Shape> = ruled.iter().map(|a| (a.id.clone(), Shape::of(a))).collect();
    equal_maps(&shapes, &expected.alarms, "alarm")?;

    let mut events: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
    let mut over = BTreeSet::new();
    for event in store.events_after(0, usize::MAX).await.map_err(|e| e.to_string())? {
        let id = &event.alarm.id;
        if over.contains(id) {
            return Err(format!("{} after the end of {id}", event.event.as_str()));
        }
        if matches!(event.event, EventKind::Cleared | EventKind::Late) {
            over.insert(id.clone());
        }
        if !is_own(&event.alarm) {
            events.entry(id.clone()).or_default().push(event.event.as_str());
        }
    }
    equal_maps(&events, &expected.events, "events of alarm")?;
    told(stage, &all, &expected)?;
    Ok(ruled.into_iter().filter(|a| !a.marks.late).collect())
}

fn is_own(alarm: &Alarm) -> bool {
    alarm.rule.starts_with("firedamp/")
}

/// Names the first difference.
fn equal_maps<T: PartialEq + std::fmt::Debug>(
    is: &BTreeMap<String, T>,
    wanted: &BTreeMap<String, T>,
    what: &str,
) -> Result<(), String> {
    let keys: BTreeSet<&String> = is.keys().chain(wanted.keys()).collect();
    match keys.into_iter().find(|key| is.get(*key) != wanted.get(*key)) {
        None => Ok(()),
        Some(key) => Err(format!("{what} {key}: {:?} is not {:?}", is.get(key), wanted.get(key))),
    }
}

/// A message as it is judged.
struct Message {
    at: Micros,
    event: String,
    time: Micros,
    alarms: Vec<Alarm>,
}

impl Message {
    fn read(at: Micros, body: &[u8]) -> Result<Self, String> {
        let body: Value = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        let one = std::slice::from_ref(&body["alarm"]);
        let alarms =
            if body["event"] == "digest" { body["alarms"].as_array().map_or(&[][..], |a| a) } else { one };
        let alarms: Result<Vec<Alarm>, _> =
            alarms.iter().map(|a| serde_json::from_value(a.clone())).collect();
        let time = body["time"].as_str().and_then(|t| model::time::parse(t).ok());
        Ok(Self {
            at,
            event: body["event"].as_str().unwrap_or_default().to_owned(),
            time: time.ok_or("a message without its time")?,
            alarms: alarms.map_err(|e| e.to_string())?,
        })
    }

    fn is_digest(&self) -> bool {
        self.event == "digest"
    }
}

/// Every message is about an alarm that there is, and what is said of each, in order, is what the model says: so every alarm is
/// told as new once, as itself or in a digest, each step and its end once. A key never stands for two contents.
fn told(stage: &Stage, all: &[Alarm], expected: &Expected) -> Result<(), String> {
    let mut contents: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut messages = Vec::new();
    for (at, key, body) in stage.bureau.told.lock().map_err(|e| e.to_string())?.iter() {
        match contents.insert(key.clone(), body.clone()) {
            None => messages.push(Message::read(*at, body)?),
            Some(before) if before == *body => {}
            Some(_) => return Err(format!("key {key} has another content at {}", at - START)),
        }
    }
    let known: BTreeMap<&str, &Alarm> = all.iter().map(|a| (&*a.id, a)).collect();
    let mut said: BTreeMap<String, Vec<Said>> = BTreeMap::new();
    for message in &messages {
        for alarm in &message.alarms {
            let Some(stored) = known.get(&*alarm.id) else {
                return Err(format!("a message about an unknown alarm: {alarm:?}"));
            };
            if is_own(stored) {
                continue;
            }
            let time = (!message.is_digest()).then(|| model::time::rfc3339(message.time));
            let what = (message.event.clone(), Shape::of(alarm), time);
            said.entry(alarm.id.clone()).or_default().push(what);
        }
    }
    equal_maps(&said, &expected.said, "messages about alarm")?;
    if let Some(alarm) = all.iter().find(|a| !is_own(a) && !said.contains_key(&a.id)) {
        return Err(format!("not told: {alarm:?}"));
    }
    if stage.rough { Ok(()) } else { messages.iter().try_for_each(|message| prompt(&stage.alarms, message)) }
}

/// Undisturbed, nothing waits, and a digest only as long as it gathers.
fn prompt(alarms: &SeedAlarms, message: &Message) -> Result<(), String> {
    let longest = PROMPT + if message.is_digest() { DIGEST_LATE } else { 0 };
    let taken = alarms.taken.lock().map_err(|e| e.to_string())?;
    let first = message.alarms.iter().flat_map(|a| {
        let mut batches = taken.iter().flat_map(|b| &b.transitions);
        batches.find(|t| t.id.to_string() == a.id).map(|t| t.decided)
    });
    let since = if message.is_digest() { first.min() } else { Some(message.time) };
    let late = message.at - since.unwrap_or(message.at);
    if late <= longest { Ok(()) } else { Err(format!("{} was told {late} µs late", message.event)) }
}
