//! Who is told what: pure, so that every store writes the same outbox rows. The body is rendered once; the key is a hash of
//! what it is about and the receiver, so that a key never stands for two contents.

use crate::life::{Class, Row};
use crate::receiver::Receiver;
use crate::{EventKind, OutboxRow, own};
use model::time::rfc3339;
use model::{Alarm, AlarmState, Micros};
use serde_json::json;
use sha2::{Digest, Sha256};

/// What a decision about telling says; also the label of a metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// A message was written for at least one receiver.
    Written,
    /// Nobody is to be told of it.
    NoReceiver,
    /// Recorded while calibrating.
    Calibrating,
    /// Held until the rules have caught up.
    Held,
    /// Goes with the digest.
    Digest,
}

/// The messages of one event of one alarm.
pub fn event(receivers: &[Receiver], row: &Row, kind: EventKind, now: Micros) -> (Vec<OutboxRow>, Told) {
    if row.class == Class::Late {
        return (Vec::new(), Told::Digest);
    }
    if row.alarm.marks.calibrating {
        return (Vec::new(), Told::Calibrating);
    }
    // An alarm that was born in calibration is raised when it turns real.
    let kind = if row.told || kind == EventKind::Acknowledged { kind } else { EventKind::Raised };
    let body = json!({ "event": kind.as_str(), "alarm": row.alarm, "time": rfc3339(now) }).to_string();
    let rows: Vec<OutboxRow> = receivers
        .iter()
        .filter(|r| wants(r, &row.alarm, row.class))
        .map(|r| {
            message(
                r,
                &format!("{}/{}/{}", row.alarm.id, row.last_transition, kind.as_str()),
                body.clone(),
                now,
            )
        })
        .collect();
    let told = if rows.is_empty() { Told::NoReceiver } else { Told::Written };
    (rows, told)
}

/// One digest a receiver: what rose and fell while notifications were held, and what late readings showed.
pub fn digest(receivers: &[Receiver], rows: &[Row], now: Micros) -> Vec<OutboxRow> {
    let mut out = Vec::new();
    for receiver in receivers {
        let alarms: Vec<&Alarm> =
            rows.iter().filter(|r| wants(receiver, &r.alarm, r.class)).map(|r| &r.alarm).collect();
        if alarms.is_empty() {
            continue;
        }
        let about: Vec<&str> = rows.iter().map(|r| r.last_transition.as_str()).collect();
        let body =
            json!({ "event": "digest", "late": true, "alarms": alarms, "time": rfc3339(now) }).to_string();
        out.push(message(receiver, &format!("digest/{}", about.join(",")), body, now));
    }
    out
}

/// Whether the outcome of a held alarm goes with the digest: it rose and fell unseen.
pub fn rose_and_fell(row: &Row) -> bool {
    !row.told && row.alarm.state == AlarmState::Closed
}

fn wants(receiver: &Receiver, alarm: &Alarm, class: Class) -> bool {
    let about_itself = alarm.rule == own::DEAD_LETTER && alarm.point == receiver.name;
    let drill = class == Class::Drill;
    let site = receiver.sites.is_empty() || receiver.sites.contains(&alarm.site) || alarm.site == own::SITE;
    receiver.drill == drill && !about_itself && site && alarm.severity <= receiver.severity
}

fn message(receiver: &Receiver, about: &str, body: String, now: Micros) -> OutboxRow {
    let hash = Sha256::digest(format!("{about}/{}", receiver.name).as_bytes());
    OutboxRow {
        key: hex::encode(&hash[..16]),
        receiver: receiver.name.clone(),
        body: body.into_bytes(),
        attempts: 0,
        created: now,
        next_at: now,
    }
}
