//! Who is told what: pure, so that every store writes the same outbox rows. The bytes are rendered once; the key is a hash of
//! what it is about, the receiver and what is said, so that a key never stands for two contents, not even in a database restored from a
//! backup, where an acknowledgement may be missing.
//!
//! A receiver is told `raised` when an alarm opens or rises and the routes choose it ([`crate::route`]), and from then on how that alarm goes
//! on to its end, also where it falls below what would choose it: who was warned hears the all-clear. Routes are asked at the time at
//! which the rules decided, which every replay finds again, so that the same receivers are told under the same keys; of what comes back
//! from the shelf at the time of that, which no replay decides.

use crate::flood::Floods;
use crate::journal::Checkpoint;
use crate::life::{Class, Row, Told};
use crate::notifiers::Notice;
use crate::receiver::Receiver;
use crate::route::Pressed;
use crate::{EventKind, OutboxRow, Routes, own};
use aws_lc_rs::digest::{self, SHA256};
use model::time::rfc3339;
use model::{Alarm, AlarmState, Micros, Severity};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// What a list is about, in the outbox: all that is told to its receiver is in order with it.
pub const LIST: &str = "list";
/// Alarms in one digest message; more go in further parts.
pub const DIGEST_ALARMS_MAX: usize = 500;

/// What telling met that is counted once the transaction is committed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Untold {
    /// Alarms of which nobody was told.
    pub alarms: u64,
    /// Names of rosters that had nobody on duty.
    pub holes: Vec<String>,
    /// Messages that went into the list of a receiver instead.
    pub listed: u64,
}

/// The messages of what happened to an alarm, to whom the routes choose `at` this time; `row.told` is brought up to date.
pub fn event(
    routes: &Routes,
    row: &mut Row,
    at: Micros,
    now: Micros,
    floods: &mut Floods,
    untold: &mut Untold,
) -> Vec<OutboxRow> {
    let active = row.alarm.state == AlarmState::Active;
    let shown = active.then(|| (row.alarm.level.clone(), row.alarm.severity));
    if row.class == Class::Late {
        return Vec::new();
    }
    let mut out = Vec::new();
    let mut told = std::mem::take(&mut row.told);
    let mut who: BTreeSet<usize> = told.receivers.iter().filter_map(|name| routes.position(name)).collect();
    // Decided while calibrating: recorded, not told.
    let is_news = is_news(&told, row);
    if active && !row.alarm.marks.calibrating && (who.is_empty() || is_news) {
        who.extend(choose(routes, row, at, untold));
        if who.is_empty() {
            untold.alarms += u64::from(is_news && row.class == Class::Live);
            // Counted once, until it rises.
            told.shown.clone_from(&shown);
        }
    }
    // What is said is the same for all who hear the same event.
    let (mut raised, mut further, mut listed) = (None, None, Vec::new());
    for receiver in who.into_iter().map(|number| &routes.receivers()[number]) {
        let (kind, json) = match (told.receivers.contains(&receiver.name), active) {
            // One more that meets its condition is told though the level is the same.
            (true, true) if told.shown == shown && !row.alarm.marks.further => continue,
            (true, true) => (EventKind::Changed, &mut further),
            (true, false) => (EventKind::Cleared, &mut further),
            (false, _) => (EventKind::Raised, &mut raised),
        };
        if floods.lists(receiver, &row.alarm.id, now) {
            listed.push(receiver.name.clone());
            continue;
        }
        let said = json.get_or_insert_with(|| Said::of(row, kind));
        let before = told.shown.as_ref().filter(|_| kind != EventKind::Raised);
        let before = before.map(|(level, severity)| (level.as_str(), *severity));
        let (event, alarms, time) = (kind.as_str(), &[&row.alarm], row.decided);
        let saying = Saying { event, alarms, time, before, json: &said.json };
        out.push(OutboxRow { alarm: row.alarm.id.clone(), ..message(receiver, &said.about, saying, now) });
        told.receivers.insert(receiver.name.clone());
    }
    if !out.is_empty() || !listed.is_empty() {
        told.shown = shown;
    }
    untold.listed += listed.len() as u64;
    told.receivers.extend(listed);
    row.told = told;
    out
}

