//! What is known of one unit (slave): its last registers, what it refused, whether it answers. No I/O: the poller reads
//! and tells it the outcome.
//!
//! | what happened | what its points get | then |
//! |---|---|---|
//! | read | value, bits of the status word | |
//! | exception 2 or 3 on several items | - | the block is split, at once and for the next polls |
//! | exception 2 or 3 on one item | missing, `not_inspected` | asked again after [`REFUSED_AGAIN`], others go on |
//! | exception 1, 5, 6 or an unknown one | missing, `not_inspected` | asked again at the next poll |
//! | exception 4 or 8 | missing, `sensor_fault` | asked again at the next poll |
//! | exception 10 or 11, no reply, a foreign reply twice | missing, `station_fault` | away: asked again after a back-off |
//! | the status word could not be read | value, bits as of the status word | |

use super::config::{Config, PointConfig};
use super::link::{Fault, exception_name};
use super::plan::{self, Block, Item, Mark};
use super::value::{decode, is_missing, raw};
use crate::backoff::Backoff;
use model::status;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long an item that the device refuses is left alone.
pub const REFUSED_AGAIN: Duration = Duration::from_secs(60);
/// Longest back-off of a unit that does not answer.
const AWAY_LONGEST: Duration = Duration::from_secs(30);
/// Shortest first back-off of one; a slow poll starts with its own interval, at most the second.
const AWAY_FIRST: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A unit that does not answer.
#[derive(Clone, Debug)]
pub struct Away {
    /// Why, as it was first seen.
    pub why: Fault,
    /// When it is asked again.
    pub until: Instant,
}

/// State of one unit.
pub struct UnitState {
    config: Arc<Config>,
    ix: usize,
    words: Vec<u16>,
    /// Where the words of an item begin.
    at: Vec<usize>,
    /// By item: 0 when it was read in this poll, else the status bits of a missing value.
    missed: Vec<i32>,
    marks: Vec<Mark>,
    refused: Vec<Option<(Instant, u8)>>,
    /// The last other exception, for health.
    excepted: Option<(usize, u8)>,
    away: Option<Away>,
    backoff: Backoff,
}

impl UnitState {
    /// Nothing is known yet.
    pub fn new(config: Arc<Config>, ix: usize) -> Self {
        let items = &config.units[ix].items;
        let mut at = Vec::with_capacity(items.len());
        let mut end = 0;
        for item in items {
            at.push(end);
            end += usize::from(item.width);
        }
        let n = items.len();
        let first = config.every.clamp(AWAY_FIRST.0, AWAY_FIRST.1);
        Self {
            ix,
            words: vec![0; end],
            at,
            missed: vec![status::NOT_INSPECTED; n],
            marks: vec![Mark::default(); n],
            refused: vec![None; n],
            excepted: None,
            away: None,
            backoff: Backoff::new(first, AWAY_LONGEST),
            config,
        }
    }

    /// Its number.
    pub fn number(&self) -> u8 {
        self.config.units[self.ix].unit
    }

    fn items(&self) -> &[Item] {
        &self.config.units[self.ix].items
    }

    /// Its points.
    pub fn points(&self) -> &[PointConfig] {
        &self.config.units[self.ix].points
    }

    /// Why it is not polled, when it is not.
    pub fn away(&self) -> Option<&Away> {
        self.away.as_ref()
    }

    /// Starts a poll: the blocks to read. Nothing counts as read yet.
    pub fn begin(&mut self, now: Instant) -> Vec<Block> {
        self.missed.fill(status::NOT_INSPECTED);
        self.excepted = None;
        let marks: Vec<_> = (0..self.marks.len())
            .map(|i| Mark {
                // A refused item is asked alone, so that it does not spoil its neighbours.
                cut: self.marks[i].cut
                    || self.refused[i].is_some()
                    || (i > 0 && self.refused[i - 1].is_some()),
                skip: self.refused[i].is_some_and(|(until, _)| now < until),
            })
            .collect();
        plan::blocks(self.items(), &marks, self.config.shape)
    }

    /// A block that is sure to be understood, to see whether the unit answers.
    pub fn some_block(&self) -> Option<Block> {
        let good = self.refused.iter().position(Option::is_none).unwrap_or(0);
        (!self.items().is_empty()).then(|| plan::block_of(self.items(), good, good + 1))
    }

