//! The latches of one rule at all its points. At most points all levels are idle: they take four bytes together, and that is all that a
//! reading which changes nothing touches. The levels of the others lie beside each other in a block.

use crate::latch::Latch;

/// The latches of one rule, by slot and level.
pub(crate) struct Latches {
    width: usize,
    /// For each slot the number of its block, from 1; 0 where all its levels are idle.
    block: Vec<u32>,
    /// Blocks of `width` latches.
    latches: Vec<Latch>,
    /// Blocks no slot has.
    free: Vec<u32>,
}

impl Latches {
    /// All idle.
    pub fn new(slots: usize, width: usize) -> Self {
        Self { width, block: vec![0; slots], latches: Vec::new(), free: Vec::new() }
    }

    /// Whether all levels of a slot are idle.
    pub fn is_idle(&self, slot: u32) -> bool {
        self.block[slot as usize] == 0
    }

    fn of(&self, slot: u32) -> &[Latch] {
        match self.block[slot as usize] as usize {
            0 => &[],
            block => &self.latches[(block - 1) * self.width..][..self.width],
        }
    }

    /// The levels of a slot that are not idle, mildest first.
    pub fn busy(&self, slot: u32) -> Vec<usize> {
        self.of(slot).iter().enumerate().filter(|(_, l)| !l.is_idle()).map(|(level, _)| level).collect()
    }

    /// A latch.
    pub fn get(&self, slot: u32, level: usize) -> Latch {
        self.of(slot).get(level).copied().unwrap_or(Latch::IDLE)
    }

    /// Writes a latch back.
    pub fn set(&mut self, slot: u32, level: usize, latch: Latch) {
        let block = &mut self.block[slot as usize];
        if *block == 0 {
            if latch.is_idle() {
                return;
            }
            *block = self.free.pop().unwrap_or_else(|| {
                self.latches.resize(self.latches.len() + self.width, Latch::IDLE);
                (self.latches.len() / self.width) as u32
            });
        }
        let here = (*block as usize - 1) * self.width;
        self.latches[here + level] = latch;
        if latch.is_idle() && self.latches[here..here + self.width].iter().all(Latch::is_idle) {
            self.free.push(*block);
            *block = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_taken_while_a_level_is_busy_and_used_again() {
        let mut latches = Latches::new(3, 2);
        let mut busy = Latch::IDLE;
        busy.set_late(true);
        latches.set(0, 1, Latch::IDLE);
        assert!(latches.is_idle(0) && latches.latches.is_empty());
        latches.set(0, 1, busy);
        latches.set(2, 0, busy);
        latches.set(2, 1, busy);
        assert_eq!((latches.busy(0), latches.busy(1), latches.busy(2)), (vec![1], vec![], vec![0, 1]));
        latches.set(2, 0, Latch::IDLE);
        assert!(!latches.is_idle(2) && latches.get(2, 0).is_idle() && latches.get(2, 1).is_late());
        latches.set(2, 1, Latch::IDLE);
        latches.set(1, 0, busy);
        assert!(latches.is_idle(2) && latches.get(1, 0).is_late() && latches.get(1, 1).is_idle());
        assert_eq!((latches.latches.len(), latches.free.len()), (4, 0), "the block of slot 2 was used again");
    }
}
