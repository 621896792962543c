//! Readings that others push over HTTP: pure decoders, and the step from a body to a durable delivery. Routes, limits of size and
//! who may push are the server's.
//!
//! **JSON**: an array of `{"site", "point", "time", "value", "status"}`, the columns of a readings file. `value` null is missing,
//! `time` absent is receive time, `status` absent is 0. A body that is no JSON array is refused as a whole and counts as one; an element that is wrong
//! is a counted refusal, and its neighbours are taken.
//!
//! **InfluxDB line protocol** (`line.rs`): one line `measurement,tags fields time`.
//!
//! | what stands in the line | what it is |
//! |---|---|
//! | tag `site` | code of the site, needed |
//! | tag `point`, else the measurement | code of the point |
//! | field `value` | the point's value |
//! | field `status` | national status of all readings of the line, 0 to 255 |
//! | any other field `x` | a reading of the point `POINT.x` |
//! | other tags | nothing |
//!
//! Each bad line is one refusal with its number, the others are taken. Lines starting with `#` and empty lines are skipped.

mod line;
#[cfg(test)]
mod tests;

pub use line::Precision;

use crate::builder::{DeliveryBuilder, shorten};
use crate::mapping::{Mapping, Scratch, Texts};
use crate::metrics::{SourceMetrics, Tally};
use crate::{Context, Delivery, Refusal, SinkError};
use line::{Field, Line};
use model::Micros;
use serde::Serialize;
use std::sync::{Mutex, PoisonError};

/// Builders kept for the next request, with the names that they have resolved; more requests at a time make their own.
const SPARE_MAX: usize = 4;

/// The push source of a server.
pub struct PushSource {
    context: Context,
    metrics: SourceMetrics,
    mapping: Mapping,
    spare: Mutex<Vec<(DeliveryBuilder, Scratch)>>,
}

/// What the one who pushed is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Readings of known points, now durable.
    pub accepted: u64,
    /// Readings of unknown points, now with the policy for them.
    pub unknown: u64,
    /// Readings and lines refused, by reason.
    pub refused: Vec<Refused>,
}

/// Refusals of one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// A short word.
    pub reason: &'static str,
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: String,
}

impl PushSource {
    /// A source for all pushes under the name of `context`.
    pub fn new(context: Context) -> Self {
        let columns = [
            ("site", "/site"),
            ("point", "/point"),
            ("time", "/time"),
            ("value", "/value"),
            ("status", "/status"),
        ];
        let texts = Texts { each: Some(""), map: columns.to_vec(), ..Texts::default() };
        let mapping = Mapping::compile(&texts).expect("the columns are constants, and a test compiles them");
        let metrics = context.metrics.source(&context.info.name);
        Self { context, metrics, mapping, spare: Mutex::default() }
    }

