//! Builds deliveries: the one place where names become point ids and where time, status and value rules of the edge are
//! applied, the same for every protocol.
//!
//! | what a device sends | what becomes of it |
//! |---|---|
//! | a point that is not in the catalog | `unknown`, reason `unknown point`; the sink applies the policy |
//! | no time, or the source is configured `time = "receive"` | receive time, bit `no_device_time` |
//! | a time before 2000 or from 2100 on | refused, `time`: a clock that was never set |
//! | a time more than 5 min ahead of receive time | kept as sent, bit `future`; not for replayed sources |
//! | no value, NaN, infinite | NaN with bit `missing` |
//! | a status outside 0 to 255 | refused, `status`: cut to one byte, 256 would read as good |
//! | an empty name, or one longer than [`NAME_LEN_MAX`] | refused, `name` |
//! | a position of a site that is not in the catalog | refused, `site` |
//!
//! Devices set only the national byte of the status. A source configured as drill marks everything `simulated`, and no
//! other source can. Bits `stale` and `historical` are set by a protocol that knows ([`DeliveryBuilder::mark`]).
//!
//! received = readings + unknown + positions + refused, always.

mod names;
#[cfg(test)]
mod tests;

use crate::{Context, Delivery, Refusal};
use model::people::{Position, Positions};
use model::record::{Quarantined, UNKNOWN_POINT, run_flags};
use model::time::{MINUTE, TIME_MAX, TIME_MIN, rfc3339};
use model::{Catalog, Micros, ReadingsBuilder, status};
use names::Names;
use std::sync::Arc;

/// Longest code of a site or point that is taken, in bytes; national codes have 28.
pub const NAME_LEN_MAX: usize = 256;
/// How far ahead of receive time an event time may be without the bit `future`.
pub const AHEAD_MAX: Micros = 5 * MINUTE;
/// Longest sample kept of what was refused, in bytes.
const SAMPLE_LEN_MAX: usize = 200;
/// Own bits that a protocol may set; `simulated`, `future`, `missing` and `no_device_time` follow from the rules above.
const MARKS: i32 = status::STALE | status::HISTORICAL;

/// Builds one delivery after another for one source (or one link of it).
pub struct DeliveryBuilder {
    context: Context,
    catalog: Arc<Catalog>,
    names: Names,
    simulated: i32,
    replay: bool,
    receive_time: bool,
    marks: i32,
    begun: bool,
    received: Micros,
    rows_hint: usize,
    readings: ReadingsBuilder,
    unknown: Vec<Quarantined>,
    positions: Vec<Position>,
    refused: Vec<Refusal>,
}

