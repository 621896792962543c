//! What readers see of a region: its bounds, and its newest records in memory, so that who follows the end of the log
//! reads no file and asks no broker.

use crate::tip::Tip;
use model::Entry;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

/// A region as readers see it.
#[derive(Debug)]
pub struct Region {
    view: Mutex<View>,
    pub tip: Tip,
    cache_max: usize,
}

#[derive(Debug)]
struct View {
    first: u64,
    next: u64,
    /// All records from here to `next` are in `newest`. Kafka's offsets may have holes.
    cached_from: u64,
    newest: VecDeque<Entry>,
    bytes: usize,
}

/// How a read goes.
#[derive(Debug)]
pub enum Read {
    /// From memory; none at the end.
    Entries(Vec<Entry>),
    /// Not in the log; reading can go on at this offset.
    Gone(u64),
    /// The records before this offset are not in memory.
    Older(u64),
}

impl Region {
    pub fn new(first: u64, next: u64, cache_max: usize) -> Self {
        let view = View { first, next, cached_from: next, newest: VecDeque::new(), bytes: 0 };
        Self { view: Mutex::new(view), tip: Tip::at(next), cache_max }
    }

    fn lock(&self) -> MutexGuard<'_, View> {
        self.view.lock().expect("no code panics while it holds the view")
    }

    /// First offset and the one after the last.
    pub fn bounds(&self) -> (u64, u64) {
        let view = self.lock();
        (view.first, view.next)
    }

    /// These records are durable now.
    pub fn extend(&self, entries: Vec<Entry>) {
        let mut view = self.lock();
        let Some(last) = entries.last() else { return };
        view.next = last.offset.number + 1;
        let next = view.next;
        view.bytes += entries.iter().map(weight).sum::<usize>();
        view.newest.extend(entries);
        while view.bytes > self.cache_max {
            let Some(oldest) = view.newest.pop_front() else { break };
            view.bytes -= weight(&oldest);
            view.cached_from = oldest.offset.number + 1;
        }
        drop(view);
        self.tip.reached(next);
    }

    /// Begins anew: nothing is in memory.
    pub fn reset(&self, first: u64, next: u64) {
        let mut view = self.lock();
        *view = View { first, next, cached_from: next, newest: VecDeque::new(), bytes: 0 };
        drop(view);
        self.tip.set(next);
    }

    /// What lies before `first` is gone.
    pub fn begins_at(&self, first: u64) {
        let mut view = self.lock();
        view.first = first;
        view.cached_from = view.cached_from.max(first);
        while let Some(oldest) = view.newest.pop_front_if(|e| e.offset.number < first) {
            view.bytes -= weight(&oldest);
        }
    }

    /// The records from `from` on, if they are in memory.
    pub fn read(&self, from: u64, max_bytes: usize) -> Read {
        let view = self.lock();
        if from < view.first {
            return Read::Gone(view.first);
        }
        if from > view.next {
            return Read::Gone(view.next);
        }
        if from < view.cached_from {
            return Read::Older(view.cached_from);
        }
        let at = view.newest.partition_point(|e| e.offset.number < from);
        let mut bytes = 0;
        let mut entries = Vec::new();
        for entry in view.newest.range(at..) {
            bytes += entry.bytes.len();
            if bytes > max_bytes && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Read::Entries(entries)
    }
}

/// About what an entry takes in memory.
fn weight(entry: &Entry) -> usize {
    entry.bytes.len() + size_of::<Entry>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Offset, Origin};

    fn entries(offsets: std::ops::Range<u64>) -> Vec<Entry> {
        let entry = |number| Entry {
            offset: Offset { partition: 0, number },
            appended: 0,
            origin: Origin { collector: 1, sequence: number },
            bytes: vec![0; 100].into(),
        };
        offsets.map(entry).collect()
    }

    #[test]
    fn the_newest_are_in_memory_the_rest_in_files() {
        let region = Region::new(0, 0, 10 * (100 + size_of::<Entry>()));
        region.extend(entries(0..8));
        region.extend(entries(8..15));
        assert_eq!(region.bounds(), (0, 15));
        assert!(matches!(region.read(4, 1000), Read::Older(5)));
        let Read::Entries(read) = region.read(5, 250) else { panic!() };
        assert_eq!(read.iter().map(|e| e.offset.number).collect::<Vec<_>>(), [5, 6]);
        let Read::Entries(read) = region.read(14, 1) else { panic!() };
        assert_eq!(read.len(), 1, "one at least");
        assert!(matches!(region.read(15, 1000), Read::Entries(e) if e.is_empty()));
        assert!(matches!(region.read(16, 1000), Read::Gone(15)));
        region.begins_at(12);
        assert!(matches!(region.read(11, 1000), Read::Gone(12)));
        assert!(matches!(region.read(12, 1000), Read::Entries(e) if e.len() == 3));
    }
}
