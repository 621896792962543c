//! A window as at most 16 equal buckets a point. A bucket has its place in time (microseconds divided by its width), so that what lies
//! in it depends on nothing but the readings of that time, wherever one begins. What is asked of a window is computed from its buckets
//! each time, oldest first, never by adding to and taking from a sum: a restart gives equal bits.

use super::shared::{save, words};
use model::time::Micros;

/// Most buckets of a window.
pub(super) const BUCKETS_MAX: i64 = 16;

/// What a bucket keeps, as words of a snapshot.
pub(super) trait Cell<const WORDS: usize>: Copy + Send + Sync {
    /// A bucket without readings.
    const EMPTY: Self;
    /// For a snapshot.
    fn words(&self) -> [u64; WORDS];
    /// What [`Cell::words`] gave.
    fn of(words: &[u64; WORDS]) -> Self;
}

/// The buckets of all slots of a rule.
pub(super) struct Ring<C, const WORDS: usize> {
    width: Micros,
    /// Buckets a slot.
    len: usize,
    /// Place in time and content; `MIN` where there is none.
    cells: Vec<(i64, C)>,
}

/// Width of the buckets of a window.
pub(super) fn width_of(window: Micros, buckets: i64) -> Micros {
    (window + buckets - 1) / buckets
}

impl<C: Cell<WORDS>, const WORDS: usize> Ring<C, WORDS> {
    pub fn new(slots: usize, len: usize, width: Micros) -> Self {
        Self { width, len, cells: vec![(i64::MIN, C::EMPTY); slots * len] }
    }

    /// The bucket of a time, empty where it held another time. Times come in order.
    pub fn bucket(&mut self, slot: usize, time: Micros) -> &mut C {
        let number = time.div_euclid(self.width);
        let cell = &mut self.cells[slot * self.len + number.rem_euclid(self.len as i64) as usize];
        if cell.0 != number {
            *cell = (number, C::EMPTY);
        }
        &mut cell.1
    }

    /// The buckets with readings of the window that ends with the bucket of `time`, oldest first, each with its age: 0 is the newest.
    pub fn inside(&self, slot: usize, time: Micros) -> impl Iterator<Item = (i64, &C)> {
        let (newest, len) = (time.div_euclid(self.width), self.len as i64);
        let cells = &self.cells[slot * self.len..(slot + 1) * self.len];
        let oldest = newest - (len - 1);
        // Two runs of cells in their order: a division for each of them would cost more than all else.
        let (before, from) = cells.split_at(oldest.rem_euclid(len) as usize);
        (oldest..)
            .zip(from.iter().chain(before))
            .filter_map(move |(number, cell)| (cell.0 == number).then_some((newest - number, &cell.1)))
    }

    /// Forgets all of a slot.
    pub fn clear(&mut self, slot: usize) {
        self.cells[slot * self.len..(slot + 1) * self.len].fill((i64::MIN, C::EMPTY));
    }

    /// Bytes of a slot.
    pub fn save(&self, slot: usize, out: &mut Vec<u8>) {
        let cells = &self.cells[slot * self.len..(slot + 1) * self.len];
        for (number, cell) in cells.iter().filter(|(number, _)| *number != i64::MIN) {
            save([*number as u64], out);
            save(cell.words(), out);
        }
    }

    /// What [`Ring::save`] wrote, for the same width and number of buckets; false where it is not that.
    pub fn load(&mut self, slot: usize, saved: &[u64]) -> bool {
        self.clear(slot);
        let chunks = saved.chunks_exact(1 + WORDS);
        if !chunks.remainder().is_empty() || chunks.len() > self.len {
            return false;
        }
        for chunk in chunks {
            let (number, words) = (chunk[0] as i64, chunk[1..].try_into().expect("as many words"));
            let place = slot * self.len + number.rem_euclid(self.len as i64) as usize;
            self.cells[place] = (number, C::of(words));
        }
        true
    }
}

/// State of a slot that begins with words of its own, of a certain shape: the shape, these words and the rest; `None` where it is
/// damaged.
pub(super) fn split<const OWN: usize>(bytes: &[u8]) -> Option<(u64, [u64; OWN], Vec<u64>)> {
    let words = words(bytes)?;
    let (shape, rest) = words.split_first()?;
    let (own, cells) = rest.split_first_chunk::<OWN>()?;
    Some((*shape, *own, cells.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_never_shorter_than_it_was_said() {
        assert_eq!([16, 17, 32, 33].map(|window| width_of(window, 16)), [1, 2, 2, 3]);
    }
}
