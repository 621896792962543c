//! Who is told what: pure, so that every store writes the same outbox rows. The bytes are rendered once; the key is a hash of
//! what it is about and the receiver, and all that is rendered follows from the transitions, so that a key never stands for two
//! contents, not even in a database restored from a backup.
//!
//! A receiver is told `raised` when an alarm first is what it wants to be told of, and from then on how that alarm goes on to its
//! end, also where it falls below what it asked for: who was warned hears the all-clear.

use crate::life::{Class, Row};
use crate::notifiers::Notice;
use crate::receiver::Receiver;
use crate::{EventKind, OutboxRow, own};
use model::time::rfc3339;
use model::{Alarm, AlarmState, Micros, Severity};
use serde_json::json;
use sha2::{Digest, Sha256};

/// Alarms in one digest message; more go in further parts.
pub const DIGEST_ALARMS_MAX: usize = 500;

/// The messages of what happened to an alarm; `row.told` is brought up to date.
pub fn event(receivers: &[Receiver], row: &mut Row, now: Micros) -> Vec<OutboxRow> {
    let active = row.alarm.state == AlarmState::Active;
    let shown = active.then(|| (row.alarm.level.clone(), row.alarm.severity));
    if row.class == Class::Late {
        return Vec::new();
    }
    let mut out = Vec::new();
    let mut told = std::mem::take(&mut row.told);
    // What is said is the same for all who hear the same event.
    let (mut raised, mut further) = (None, None);
    for receiver in receivers {
        let (kind, json) = match (told.receivers.contains(&receiver.name), active) {
            // One more that meets its condition is told though the level is the same.
            (true, true) if told.shown == shown && !row.alarm.marks.further => continue,
            (true, true) => (EventKind::Changed, &mut further),
            (true, false) => (EventKind::Cleared, &mut further),
            // Decided while calibrating: recorded, not told.
            (false, true) if !row.alarm.marks.calibrating && wants(receiver, row) => {
                (EventKind::Raised, &mut raised)
            }
            (false, _) => continue,
        };
        let said = json.get_or_insert_with(|| Said::of(row, kind));
        let before = told.shown.as_ref().filter(|_| kind != EventKind::Raised);
        let before = before.map(|(level, severity)| (level.as_str(), *severity));
        let (event, alarms, time) = (kind.as_str(), &[&row.alarm], row.decided);
        let saying = Saying { event, alarms, time, before, json: &said.json };
        out.push(OutboxRow { alarm: row.alarm.id.clone(), ..message(receiver, &said.about, saying, now) });
        told.receivers.insert(receiver.name.clone());
    }
    if !out.is_empty() {
        told.shown = shown;
    }
    row.told = told;
    out
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
pub fn digest(receivers: &[Receiver], rows: &[Row], now: Micros) -> Vec<OutboxRow> {
    let mut out = Vec::new();
    for receiver in receivers {
        let new = |r: &&Row| r.is_real() && wants(receiver, r) && !r.told.receivers.contains(&receiver.name);
        let rows: Vec<&Row> = rows.iter().filter(new).collect();
        let parts = rows.len().div_ceil(DIGEST_ALARMS_MAX);
        for (i, part) in rows.chunks(DIGEST_ALARMS_MAX).enumerate() {
            let alarms: Vec<&Alarm> = part.iter().map(|r| &r.alarm).collect();
            let time = part.iter().map(|r| r.decided).max().unwrap_or(now);
            let body = json!({
                "event": "digest", "late": true, "alarms": alarms, "part": i + 1, "parts": parts, "time": rfc3339(time),
            });
            let about: Vec<&str> = part.iter().map(|r| r.last_transition.as_str()).collect();
            let saying =
                Saying { event: "digest", alarms: &alarms, time, before: None, json: &body.to_string() };
            out.push(message(
                receiver,
                &format!("digest/{}/{parts}/{}", i + 1, about.join(",")),
                saying,
                now,
            ));
        }
    }
    out
}

/// Whether a held alarm belongs into the digest: it is over, and somebody may not have heard of it.
pub fn rose_and_fell(row: &Row) -> bool {
    row.alarm.state == AlarmState::Closed && row.is_real()
}

fn wants(receiver: &Receiver, row: &Row) -> bool {
    let alarm = &row.alarm;
    if receiver.drill != (row.class == Class::Drill) || alarm.severity > receiver.severity {
        return false;
    }
    if alarm.site == own::SITE {
        let about_itself = own::is_about_receiver(&alarm.rule) && alarm.point == receiver.name;
        return receiver.own && !about_itself;
    }
    let region = &alarm.place.region;
    (receiver.sites.is_empty() || receiver.sites.contains(&alarm.site))
        && (receiver.regions.is_empty() || receiver.regions.iter().any(|r| region.starts_with(r)))
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
    let hash = Sha256::digest(format!("{about}/{}", receiver.name).as_bytes());
    let key = hex::encode(&hash[..16]);
    let Saying { event, alarms, time, before, json } = s;
    let notice = Notice { key: &key, event, alarms, time, before, json };
    let body = receiver.settings.render(&notice);
    OutboxRow {
        receiver: receiver.name.clone(),
        alarm: String::new(),
        drill: receiver.drill,
        quiet: alarms.iter().all(|a| a.site == own::SITE && own::is_about_receiver(&a.rule)),
        body,
        attempts: 0,
        created: now,
        next_at: now,
        key,
    }
}