    /// Decodes a JSON body.
    ///
    /// # Errors
    /// When the body is no JSON array: nothing of it is to be taken, and the body counts as one refusal ([`Self::refuse`]).
    pub fn decode_json(&self, body: &[u8]) -> Result<Delivery, Refusal> {
        let first =
            body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).iter().find(|b| !b.is_ascii_whitespace());
        if first != Some(&b'[') {
            let sample = "the body is not a JSON array of {site, point, time, value, status}".to_owned();
            return Err(Refusal { reason: "json", count: 1, sample });
        }
        let delivery = self.with_builder(|out, scratch| self.mapping.decode(scratch, "body", body, out));
        match delivery.refused.iter().find(|r| matches!(r.reason, "json" | "encoding" | "type")) {
            Some(whole) => Err(Refusal { count: 1, ..whole.clone() }),
            None => Ok(delivery),
        }
    }

    /// Counts a body that is refused as a whole. Best effort: who pushed it is told anyhow.
    pub async fn refuse(&self, refusal: Refusal) {
        let Refusal { reason, count, sample } = refusal;
        let delivery = self.with_builder(|out, _| out.refuse(reason, count, &sample));
        if let Err(e) = self.accept(delivery).await {
            tracing::warn!(source = %self.context.info.name, reason, "a refusal was not counted: {e}");
        }
    }

    /// Decodes a body of line protocol.
    pub fn decode_lines(&self, body: &[u8], precision: Precision) -> Delivery {
        self.with_builder(|out, _| lines(body, precision, out))
    }

    /// Makes a delivery durable and counts it. One attempt: who pushes tries again by itself.
    ///
    /// # Errors
    /// When the sink does not take it: answer 503, and nothing was acknowledged.
    pub async fn accept(&self, delivery: Delivery) -> Result<Answer, SinkError> {
        let tally = Tally::of(&delivery);
        let refused = delivery.refused.iter().map(|r| Refused {
            reason: r.reason,
            count: r.count,
            first: r.sample.clone(),
        });
        let answer = Answer { accepted: tally.readings, unknown: tally.unknown, refused: refused.collect() };
        let received = delivery.received;
        if tally != Tally::default() {
            self.context
                .sink
                .accept(&self.context.info, delivery)
                .await
                .inspect_err(|_| self.metrics.retries.inc())?;
        }
        self.metrics.durable(&tally);
        let mut health = self.context.health.write().unwrap_or_else(PoisonError::into_inner);
        (health.up, health.last) = (true, Some(received));
        Ok(answer)
    }

    fn with_builder(&self, decode: impl FnOnce(&mut DeliveryBuilder, &mut Scratch)) -> Delivery {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (mut builder, mut scratch) =
            spare.unwrap_or_else(|| (DeliveryBuilder::new(&self.context), Scratch::default()));
        builder.begin();
        decode(&mut builder, &mut scratch);
        let delivery = builder.finish();
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_MAX {
            spare.push((builder, scratch));
        }
        delivery
    }
}

/// All lines of a body. A newline ends a line even within quotes: a quote that does not close must not swallow its neighbours.
fn lines(body: &[u8], precision: Precision, out: &mut DeliveryBuilder) {
    let mut room = Line::default();
    let mut code = String::new();
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', body).chain(std::iter::once(body.len()));
    for (ix, end) in ends.enumerate() {
        let bytes = &body[start..end];
        start = end + 1;
        let Ok(text) = std::str::from_utf8(bytes) else {
            out.refuse("encoding", 1, &format!("line {}: not UTF-8", ix + 1));
            continue;
        };
        let text = text.trim_matches([' ', '\r', '\t']);
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let taken = match room.parse(text) {
            Ok(()) => readings(&room, precision, &mut code, out),
            Err(message) => Err(("line", message)),
        };
        if let Err((reason, message)) = taken {
            out.refuse(reason, 1, &format!("line {}: {message}: {}", ix + 1, shorten(text)));
        }
    }
}

/// The readings of one line.
fn readings(
    line: &Line<'_>,
    precision: Precision,
    code: &mut String,
    out: &mut DeliveryBuilder,
) -> Result<(), (&'static str, String)> {
    let site = line.tag("site").ok_or_else(|| ("name", "there is no tag `site`".to_owned()))?;
    let base = line.tag("point").unwrap_or(&line.measurement);
    let time: Option<Micros> = line.time.map(|t| precision.micros(t)).transpose().map_err(|e| ("time", e))?;
    let status = match line.field("status") {
        None => 0,
        Some(Field::Integer(n)) => i32::try_from(*n).unwrap_or(-1),
        Some(Field::Float(n)) if n.fract() == 0.0 && n.abs() < 1e9 => *n as i32,
        Some(_) => return Err(("status", "`status` is not a whole number".to_owned())),
    };
    let values = line.fields.iter().filter(|(key, _)| *key != "status");
    let mut none = true;
    for (key, field) in values {
        none = false;
        let point = if *key == "value" {
            base
        } else {
            code.clear();
            code.extend([base, ".", key]);
            code.as_str()
        };
        match field.value() {
            Some(value) => out.reading(site, point, time, value, status),
            None => out.refuse(
                "value",
                1,
                &format!("{} / {}: a text is not a number", shorten(site), shorten(point)),
            ),
        }
    }
    if none { Err(("value", "there is no field but `status`".to_owned())) } else { Ok(()) }
}