    /// The block was read.
    pub fn read(&mut self, block: &Block, words: &[u16]) {
        for i in block.first..block.last {
            let item = self.items()[i];
            let from = usize::from(item.address - block.address);
            let to = from + usize::from(item.width);
            let at = self.at[i];
            self.words[at..at + usize::from(item.width)].copy_from_slice(&words[from..to]);
            self.missed[i] = 0;
            if self.refused[i].take().is_some() {
                // The device knows it now: what it refused before may be otherwise too, so the table is read whole again.
                self.forget_cuts(block);
            }
        }
    }

    fn forget_cuts(&mut self, block: &Block) {
        for i in 0..self.marks.len() {
            if self.items()[i].table == block.table {
                self.marks[i].cut = false;
            }
        }
    }

    /// The device refused the block with an exception. The two halves to ask for instead, or `None`.
    pub fn excepted(&mut self, block: &Block, code: u8, now: Instant) -> Option<[Block; 2]> {
        if matches!(code, 2 | 3) {
            if let Some(at) = plan::split(self.items(), block) {
                self.marks[at].cut = true;
                let half = |first, last| plan::block_of(self.items(), first, last);
                return Some([half(block.first, at), half(at, block.last)]);
            }
            self.refused[block.first] = Some((now + REFUSED_AGAIN, code));
            return None;
        }
        let bits = match code {
            4 | 8 => status::SENSOR_FAULT,
            _ => status::NOT_INSPECTED,
        };
        self.missed[block.first..block.last].fill(bits);
        self.excepted = Some((block.first, code));
        None
    }

    /// It does not answer: all its points are at fault until it does.
    pub fn gone(&mut self, why: Fault, now: Instant) {
        self.lost();
        self.away = Some(Away { why, until: now + self.backoff.delay() });
    }

    /// Its points are at fault in this poll, for a reason that is not its own.
    pub fn lost(&mut self) {
        self.missed.fill(status::STATION_FAULT);
    }

    /// It answers; true when it did not before.
    pub fn answers(&mut self) -> bool {
        self.backoff.reset();
        self.away.take().is_some()
    }

    /// It may be asked again now.
    pub fn ask_now(&mut self, now: Instant) {
        if let Some(away) = &mut self.away {
            away.until = away.until.min(now);
        }
    }

    /// Whether every item was read in this poll.
    pub fn is_whole(&self) -> bool {
        self.missed.iter().all(|m| *m == 0)
    }

    fn words_of(&self, i: usize) -> &[u16] {
        &self.words[self.at[i]..self.at[i] + usize::from(self.items()[i].width)]
    }

    /// Value and national status of a point after a poll; `None` is a missing value.
    pub fn value(&self, p: &PointConfig) -> (Option<f64>, i32) {
        let mut bits = self.missed[p.item];
        if let Some(status) = &p.status {
            match self.missed[status.item] {
                0 => {
                    let word = self.words_of(status.item)[0];
                    bits |= status.map.iter().fold(0, |bits, rule| bits | rule.bits(word));
                }
                missed => bits |= missed,
            }
        }
        if self.missed[p.item] != 0 {
            return (None, bits);
        }
        let words = self.words_of(p.item);
        if p.missing.is_some_and(|missing| is_missing(words, p.ty, p.order, missing)) {
            return (None, bits);
        }
        (decode(words, p.ty, p.order, p.bit, p.linear), bits)
    }

    /// The whole number in an item that was read.
    pub fn number_in(&self, item: usize, ty: super::value::Type, order: super::value::Order) -> Option<i64> {
        if self.missed[item] != 0 {
            return None;
        }
        raw(self.words_of(item), ty, order, 0).map(|n| n as i64)
    }

    /// What is wrong, a sentence each, at most `most` of them.
    pub fn complaints(&self, most: usize) -> Vec<String> {
        if let Some(away) = &self.away {
            return vec![format!("unit {}: {}", self.number(), away.why)];
        }
        let refused = self.refused.iter().enumerate().filter_map(|(i, r)| Some((i, r.as_ref()?.1)));
        refused.chain(self.excepted).take(most).map(|(i, code)| self.complaint(i, code)).collect()
    }

    fn complaint(&self, i: usize, code: u8) -> String {
        let item = self.items()[i];
        let of = |p: &&PointConfig| p.item == i || p.status.as_ref().is_some_and(|s| s.item == i);
        let point = self.points().iter().find(of).map_or("row number", |p| p.point.as_str());
        format!(
            "{point}: {} {} of unit {}: exception {code}, {}",
            item.table,
            item.address,
            self.number(),
            exception_name(code)
        )
    }
}

#[cfg(test)]
mod tests;
