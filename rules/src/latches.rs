//! The latches of one rule at all its points. Most are idle: they take two bytes a point for all levels together, and those two are all
//! that a reading which changes nothing touches. The others lie apart.

use crate::def::LEVELS_MAX;
use crate::latch::Latch;
use ahash::AHashMap;

const _: () = assert!(LEVELS_MAX <= u16::BITS as usize);

/// The latches of one rule, by slot and level.
pub(crate) struct Latches {
    /// For each slot a bit a level: it is not idle.
    busy: Vec<u16>,
    /// Those that are not idle; never iterated, so that its order decides nothing.
    bodies: AHashMap<(u32, u32), Latch>,
}

impl Latches {
    /// All idle.
    pub fn new(slots: usize) -> Self {
        Self { busy: vec![0; slots], bodies: AHashMap::new() }
    }

    /// Whether all levels of a slot are idle.
    pub fn is_idle(&self, slot: u32) -> bool {
        self.busy[slot as usize] == 0
    }

    /// The levels of a slot that are not idle, mildest first.
    pub fn busy(&self, slot: u32) -> impl Iterator<Item = usize> + use<> {
        let busy = self.busy[slot as usize];
        (0..LEVELS_MAX).filter(move |level| busy & (1 << level) != 0)
    }

    /// A latch.
    pub fn get(&self, slot: u32, level: usize) -> Latch {
        if self.busy[slot as usize] & (1 << level) == 0 {
            return Latch::IDLE;
        }
        self.bodies.get(&(slot, level as u32)).copied().unwrap_or(Latch::IDLE)
    }

    /// Writes a latch back.
    pub fn set(&mut self, slot: u32, level: usize, latch: Latch) {
        let (busy, key) = (&mut self.busy[slot as usize], (slot, level as u32));
        if latch.is_idle() {
            if *busy & (1 << level) != 0 {
                *busy &= !(1 << level);
                self.bodies.remove(&key);
            }
        } else {
            *busy |= 1 << level;
            self.bodies.insert(key, latch);
        }
    }
}