/// Whether further receivers may be told: it rose since the last time. A window that opens and a shift that begins while an alarm stands tell
/// nobody by themselves: who was told has it.
pub fn is_news(told: &Told, row: &Row) -> bool {
    let Some((level, severity)) = &told.shown else { return true };
    let shown = &row.alarm.level;
    let rank = |level: &String| row.levels.get(level).map(|l| l.rank);
    row.alarm.marks.further
        || row.alarm.severity < *severity
        || match rank(level) {
            Some(before) => rank(shown).is_some_and(|rank| rank > before),
            // The level they know is off: it rose if none was higher than the one shown now.
            None => shown != level && *shown == row.top.0,
        }
}

/// The messages of an alarm that nobody has acknowledged for some time; `row.told` is brought up to date.
pub fn press(
    routes: &Routes,
    row: &mut Row,
    since: Micros,
    press: &Pressed,
    now: Micros,
    floods: &mut Floods,
) -> Vec<OutboxRow> {
    let event = if press.again { "reminded" } else { "escalated" };
    let (at, after) = (since + press.after, press.after / model::time::SECOND);
    let json = json!({ "event": event, "alarm": row.alarm, "time": rfc3339(at), "unacknowledged_s": after });
    let (json, about) = (json.to_string(), format!("{}/{event}/{at}", row.alarm.id));
    let mut told = std::mem::take(&mut row.told);
    let mut out = Vec::new();
    for receiver in press.receivers.iter().map(|number| &routes.receivers()[*number]) {
        let knows = told.receivers.contains(&receiver.name);
        told.receivers.insert(receiver.name.clone());
        if floods.lists(receiver, &row.alarm.id, now) {
            continue;
        }
        let before = told.shown.as_ref().filter(|_| knows);
        let before = before.map(|(level, severity)| (level.as_str(), *severity));
        let saying = Saying { event, alarms: &[&row.alarm], time: at, before, json: &json };
        out.push(OutboxRow { alarm: row.alarm.id.clone(), ..message(receiver, &about, saying, now) });
    }
    row.told = told;
    out
}

/// Who is told of an alarm as it stands.
fn choose(routes: &Routes, row: &Row, at: Micros, untold: &mut Untold) -> BTreeSet<usize> {
    let choice = routes.choose(&row.alarm, at);
    untold.holes.extend(choice.holes.iter().map(|roster| routes.roster_name(*roster).to_owned()));
    choice.receivers
}

/// What an event says, whoever hears it.
struct Said {
    about: String,
    json: String,
}

impl Said {
    fn of(row: &Row, kind: EventKind) -> Self {
        let json =
            json!({ "event": kind.as_str(), "alarm": row.alarm, "time": rfc3339(row.decided) }).to_string();
        Self { about: format!("{}/{}/{}", row.alarm.id, row.last_transition, kind.as_str()), json }
    }
}

/// One digest a receiver: what rose and fell while notifications were held, and what late readings showed.
pub fn digest(routes: &Routes, rows: &[Row], now: Micros, untold: &mut Untold) -> Vec<OutboxRow> {
    let mut by_receiver: BTreeMap<usize, Vec<&Row>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.is_real()) {
        let chosen = choose(routes, row, row.decided, untold);
        untold.alarms += u64::from(chosen.is_empty() && row.told.receivers.is_empty());
        let new = |number: &usize| !row.told.receivers.contains(&routes.receivers()[*number].name);
        for number in chosen.into_iter().filter(new) {
            by_receiver.entry(number).or_default().push(row);
        }
    }
    let digest =
        |(number, rows): (usize, Vec<&Row>)| parts(&routes.receivers()[number], &rows, "digest", now);
    by_receiver.into_iter().flat_map(digest).collect()
}