impl DeliveryBuilder {
    /// A builder for the source of `context`.
    pub fn new(context: &Context) -> Self {
        let flags = context.info.flags;
        Self {
            context: context.clone(),
            catalog: context.catalog(),
            names: Names::default(),
            simulated: if flags & run_flags::DRILL != 0 { status::SIMULATED } else { 0 },
            replay: flags & run_flags::REPLAY != 0,
            receive_time: false,
            marks: 0,
            begun: false,
            received: 0,
            rows_hint: 0,
            readings: ReadingsBuilder::default(),
            unknown: Vec::new(),
            positions: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Ignores the times of devices: event time is receive time, as for a device without a clock.
    #[must_use]
    pub fn with_receive_time(mut self, on: bool) -> Self {
        self.receive_time = on;
        self
    }

    /// Starts a delivery: takes the receive time and the catalog now in force. The first row of a delivery does it by
    /// itself; call it where receiving and decoding lie apart.
    pub fn begin(&mut self) {
        self.begin_at(self.context.clock.now());
    }

    /// Starts a delivery that was received at `received`.
    pub fn begin_at(&mut self, received: Micros) {
        self.received = received;
        self.begun = true;
        let catalog = self.context.catalog();
        if !Arc::ptr_eq(&catalog, &self.catalog) {
            self.catalog = catalog;
            self.names = Names::default();
        }
        if self.readings.is_empty() {
            self.readings = ReadingsBuilder::with_capacity(self.rows_hint);
        }
    }

    /// When the present delivery was received.
    pub fn received(&mut self) -> Micros {
        if !self.begun {
            self.begin();
        }
        self.received
    }

    /// Sets [`status::STALE`] or [`status::HISTORICAL`] on the rows that follow in this delivery; other bits are ignored.
    pub fn mark(&mut self, bits: i32) {
        self.marks = bits & MARKS;
    }

    /// Rows so far, refused ones included.
    pub fn rows(&self) -> usize {
        self.readings.len() + self.unknown.len() + self.positions.len() + self.refused_len()
    }

    fn refused_len(&self) -> usize {
        self.refused.iter().map(|r| r.count as usize).sum()
    }

    /// Adds one reading as the device sent it: codes of site and point, its time, its value (`None` or not finite:
    /// missing), its national status byte.
    pub fn reading(
        &mut self,
        site: &str,
        point: &str,
        time: Option<Micros>,
        value: impl Into<Option<f64>>,
        device_status: i32,
    ) {
        if !self.begun {
            self.begin();
        }
        if device_status & !status::NATIONAL != 0 {
            return self.refuse_of(
                "status",
                site,
                point,
                &format!("status {device_status} is outside 0 to 255"),
            );
        }
        let (time, time_bits) = match self.event_time(time) {
            Ok(judged) => judged,
            Err(time) => return self.refuse_of("time", site, point, &out_of_range(time)),
        };
        let value = value.into().unwrap_or(f64::NAN);
        let word = device_status | time_bits | self.simulated | self.marks;
        match self.names.resolve(&self.catalog, site, point) {
            Some(id) => self.readings.push(id, time, value, word),
            None => self.unknown_point(site, point, time, value, word),
        }
    }

    /// Adds one position of a person.
    pub fn position(&mut self, position: Position) {
        if !self.begun {
            self.begin();
        }
        if !(TIME_MIN..TIME_MAX).contains(&position.time) {
            return self.refuse(
                "time",
                1,
                &format!("card {}: {}", position.card, out_of_range(position.time)),
            );
        }
        let texts = [&position.card, &position.name, &position.area, &position.station];
        if position.card.is_empty() || texts.iter().any(|t| t.len() > NAME_LEN_MAX) {
            return self.refuse(
                "name",
                1,
                &format!("card `{}`: empty, or a text is too long", position.card),
            );
        }
        if self.catalog.site_ix(&position.site).is_none() {
            let sample = format!("card {}: site `{}` is not in the catalog", position.card, position.site);
            return self.refuse("site", 1, &sample);
        }
        self.positions.push(position);
    }

    /// The time of a position: the device's, or receive time where it sent none or the source is configured so.
    pub fn position_time(&mut self, time: Option<Micros>) -> Micros {
        let received = self.received();
        if self.receive_time { received } else { time.unwrap_or(received) }
    }

    /// Counts readings that could not be decoded; the first sample of a reason in a delivery is kept.
    pub fn refuse(&mut self, reason: &'static str, count: u64, sample: &str) {
        if !self.begun {
            self.begin();
        }
        match self.refused.iter_mut().find(|r| r.reason == reason) {
            Some(refusal) => refusal.count += count,
            None => self.refused.push(Refusal { reason, count, sample: shorten(sample) }),
        }
    }

    /// Whether the present delivery holds nothing, refusals included.
    pub fn is_empty(&self) -> bool {
        self.readings.is_empty()
            && self.unknown.is_empty()
            && self.positions.is_empty()
            && self.refused.is_empty()
    }

    /// The delivery; the builder is ready for the next.
    pub fn finish(&mut self) -> Delivery {
        let received = self.received();
        self.begun = false;
        self.marks = 0;
        self.rows_hint = self.readings.len();
        let rows = std::mem::take(&mut self.positions);
        Delivery {
            received,
            readings: std::mem::take(&mut self.readings).finish(),
            unknown: std::mem::take(&mut self.unknown),
            positions: (!rows.is_empty()).then_some(Positions { rows, snapshot: None }),
            refused: std::mem::take(&mut self.refused),
        }
    }

    /// Event time and the bits it brings, or the time that cannot be believed.
    fn event_time(&self, sent: Option<Micros>) -> Result<(Micros, i32), Micros> {
        match sent {
            Some(time) if !self.receive_time => {
                if !(TIME_MIN..TIME_MAX).contains(&time) {
                    return Err(time);
                }
                let ahead = !self.replay && time > self.received + AHEAD_MAX;
                Ok((time, if ahead { status::FUTURE } else { 0 }))
            }
            _ => Ok((self.received, status::NO_DEVICE_TIME)),
        }
    }

    #[cold]
    fn unknown_point(&mut self, site: &str, point: &str, time: Micros, value: f64, word: i32) {
        let good_len = |name: &str| !name.is_empty() && name.len() <= NAME_LEN_MAX;
        if !good_len(site) || !good_len(point) {
            return self.refuse_of("name", site, point, "a code is empty or too long");
        }
        let value = value.is_finite().then_some(value);
        self.unknown.push(Quarantined {
            site: site.to_owned(),
            point: point.to_owned(),
            time,
            value,
            status: if value.is_some() { word } else { word | status::MISSING },
            reason: UNKNOWN_POINT.to_owned(),
        });
    }

    #[cold]
    fn refuse_of(&mut self, reason: &'static str, site: &str, point: &str, what: &str) {
        // One hostile row must not cost the formatting of all its neighbours: only the first is shown.
        match self.refused.iter_mut().find(|r| r.reason == reason) {
            Some(refusal) => refusal.count += 1,
            None => self.refuse(reason, 1, &format!("{} / {}: {what}", shorten(site), shorten(point))),
        }
    }
}

fn out_of_range(time: Micros) -> String {
    format!("time {} is not between 2000 and 2100: is the device's clock set?", rfc3339(time))
}

/// At most [`SAMPLE_LEN_MAX`] bytes of a text, cut between characters, without control characters.
pub(crate) fn shorten(text: &str) -> String {
    let mut end = text.len().min(SAMPLE_LEN_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut short: String =
        text[..end].chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if end < text.len() {
        short.push_str("...");
    }
    short
}
