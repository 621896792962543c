//! What is known of the past of one level: the episodes that have been decided, and what late readings say.
//!
//! - What a source sends again (a retry after a lost acknowledgement, a restart) finds nothing new: neither a second alarm nor a
//!   late-found episode.
//! - Late readings over make one late-found episode, once they have been over for the on-delay by their event times; the clock shortens
//!   nothing, since a back-fill comes all at once. It goes on until a late reading is below, or one is newer than a live reading judged
//!   since it began: so a gateway that sends live and back-fill side by side makes one, and the next outage's is another.
//!
//! Only points that were over have an entry. At most [`SPANS_MAX`] spans a level are kept. One more joins the two that lie closest
//! together: then a late episode between two of a chattering sensor may go unnoticed, but nothing is told twice.

use crate::bytes::{In, Out};
use crate::latch::{Cause, Change, Latch, farther};
use crate::level::LevelDef;
use crate::reading::{Reading, Verdict};
use model::{Micros, Origin, To};

/// Spans kept for a level: enough for what a link has under way, even of a sensor that chatters.
const SPANS_MAX: usize = 16;

/// The past of one level of one rule at one point.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Past {
    /// Spans of event time in which the level has been over, ascending, apart from each other.
    spans: Vec<(Micros, Micros)>,
    late: Option<Late>,
}

/// Late readings over that belong together.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Late {
    first_over: (Origin, u32),
    /// Event times of the first and the last reading over.
    since: Micros,
    last: Micros,
    /// Event time of the first live reading judged since: what is newer belongs to another episode.
    until: Micros,
    peak: f64,
    /// Whether the on-delay is served.
    told: bool,
}

impl Past {
    /// Whether a reading over at `time` belongs to a decided episode.
    pub fn covers(&self, time: Micros) -> bool {
        self.spans.iter().any(|(from, to)| (*from..=*to).contains(&time))
    }

    /// Whether late readings are over.
    pub fn has_late(&self) -> bool {
        self.late.is_some()
    }

    /// Adds a decided episode; what overlaps becomes one.
    pub fn add(&mut self, from: Micros, to: Micros) {
        let (mut from, mut to) = (from, to.max(from));
        self.spans.retain(|(a, b)| {
            let apart = *b < from || *a > to;
            if !apart {
                (from, to) = (from.min(*a), to.max(*b));
            }
            apart
        });
        let at = self.spans.partition_point(|(a, _)| *a < from);
        self.spans.insert(at, (from, to));
        if self.spans.len() > SPANS_MAX {
            let gap = |i: &usize| self.spans[i + 1].0 - self.spans[*i].1;
            if let Some(i) = (0..self.spans.len() - 1).min_by_key(gap) {
                self.spans[i].1 = self.spans.remove(i + 1).1;
            }
        }
    }

    /// A live reading was judged while late ones are over.
    pub fn judged_live(&mut self, time: Micros) {
        if let Some(late) = &mut self.late {
            late.until = late.until.min(time);
        }
    }

    /// Takes a verdict at a late reading. The live state is only looked at: what belongs to an episode that is on is known already.
    pub fn late(
        &mut self,
        level: &LevelDef,
        verdict: Verdict,
        r: &Reading,
        value: f64,
        up: bool,
        live: &Latch,
    ) -> Option<Change> {
        match verdict {
            Verdict::Hold => None,
            Verdict::Over if live.began_by(r.time) => None,
            Verdict::Over => self.late_over(level, r, value, up),
            Verdict::Band | Verdict::Below => {
                // A level that is on stays on between off and on; what came before it says nothing of it.
                let ends = |late: &Late| r.time >= late.since && (verdict == Verdict::Below || !late.told);
                if self.late.as_ref().is_some_and(ends) {
                    self.late = None;
                }
                None
            }
        }
    }

    fn late_over(&mut self, level: &LevelDef, r: &Reading, value: f64, up: bool) -> Option<Change> {
        let begin = Late {
            first_over: (r.origin, r.row),
            since: r.time,
            last: r.time,
            until: Micros::MAX,
            peak: value,
            told: false,
        };
        let late = self.late.get_or_insert(begin);
        if r.time > late.until {
            *late = begin;
        }
        if r.time < late.last && !late.told {
            // Out of order among the late ones: it counts for no delay.
            return None;
        }
        (late.since, late.last) = (late.since.min(r.time), late.last.max(r.time));
        late.peak = farther(late.peak, value, up);
        if late.last - late.since < level.on_delay {
            return None;
        }
        let (is_new, late) = (!std::mem::replace(&mut late.told, true), *late);
        self.add(late.since, late.last);
        is_new.then_some(Change {
            to: To::On,
            cause: Cause::Decided,
            first_over: late.first_over,
            step: 0,
            calibrating: r.calibrating,
            late: true,
            peak: late.peak,
            since: late.since,
        })
    }

    /// Bytes of a snapshot.
    pub fn save(&self, out: &mut Out) {
        out.u32(self.spans.len() as u32);
        for (from, to) in &self.spans {
            out.u64(*from as u64);
            out.u64(*to as u64);
        }
        out.0.push(u8::from(self.late.is_some()));
        if let Some(l) = &self.late {
            let (origin, row) = l.first_over;
            let [since, last, until] = [l.since, l.last, l.until].map(|t| t as u64);
            for n in [origin.collector, origin.sequence, since, last, until, l.peak.to_bits()] {
                out.u64(n);
            }
            out.u32(row);
            out.0.push(u8::from(l.told));
        }
    }

    /// What [`Past::save`] wrote, from the front.
    pub fn load(all: &mut In<'_>) -> Option<Self> {
        let mut past = Self::default();
        for _ in 0..all.u32()? {
            past.add(all.u64()? as Micros, all.u64()? as Micros);
        }
        if all.take(1)?[0] != 0 {
            let origin = Origin { collector: all.u64()?, sequence: all.u64()? };
            let [since, last, until] = [all.u64()?, all.u64()?, all.u64()?].map(|t| t as Micros);
            let peak = f64::from_bits(all.u64()?);
            let first_over = (origin, all.u32()?);
            let told = all.take(1)?[0] != 0;
            past.late = Some(Late { first_over, since, last, until, peak, told });
        }
        Some(past)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_stay_apart_ordered_and_few() {
        let mut past = Past::default();
        past.add(10, 12);
        past.add(20, 22);
        assert!(past.covers(10) && past.covers(12) && !past.covers(13) && !past.covers(9));
        past.add(11, 20);
        assert_eq!(past.spans, [(10, 22)]);
        (0..SPANS_MAX as i64).for_each(|i| past.add(100 + i * 10 * (i + 1), 100 + i * 10 * (i + 1)));
        assert_eq!(past.spans.len(), SPANS_MAX);
        assert!(past.spans.windows(2).all(|w| w[0].1 < w[1].0));
        // The two closest became one.
        assert!(past.covers(110));
    }
}
