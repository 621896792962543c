//! What the source remembers of earlier files: hashes, to know a file that comes twice, and the newest header time of each
//! mine and type, to know a stale one. A text file in the state folder, one line a file:
//!
//! ```text
//! <SHA-256 hex> <mine> <TYPE> <header time, microseconds; 0: not counted>
//! ```
//! A line is added after the file was moved. A crash in between forgets a file that is then no longer in the inbox;
//! a copy of it sent again makes duplicates, which are counted further on. Lines that cannot be read are left out.

use model::Micros;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// SHA-256 of a file.
pub type Hash = [u8; 32];

/// Hashes that are kept: at 3,400 mines with a file each 30 s it is the last quarter of an hour, for one mine weeks.
const SEEN_MAX: usize = 100_000;

/// One remembered file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remembered {
    /// Its hash.
    pub hash: Hash,
    /// Mine code.
    pub mine: String,
    /// Type.
    pub kind: String,
    /// Header time; `None` when it must not count as the newest (it lies in the future).
    pub time: Option<Micros>,
}

/// The memory and its file.
pub struct Memory {
    path: PathBuf,
    seen: HashSet<Hash>,
    order: VecDeque<Remembered>,
    newest: HashMap<(String, String), Micros>,
    file: Option<File>,
    lines: usize,
    seen_max: usize,
}

impl Memory {
    /// Reads the file in the state folder, which is made when it is not there.
    ///
    /// # Errors
    /// When the folder or the file cannot be used.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        Self::open_sized(state_dir, SEEN_MAX)
    }

    fn open_sized(state_dir: &Path, seen_max: usize) -> io::Result<Self> {
        std::fs::create_dir_all(state_dir)?;
        let path = state_dir.join("seen.txt");
        let mut this = Self {
            path,
            seen: HashSet::new(),
            order: VecDeque::new(),
            newest: HashMap::new(),
            file: None,
            lines: 0,
            seen_max,
        };
        let bytes = match std::fs::read(&this.path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        };
        for line in String::from_utf8_lossy(&bytes).lines() {
            if let Some(remembered) = parse(line) {
                this.lines += 1;
                this.note(remembered);
            }
        }
        // Also heals a line that a crash tore: what follows would be joined to it.
        if this.lines > 0 || !bytes.is_empty() {
            this.rewrite()?;
        }
        Ok(this)
    }

    /// Whether a file with this content was taken before.
    pub fn has(&self, hash: &Hash) -> bool {
        self.seen.contains(hash)
    }

    /// The newest header time of a mine and type.
    pub fn newest(&self, mine: &str, kind: &str) -> Option<Micros> {
        // Two short texts a file; the map is small.
        self.newest.get(&(mine.to_owned(), kind.to_owned())).copied()
    }

    /// From now on this file was taken. It lasts beyond a restart when it was also [`Memory::persist`]ed.
    pub fn note(&mut self, file: Remembered) {
        if let Some(time) = file.time {
            let newest = self.newest.entry((file.mine.clone(), file.kind.clone())).or_insert(time);
            *newest = time.max(*newest);
        }
        if self.seen.insert(file.hash) {
            self.order.push_back(file);
        }
        while self.order.len() > self.seen_max {
            if let Some(oldest) = self.order.pop_front() {
                self.seen.remove(&oldest.hash);
            }
        }
    }

    /// Writes a noted file down.
    ///
    /// # Errors
    /// When the disk does not take it; the memory itself is as before.
    pub fn persist(&mut self, file: &Remembered) -> io::Result<()> {
        if self.lines >= 2 * self.seen_max {
            return self.rewrite();
        }
        if self.file.is_none() {
            self.file = Some(OpenOptions::new().append(true).create(true).open(&self.path)?);
        }
        let out = self.file.as_mut().expect("it was opened above");
        self.lines += 1;
        out.write_all(line(file).as_bytes())
    }

    /// Writes all anew: the newest times first, since their files may be forgotten long ago.
    fn rewrite(&mut self) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut out = String::new();
        for ((mine, kind), time) in &self.newest {
            let no_file =
                Remembered { hash: [0; 32], mine: mine.clone(), kind: kind.clone(), time: Some(*time) };
            out.push_str(&line(&no_file));
        }
        self.order.iter().filter(|f| f.hash != [0; 32]).for_each(|f| out.push_str(&line(f)));
        self.lines = self.newest.len() + self.order.len();
        self.file = None;
        std::fs::write(&new, out)?;
        std::fs::rename(&new, &self.path)
    }
}

fn line(file: &Remembered) -> String {
    format!("{} {} {} {}\n", hex::encode(file.hash), file.mine, file.kind, file.time.unwrap_or(0))
}

fn parse(line: &str) -> Option<Remembered> {
    let mut parts = line.split(' ');
    let mut hash = [0; 32];
    hex::decode_to_slice(parts.next()?, &mut hash).ok()?;
    let (mine, kind) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let time: Micros = parts.next()?.parse().ok()?;
    Some(Remembered { hash, mine, kind, time: (time != 0).then_some(time) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(n: u8, time: Option<Micros>) -> Remembered {
        Remembered { hash: [n; 32], mine: "620000000001".into(), kind: "CDSS".into(), time }
    }

    #[test]
    fn what_was_written_down_is_known_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(dir.path()).unwrap();
        for (n, time) in [(1, Some(50)), (2, Some(70)), (3, Some(60)), (4, None)] {
            memory.note(file(n, time));
            memory.persist(&file(n, time)).unwrap();
        }
        memory.note(file(5, Some(99)));
        assert!(memory.has(&[5; 32]));
        let torn = dir.path().join("seen.txt");
        let mut text = std::fs::read_to_string(&torn).unwrap();
        text.push_str("0606");
        std::fs::write(&torn, text).unwrap();
        let mut memory = Memory::open(dir.path()).unwrap();
        assert!((1..=4).all(|n| memory.has(&[n; 32])) && !memory.has(&[5; 32]));
        assert_eq!(memory.newest("620000000001", "CDSS"), Some(70));
        assert_eq!(memory.newest("620000000001", "RYSS"), None);
        memory.persist(&file(7, None)).unwrap();
        assert!(Memory::open(dir.path()).unwrap().has(&[7; 32]), "the torn line did not swallow the next");
    }

    #[test]
    fn the_oldest_hashes_are_forgotten_and_the_newest_times_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::open_sized(dir.path(), 4).unwrap();
        for n in 1..=40 {
            let time = if n == 1 { Some(500) } else { None };
            memory.note(file(n, time));
            memory.persist(&file(n, time)).unwrap();
        }
        let memory = Memory::open_sized(dir.path(), 4).unwrap();
        assert!(!memory.has(&[30; 32]) && memory.has(&[40; 32]));
        assert_eq!(memory.newest("620000000001", "CDSS"), Some(500));
        let lines = std::fs::read_to_string(dir.path().join("seen.txt")).unwrap().lines().count();
        assert!(lines <= 9, "{lines} lines");
    }
}
