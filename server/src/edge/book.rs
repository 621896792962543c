//! What the edge knows of each source beyond its counters: what was refused last and why, and which points bring times that
//! lie ahead of ours.
//!
//! - `firedamp/source-clock` is on for a source from the first reading more than five minutes ahead of its receive time until
//!   each point that brought one has brought a reading that is not. The readings themselves are stored and judged.
//! - A refusal is written to the log of the process when it is the first of its source and reason, and then at most once a
//!   minute with the number of those in between.
//! - Nothing here survives a restart: the first delivery of a source ends what an earlier process had raised, or raises it anew.

use crate::runners::own::OwnAlarms;
use ahash::AHashMap;
use ingest::{Delivery, Refusal, SourceInfo};
use model::record::run_flags;
use model::time::{DAY, MINUTE, SECOND, show_duration};
use model::{Catalog, Micros, PointId, Readings, status};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Points with a clock ahead that are remembered of a source; further ones are told by the next that is still ahead.
const AHEAD_MAX: usize = 100_000;
/// Reasons remembered of a source: they are words of a fixed set, so this is never reached.
const REASONS_MAX: usize = 64;
/// How often the log tells of the same reason again.
const TELL_EVERY: Micros = MINUTE;

/// Refusals of one reason since the start.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Refusals {
    /// A short word.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// When the last came, microseconds UTC.
    pub last: Micros,
    /// The last of them, shortened.
    pub sample: String,
}

#[derive(Debug)]
struct Reason {
    shown: Refusals,
    told: Micros,
    untold: u64,
}

#[derive(Default, Debug)]
struct Page {
    reasons: BTreeMap<String, Reason>,
    /// Points whose last reading was ahead, and by how much.
    ahead: AHashMap<i64, Micros>,
    /// The alarm as it was last told; `None`: nothing was told in this process.
    on: Option<bool>,
}

/// One page a source.
#[derive(Debug)]
pub struct Book {
    pages: Mutex<AHashMap<Arc<str>, Page>>,
    own: OwnAlarms,
}

/// What a delivery holds for the book, taken before it is handed over.
pub struct Note {
    received: Micros,
    readings: Readings,
    refused: Vec<Refusal>,
}

impl Note {
    /// Of this delivery; `unknown_refused`: readings of unknown points are refused.
    pub fn of(delivery: &Delivery, unknown_refused: bool) -> Self {
        let mut refused = delivery.refused.clone();
        if let Some(first) = delivery.unknown.first().filter(|_| unknown_refused) {
            let sample = format!("{} / {}", first.site, first.point);
            refused.push(Refusal {
                reason: super::UNKNOWN_POINT,
                count: delivery.unknown.len() as u64,
                sample,
            });
        }
        Self { received: delivery.received, readings: delivery.readings.clone(), refused }
    }
}

impl Book {
    /// An empty one.
    pub fn new(own: OwnAlarms) -> Self {
        Self { pages: Mutex::default(), own }
    }

    /// Takes what became durable.
    pub fn enter(&self, source: &SourceInfo, note: Note, catalog: &Catalog) {
        let mut pages = self.pages.lock().expect("no holder of this lock panics");
        if !pages.contains_key(&source.name) {
            pages.insert(source.name.clone(), Page::default());
        }
        let page = pages.get_mut(&source.name).expect("it was just put there");
        for refusal in note.refused {
            page.refused(&source.name, refusal, note.received);
        }
        // Released readings come from quarantine: their device may be right by now.
        if !note.readings.is_empty() && source.flags & run_flags::RELEASED == 0 {
            page.clocks(&note.readings, note.received);
            page.tell_clocks(&source.name, catalog, &self.own);
        }
    }

    /// Refusals of a source since the start, by reason.
    pub fn refusals(&self, source: &str) -> Vec<Refusals> {
        let pages = self.pages.lock().expect("no holder of this lock panics");
        pages.get(source).map(|p| p.reasons.values().map(|r| r.shown.clone()).collect()).unwrap_or_default()
    }

    /// What is wrong with the clocks of a source; empty when nothing is.
    pub fn clock(&self, source: &str, catalog: &Catalog) -> String {
        let pages = self.pages.lock().expect("no holder of this lock panics");
        pages.get(source).map(|p| p.clock(catalog)).unwrap_or_default()
    }
}

impl Page {
    fn refused(&mut self, source: &str, refusal: Refusal, at: Micros) {
        let Refusal { reason, count, sample } = refusal;
        if !self.reasons.contains_key(reason) && self.reasons.len() >= REASONS_MAX {
            return;
        }
        let first = || Reason {
            shown: Refusals { reason: reason.to_owned(), count: 0, last: at, sample: String::new() },
            told: Micros::MIN,
            untold: 0,
        };
        let known = self.reasons.entry(reason.to_owned()).or_insert_with(first);
        known.untold += count;
        known.shown.count += count;
        known.shown.last = at;
        if at.saturating_sub(known.told) >= TELL_EVERY {
            let refused = std::mem::take(&mut known.untold);
            tracing::warn!(source, reason, refused, sample, "readings refused");
            known.told = at;
        }
        known.shown.sample = sample;
    }

