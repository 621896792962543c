//! Which file of the log begins where: the table retention works on.
//!
//! raft-engine frees whole files, and only those in which nothing is alive. So retention removes what lies before the
//! beginning of a file, for all regions at once, oldest file first: it never has to rewrite what is alive, and what it
//! removed is free on the disk at once. The table lies in the log as one key-value. Its newest rows may be missing after
//! a crash; they are guidance for where to cut, not for what is there.

use model::Micros;
use std::collections::{BTreeMap, VecDeque};

/// Where a region stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Start {
    /// The offset the next record gets.
    pub next: u64,
    /// The sequence the next own record gets.
    pub own_next: u64,
    /// Append time of the last record.
    pub appended: Micros,
}

/// A file and where all regions stood when it began.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub file: u64,
    pub starts: Vec<Start>,
}

impl Row {
    /// Append time of the newest record before the file.
    fn newest_before(&self) -> Micros {
        self.starts.iter().map(|s| s.appended).max().unwrap_or(0)
    }
}

/// What retention wants.
#[derive(Debug)]
pub struct Wish<'a> {
    /// For each region, the offset before which every consumer has read.
    pub read: &'a [u64],
    /// Older may go.
    pub older_than: Micros,
    /// Size of each file.
    pub sizes: &'a BTreeMap<u64, u64>,
    /// More than this may go.
    pub size_max: u64,
}

/// The rows, oldest first; never empty once the log is open.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Table(VecDeque<Row>);

const VERSION: u32 = 1;

impl Table {
    pub fn rows(&self) -> &VecDeque<Row> {
        &self.0
    }

    /// Notes that `file` is being written and began where the regions stood at `starts`. Whether that is news.
    pub fn began(&mut self, file: u64, starts: &[Start]) -> bool {
        let news = self.0.back().is_none_or(|row| row.file < file);
        if news {
            self.0.push_back(Row { file, starts: starts.to_vec() });
        }
        news
    }

    /// Forgets rows of files after `file`: they were lost.
    pub fn ends_with(&mut self, file: u64) {
        self.0.retain(|row| row.file <= file);
    }

    /// The beginning of the oldest file to keep, if others may go. `now` is where the regions stand: when everything is
    /// read and old, everything goes.
    pub fn cut(&self, wish: &Wish<'_>, now: &Row) -> Option<Row> {
        let is_read = |row: &Row| row.starts.iter().zip(wish.read).all(|(start, read)| start.next <= *read);
        let mut size: u64 = wish.sizes.values().sum();
        let mut cut = None;
        for row in self.0.iter().skip(1).chain([now]).take_while(|row| is_read(row)) {
            let old = row.newest_before() < wish.older_than;
            let large = size > wish.size_max && !std::ptr::eq(row, now);
            if !old && !large {
                break;
            }
            size = wish.sizes.range(row.file..).map(|(_, size)| size).sum();
            cut = Some(row.clone());
        }
        cut
    }

    /// Begins with `row` from now on.
    pub fn begin_with(&mut self, row: Row) {
        self.0.retain(|r| r.file > row.file);
        self.0.push_front(row);
    }

    pub fn encode(&self) -> Vec<u8> {
        let regions = self.0.front().map_or(0, |row| row.starts.len());
        let mut out = Vec::with_capacity(12 + self.0.len() * (8 + regions * 24));
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(regions as u32).to_le_bytes());
        for row in &self.0 {
            out.extend_from_slice(&row.file.to_le_bytes());
            for start in &row.starts {
                out.extend_from_slice(&start.next.to_le_bytes());
                out.extend_from_slice(&start.own_next.to_le_bytes());
                out.extend_from_slice(&start.appended.to_le_bytes());
            }
        }
        out
    }

    /// `None`: no table of so many regions.
    pub fn decode(bytes: &[u8], regions: usize) -> Option<Self> {
        let (version, rest) = bytes.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let row_len = 8 + regions * 24;
        if u32::from_le_bytes(*version) != VERSION
            || u32::from_le_bytes(*count) as usize != regions
            || rest.len() % row_len != 0
        {
            return None;
        }
        let row = |bytes: &[u8]| -> Option<Row> {
            let word = |i: usize| -> Option<[u8; 8]> { bytes.get(i * 8..i * 8 + 8)?.try_into().ok() };
            let start = |r: usize| -> Option<Start> {
                Some(Start {
                    next: u64::from_le_bytes(word(1 + r * 3)?),
                    own_next: u64::from_le_bytes(word(2 + r * 3)?),
                    appended: i64::from_le_bytes(word(3 + r * 3)?),
                })
            };
            Some(Row {
                file: u64::from_le_bytes(word(0)?),
                starts: (0..regions).map(start).collect::<Option<_>>()?,
            })
        };
        rest.chunks_exact(row_len).map(row).collect::<Option<_>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files 1 to 4 of 10 bytes, one region, 100 records a file, one record a microsecond.
    fn table() -> (Table, BTreeMap<u64, u64>, Row) {
        let mut table = Table::default();
        for file in 1..=4 {
            table.began(file, &[at((file - 1) * 100)]);
        }
        (table, (1..=4).map(|f| (f, 10)).collect(), Row { file: 4, starts: vec![at(400)] })
    }

    fn at(next: u64) -> Start {
        Start { next, own_next: next, appended: next as Micros }
    }

    fn cut(read: u64, older_than: Micros, size_max: u64) -> Option<u64> {
        let (table, sizes, now) = table();
        let wish = Wish { read: &[read], older_than, sizes: &sizes, size_max };
        table.cut(&wish, &now).map(|row| row.starts[0].next)
    }

    #[test]
    fn retention_cuts_at_beginnings_of_files_and_never_what_is_unread() {
        const READ: u64 = u64::MAX;
        assert_eq!(cut(READ, 0, 40), None);
        assert_eq!(cut(READ, 0, 39), Some(100));
        assert_eq!(cut(READ, 0, 20), Some(200));
        assert_eq!(cut(READ, 0, 0), Some(300), "the file being written is not too large");
        assert_eq!(cut(250, 0, 0), Some(200));
        assert_eq!(cut(99, 0, 0), None);
        assert_eq!(cut(READ, 100, 40), None, "record 100 is not older than 100");
        assert_eq!(cut(READ, 101, 40), Some(100));
        assert_eq!(cut(READ, 401, 40), Some(400), "all is old");
        assert_eq!(cut(399, 401, 40), Some(300));
    }

    #[test]
    fn a_table_comes_back() {
        let (mut table, ..) = table();
        assert_eq!(Table::decode(&table.encode(), 1), Some(table.clone()));
        assert_eq!(Table::decode(&table.encode(), 2), None);
        assert_eq!(Table::decode(&table.encode()[..50], 1), None);
        assert!(!table.began(4, &[at(7)]));
        table.begin_with(Row { file: 3, starts: vec![at(200)] });
        assert_eq!(table.rows().iter().map(|r| r.file).collect::<Vec<_>>(), [3, 4]);
    }
}