/// What is told to a receiver in a flood: alarms as they stand, the worst first, those that are on before those that are over.
pub fn list(receiver: &Receiver, rows: &[Row], now: Micros) -> Vec<OutboxRow> {
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by_key(|row| (row.alarm.state != AlarmState::Active, row.alarm.severity, row.alarm.opened));
    let messages = parts(receiver, &rows, "list", now);
    messages.into_iter().map(|message| OutboxRow { alarm: LIST.to_owned(), ..message }).collect()
}

/// Messages that say many alarms, none of them too long.
fn parts(receiver: &Receiver, rows: &[&Row], event: &str, now: Micros) -> Vec<OutboxRow> {
    let (mut out, parts) = (Vec::new(), rows.len().div_ceil(DIGEST_ALARMS_MAX));
    for (part, rows) in (1..).zip(rows.chunks(DIGEST_ALARMS_MAX)) {
        let alarms: Vec<&Alarm> = rows.iter().map(|r| &r.alarm).collect();
        // A list may say the same twice, for what stands is pressed for again: its time is that of the telling, and part of its key.
        let decided = || rows.iter().map(|r| r.decided).max().unwrap_or(now);
        let time = if event == "list" { now } else { decided() };
        let mut body =
            json!({ "event": event, "alarms": alarms, "part": part, "parts": parts, "time": rfc3339(time) });
        if event == "digest" {
            body["late"] = true.into();
        }
        let about: Vec<&str> = rows.iter().map(|r| r.last_transition.as_str()).collect();
        let about = format!("{event}/{part}/{parts}/{}", about.join(","));
        let saying = Saying { event, alarms: &alarms, time, before: None, json: &body.to_string() };
        out.push(message(receiver, &about, saying, now));
    }
    out
}

/// A signed entry of the journal, for whoever keeps them.
pub fn checkpoint(receivers: &[Receiver], signed: &Checkpoint, now: Micros) -> Vec<OutboxRow> {
    let json = format!("{{\"event\":\"checkpoint\",\"checkpoint\":{}}}", signed.to_json());
    let about = format!("checkpoint/{}/{}/{}", signed.seq, hex::encode(signed.hash), signed.at);
    let saying = || Saying { event: "checkpoint", alarms: &[], time: signed.at, before: None, json: &json };
    receivers.iter().filter(|r| r.checkpoints).map(|r| message(r, &about, saying(), now)).collect()
}

/// Whether a held alarm belongs into the digest: it is over, and somebody may not have heard of it.
pub fn rose_and_fell(row: &Row) -> bool {
    row.alarm.state == AlarmState::Closed && row.is_real() && row.alarm.shelved.is_none()
}

/// A notice that has no key yet.
struct Saying<'a> {
    event: &'a str,
    alarms: &'a [&'a Alarm],
    time: Micros,
    before: Option<(&'a str, Severity)>,
    json: &'a str,
}

fn message(receiver: &Receiver, about: &str, s: Saying<'_>, now: Micros) -> OutboxRow {
    // What people did since (seen, disposed) follows from no transition: it is part of the key where it is part of what is said.
    let about = format!("{about}/{}/{}", receiver.name, s.json);
    let hash = digest::digest(&SHA256, about.as_bytes());
    let key = hex::encode(&hash.as_ref()[..16]);
    let Saying { event, alarms, time, before, json } = s;
    let notice = Notice { key: &key, event, alarms, time, before, json };
    let body = receiver.settings.render(&notice);
    OutboxRow {
        receiver: receiver.name.clone(),
        alarm: String::new(),
        drill: receiver.drill,
        quiet: !alarms.is_empty()
            && alarms.iter().all(|a| a.site == own::SITE && own::is_about_receiver(&a.rule)),
        body,
        attempts: 0,
        created: now,
        next_at: now,
        key,
    }
}