    /// Which points are ahead after these readings.
    fn clocks(&mut self, readings: &Readings, received: Micros) {
        let some = readings.status.iter().fold(0, |all, s| all | s) & status::FUTURE != 0;
        if !some && self.ahead.is_empty() {
            return;
        }
        for (row, word) in readings.status.iter().enumerate() {
            let point = readings.point[row];
            if word & status::FUTURE == 0 {
                self.ahead.remove(&point);
            } else if self.ahead.len() < AHEAD_MAX || self.ahead.contains_key(&point) {
                self.ahead.insert(point, readings.time[row] - received);
            }
        }
    }

    fn tell_clocks(&mut self, source: &str, catalog: &Catalog, own: &OwnAlarms) {
        let on = !self.ahead.is_empty();
        if self.on == Some(on) {
            return;
        }
        self.on = Some(on);
        if on {
            let help = "its readings are stored as sent and judged at their receive time; set the clock of the device";
            let clock = self.clock(catalog);
            tracing::warn!(source, "{clock}");
            own.raise("source-clock", source, format!("source `{source}`: {clock}: {help}"));
        } else {
            own.clear("source-clock", source, format!("the clocks of source `{source}` are right"));
        }
    }

    fn clock(&self, catalog: &Catalog) -> String {
        let Some((point, ahead)) = self.ahead.iter().max_by_key(|(_, ahead)| **ahead) else {
            return String::new();
        };
        let name = catalog.ix(PointId(*point)).map_or_else(
            || format!("#{point}"),
            |ix| format!("{} / {}", catalog.site_of(ix).code, catalog.point(ix).code),
        );
        // The largest unit that fits is exact enough for a clock.
        let unit = [DAY, 60 * MINUTE, MINUTE].into_iter().find(|unit| ahead >= unit).unwrap_or(SECOND);
        let ahead = show_duration(ahead / unit * unit);
        let others = match self.ahead.len() - 1 {
            0 => String::new(),
            n => format!(", and that of {n} more points"),
        };
        format!("the clock of {name} is {ahead} ahead{others}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ReadingsBuilder;

    const MIN: Micros = MINUTE;

    fn note(rows: &[(i64, Micros)], refused: Vec<Refusal>) -> Note {
        let mut readings = ReadingsBuilder::default();
        for (point, ahead) in rows {
            let word = if *ahead > 5 * MIN { status::FUTURE } else { 0 };
            readings.push(PointId(*point), 1000 * MIN + ahead, 1.0, word);
        }
        Note { received: 1000 * MIN, readings: readings.finish(), refused }
    }

    #[tokio::test]
    async fn a_clock_ahead_is_told_once_and_ends_with_the_last_point() {
        let (own, mut told) = OwnAlarms::queue();
        let book = Book::new(own);
        let source = SourceInfo { name: "east".into(), flags: 0 };
        let catalog = Catalog::build(Vec::new(), Vec::new(), 1, &mut model::Problems::default());
        let mut enter = |rows: &[(i64, Micros)]| {
            book.enter(&source, note(rows, Vec::new()), &catalog);
            told.try_recv().ok().map(|alarm| (alarm.what, alarm.key, alarm.on))
        };
        let is = |on| Some(("source-clock".to_owned(), "east".to_owned(), on));
        assert_eq!(enter(&[(1, 0)]), is(false), "what an earlier process raised is ended");
        assert_eq!(enter(&[(1, 6 * MIN), (2, 0)]), is(true));
        assert_eq!(book.clock("east", &catalog), "the clock of #1 is 6min ahead");
        assert_eq!(enter(&[(2, 7 * MIN)]), None, "raised once");
        assert_eq!(enter(&[(1, 0), (3, 0)]), None, "another point is still ahead");
        assert_eq!(enter(&[(2, 5 * MIN)]), is(false));
        assert_eq!(book.clock("east", &catalog), "");
    }

    #[tokio::test]
    async fn refusals_are_counted_by_reason_with_the_last_sample() {
        let (own, _told) = OwnAlarms::queue();
        let book = Book::new(own);
        let source = SourceInfo { name: "east".into(), flags: 0 };
        let catalog = Catalog::build(Vec::new(), Vec::new(), 1, &mut model::Problems::default());
        for (reason, sample) in [("json", "a"), ("time", "b"), ("json", "c")] {
            let refusal = Refusal { reason, count: 2, sample: sample.to_owned() };
            book.enter(&source, note(&[], vec![refusal]), &catalog);
        }
        let said: Vec<_> = book.refusals("east").into_iter().map(|r| (r.reason, r.count, r.sample)).collect();
        assert_eq!(said, [("json".to_owned(), 4, "c".to_owned()), ("time".to_owned(), 2, "b".to_owned())]);
        assert!(book.refusals("west").is_empty());
    }
}
