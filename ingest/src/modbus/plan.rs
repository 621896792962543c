//! What is read with one request, pure. Items (the registers of one value or status word) of one table that stand near
//! one another are read as one block; what lies between them is read along and thrown away.
//!
//! A device that knows no register in such a gap refuses the whole block. Then the block is split, first at its widest
//! gap, until the refusal names one item; the cuts are remembered so that the next poll does not ask again.

use std::fmt;

/// Most registers of one request (Modbus application protocol, functions 3 and 4).
pub const REGISTERS_MAX: u16 = 125;
/// Most bits of one request (functions 1 and 2).
pub const BITS_MAX: u16 = 2000;

/// The four tables of a device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// Registers that can be written, function 3.
    Holding,
    /// Registers that can only be read, function 4.
    Input,
    /// Bits that can be written, function 1.
    Coil,
    /// Bits that can only be read, function 2.
    Discrete,
}

impl Table {
    /// The words a configuration may use, in the order of [`Table::ALL`].
    pub const WORDS: [&'static str; 4] = ["holding", "input", "coil", "discrete"];
    /// All tables.
    pub const ALL: [Table; 4] = [Table::Holding, Table::Input, Table::Coil, Table::Discrete];

    /// The table of a word.
    pub fn from_word(word: &str) -> Option<Table> {
        Self::WORDS.iter().position(|w| *w == word).map(|i| Self::ALL[i])
    }

    /// Whether it holds bits, not registers.
    pub fn is_bits(self) -> bool {
        matches!(self, Table::Coil | Table::Discrete)
    }

    /// Most places of one request.
    pub fn count_max(self) -> u16 {
        if self.is_bits() { BITS_MAX } else { REGISTERS_MAX }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::WORDS[Self::ALL.iter().position(|t| t == self).unwrap_or_default()])
    }
}

/// Registers (or one bit) that belong together and are never split.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Item {
    /// Where.
    pub table: Table,
    /// First of them, zero-based.
    pub address: u16,
    /// How many.
    pub width: u16,
}

impl Item {
    /// The address behind it; up to 65,536.
    pub fn end(&self) -> u32 {
        u32::from(self.address) + u32::from(self.width)
    }
}

/// How blocks are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Most registers of one request, at most [`REGISTERS_MAX`]; 16 times as many bits, at most [`BITS_MAX`].
    pub block: u16,
    /// Most registers that are read along between two items; 16 times as many bits.
    pub gap: u16,
}

impl Default for Shape {
    fn default() -> Self {
        Self { block: REGISTERS_MAX, gap: 8 }
    }
}

impl Shape {
    fn limits(self, table: Table) -> (u32, u32) {
        let (block, gap) = (u32::from(self.block), u32::from(self.gap));
        if table.is_bits() {
            ((block * 16).min(u32::from(BITS_MAX)), gap * 16)
        } else {
            (block.min(u32::from(REGISTERS_MAX)), gap)
        }
    }
}

/// One request: items `first..last` of a sorted list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    /// Where.
    pub table: Table,
    /// First address.
    pub address: u16,
    /// How many places.
    pub count: u16,
    /// First item.
    pub first: usize,
    /// Behind the last item.
    pub last: usize,
}

/// What is known about an item from earlier refusals.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mark {
    /// No block goes over from the item before to this one.
    pub cut: bool,
    /// It is not read in this poll.
    pub skip: bool,
}

/// Sorts items and takes each once.
pub fn sort(mut items: Vec<Item>) -> Vec<Item> {
    items.sort_unstable();
    items.dedup();
    items
}

/// The blocks of sorted items. A skipped item ends a block: its registers are not read along either.
pub fn blocks(items: &[Item], marks: &[Mark], shape: Shape) -> Vec<Block> {
    assert_eq!(items.len(), marks.len(), "each item has its mark");
    let mut out: Vec<Block> = Vec::new();
    let mut open = false;
    for (i, item) in items.iter().enumerate() {
        if marks[i].skip {
            open = false;
            continue;
        }
        if open
            && !marks[i].cut
            && let Some(block) = out.last_mut()
            && joins(block, item, shape)
        {
            let end = item.end().max(u32::from(block.address) + u32::from(block.count));
            block.count = (end - u32::from(block.address)) as u16;
            block.last = i + 1;
            continue;
        }
        out.push(Block {
            table: item.table,
            address: item.address,
            count: item.width,
            first: i,
            last: i + 1,
        });
        open = true;
    }
    out
}

fn joins(block: &Block, item: &Item, shape: Shape) -> bool {
    let (longest, gap) = shape.limits(block.table);
    let end = u32::from(block.address) + u32::from(block.count);
    block.table == item.table
        && u32::from(item.address) <= end + gap
        && item.end().max(end) - u32::from(block.address) <= longest
}

/// Where to split a refused block: before this item, the one behind the widest gap, else the middle one. `None` when
/// it has one item only.
pub fn split(items: &[Item], block: &Block) -> Option<usize> {
    if block.last - block.first < 2 {
        return None;
    }
    let mut end = items[block.first].end();
    let (mut widest, mut at) = (0, block.first + (block.last - block.first) / 2);
    for (i, item) in items.iter().enumerate().take(block.last).skip(block.first + 1) {
        let gap = u32::from(item.address).saturating_sub(end);
        if gap > widest {
            (widest, at) = (gap, i);
        }
        end = end.max(item.end());
    }
    Some(at)
}

/// The block of items `first..last`, which are of one table.
pub fn block_of(items: &[Item], first: usize, last: usize) -> Block {
    let end = items[first..last].iter().map(Item::end).max().unwrap_or_default();
    let address = items[first].address;
    Block { table: items[first].table, address, count: (end - u32::from(address)) as u16, first, last }
}

#[cfg(test)]
mod tests;
