//! The folder: which files are there, in which order they are read, when one is given up, where it is moved to.
//!
//! - Files are read in the order of the times in their names, from the folder and its subfolders (three deep, without our
//!   own); symbolic links are never followed, whatever is no plain file is left alone, names that begin with a dot too.
//! - A file that does not end with two pipes is left for the next scan and fails when it has not grown for `failed_after`.
//!   A name that is none of a national file waits until it has not grown between two scans.
//! - A file is moved only after its readings are durable, several being under way. A crash in between reads it again:
//!   its readings are then duplicates and counted as such.
//! - A file that cannot be moved is not read again; only the move is tried again, and health says so.

use super::judge::{Folder, Judge, PeopleChange, Verdict, is_read};
use super::memory::{Memory, Remembered};
use super::people;
use super::text::{self, refuse};
use super::{Config, STATE_DIR};
use crate::metrics::SourceMetrics;
use crate::outlet::Outlet;
use crate::{Context, SinkError};
use model::Micros;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Largest file that is read; a snapshot of a large mine has a few MB.
const FILE_LEN_MAX: u64 = 64 << 20;
/// Files of one scan; the others are taken by the next.
const FILES_MAX: usize = 10_000;
/// Files whose readings are under way.
const UNDER_WAY_MAX: usize = 32;
/// How deep subfolders are looked into.
const DEPTH_MAX: usize = 3;
/// How many places are tried for a file whose name is taken.
const PLACES_MAX: u32 = 100_000;

/// One file in the folder.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Found {
    stamp: String,
    name: String,
    path: PathBuf,
    len: u64,
}

/// A file that was judged and waits to be durable.
struct Judged {
    path: PathBuf,
    name: String,
    verdict: Verdict,
    durable: Option<oneshot::Receiver<()>>,
}

/// The folder at work.
pub struct Inbox {
    config: Config,
    context: Context,
    metrics: SourceMetrics,
    judge: Judge,
    memory: Memory,
    /// Files that are not yet complete, with their length and since when they have it.
    waiting: HashMap<PathBuf, (u64, Micros)>,
    under_way: VecDeque<Judged>,
    /// Files that could not be moved.
    stuck: BTreeMap<PathBuf, (String, Folder, Vec<String>)>,
    /// What went wrong last, by mine and type.
    pub troubles: BTreeMap<(String, String), String>,
    /// What the last look at the folder left out.
    pub left_out: LeftOut,
}

/// What a look at the folder leaves out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LeftOut {
    /// Symbolic links.
    pub links: usize,
    /// Subfolders that cannot be read.
    pub folders: Vec<String>,
}

impl Inbox {
    /// Makes the folders and reads the memory.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(config: &Config, context: &Context, metrics: &SourceMetrics) -> io::Result<Self> {
        for folder in Folder::ALL {
            std::fs::create_dir_all(config.dir.join(folder.name()))?;
            metrics.event(folder.event());
        }
        for event in ["header_future", "unit_mismatch", "card_has_another_name"] {
            metrics.event(event);
        }
        Ok(Self {
            memory: Memory::open(&config.dir.join(STATE_DIR))?,
            judge: Judge::new(context, config.receive_time),
            context: context.clone(),
            metrics: metrics.clone(),
            config: config.clone(),
            waiting: HashMap::new(),
            under_way: VecDeque::new(),
            stuck: BTreeMap::new(),
            troubles: BTreeMap::new(),
            left_out: LeftOut::default(),
        })
    }

    /// Mines whose last snapshot of people came before `before`.
    pub fn silent_mines(&self, before: Micros) -> Vec<&str> {
        let mut mines: Vec<_> =
            self.judge.snapshots.iter().filter(|(_, at)| **at < before).map(|(m, _)| m.as_str()).collect();
        mines.sort_unstable();
        mines
    }

    /// Files that could not be moved.
    pub fn stuck(&self) -> usize {
        self.stuck.len()
    }

    /// Reads what is there until `stop`, and finishes what is under way; true when something was taken.
    ///
    /// # Errors
    /// When the folder cannot be listed, or the sink is closed (then of kind `Interrupted`).
    pub async fn scan(&mut self, outlet: &Outlet, stop: &CancellationToken) -> io::Result<bool> {
        self.move_stuck();
        let dir = self.config.dir.clone();
        let (mut files, left_out) = blocking(move || list(&dir)).await?;
        self.left_out = left_out;
        let there: HashSet<&PathBuf> = files.iter().map(|f| &f.path).collect();
        self.waiting.retain(|path, _| there.contains(path));
        files.retain(|f| !self.stuck.contains_key(&f.path));
        files.sort();
        files.truncate(FILES_MAX);
        let mut taken = false;
        for found in files {
            if stop.is_cancelled() {
                break;
            }
            if let Some(verdict) = self.read(&found).await {
                taken = true;
                self.hand_over(found, verdict, outlet).await.map_err(closed)?;
            }
        }
        self.settle(0).await.map_err(closed)?;
        Ok(taken)
    }

    /// The verdict on one file; `None` when it is not its turn yet.
    async fn read(&mut self, found: &Found) -> Option<Verdict> {
        let (path, name) = (found.path.clone(), found.name.clone());
        let Some(parts) = text::name(&name).filter(|n| is_read(n.kind)) else {
            if !self.has_rested(found, 0) {
                return None;
            }
            let message = match text::name(&name) {
                Some(n) => format!("type {} is not read by this release", n.kind),
                None => "not the name of a national file: <mine>_<TYPE>_<yyyyMMddHHmmss>.txt".to_owned(),
            };
            return Some(self.judge.failed(&name, Folder::Unknown, &refuse("unknown_type", message)));
        };
        if found.len > FILE_LEN_MAX {
            let message = format!("{} bytes, more than {FILE_LEN_MAX}", found.len);
            return Some(self.judge.failed(&name, Folder::Failed, &refuse("oversize", message)));
        }
        let bytes = match blocking(move || read_plain(&path)).await {
            Ok(bytes) => bytes,
            Err(error) => {
                let what = format!("{name}: cannot be read: {error}");
                self.troubles.insert((parts.mine.to_owned(), parts.kind.to_owned()), what);
                return None;
            }
        };
        if text::is_complete(&bytes) {
            return Some(self.judge.judge(&name, parts, &bytes, &mut self.memory));
        }
        if !self.has_rested(found, self.config.failed_after) {
            return None;
        }
        let message = "the file does not end with two pipes and has stopped growing: it was cut off, or its writer died";
        Some(self.judge.failed(&name, Folder::Failed, &refuse("incomplete", message)))
    }

    /// Whether the file has had its length since an earlier scan, for at least this long.
    fn has_rested(&mut self, found: &Found, long: Micros) -> bool {
        let now = self.context.clock.now();
        match self.waiting.get_mut(&found.path) {
            Some((len, since)) if *len == found.len => now - *since >= long,
            Some(entry) => {
                *entry = (found.len, now);
                false
            }
            None => {
                self.waiting.insert(found.path.clone(), (found.len, now));
                false
            }
        }
    }

    async fn hand_over(
        &mut self,
        found: Found,
        mut verdict: Verdict,
        outlet: &Outlet,
    ) -> Result<(), SinkError> {
        let durable = match verdict.delivery.take() {
            Some(delivery) => Some(outlet.send(delivery).await?.durable),
            None => None,
        };
        self.under_way.push_back(Judged { path: found.path, name: found.name, verdict, durable });
        self.settle(UNDER_WAY_MAX).await
    }

    /// Finishes files in order until at most `most` are under way.
    async fn settle(&mut self, most: usize) -> Result<(), SinkError> {
        while self.under_way.len() > most {
            let Some(judged) = self.under_way.pop_front() else { break };
            if let Some(durable) = judged.durable {
                durable.await.map_err(|_| SinkError::Closed)?;
            }
            self.finish(judged.path, judged.name, judged.verdict);
        }
        Ok(())
    }

    /// Everything of the file is durable: it is written down and moved.
    fn finish(&mut self, path: PathBuf, name: String, verdict: Verdict) {
        let Verdict { folder, reasons, remember, people, trouble, events, .. } = verdict;
        for (event, count) in events {
            self.metrics.event(event).inc_by(count);
        }
        self.metrics.event(folder.event()).inc();
        if let Some(people) = people {
            self.keep_people(people, &name);
        }
        self.tell(&name, folder, &reasons, trouble);
        self.place(&path, name, folder, reasons);
        if let Some(remembered) = remember {
            self.write_down(&remembered);
        }
    }

    fn keep_people(&mut self, people: PeopleChange, name: &str) {
        let mine = (people.mine.as_str(), people.name.as_str());
        match people::change(&self.config.dir, mine, people.time, people.change) {
            Ok(0) => {}
            Ok(renamed) => {
                tracing::warn!(source = %self.context.info.name, name, renamed, "cards have another person's name now");
                self.metrics.event("card_has_another_name").inc_by(renamed as u64);
            }
            Err(error) => {
                tracing::error!(source = %self.context.info.name, name, %error, "people and areas could not be kept");
            }
        }
    }

    fn write_down(&mut self, remembered: &Remembered) {
        if let Err(error) = self.memory.persist(remembered) {
            tracing::error!(source = %self.context.info.name, %error, "the memory of read files cannot be written");
        }
    }

    /// Log and health.
    fn tell(&mut self, name: &str, folder: Folder, reasons: &[String], trouble: Option<String>) {
        let key = text::name(name)
            .map_or((String::new(), String::new()), |n| (n.mine.to_owned(), n.kind.to_owned()));
        let why = reasons.first().map_or("", String::as_str);
        match folder {
            Folder::Done => {
                match trouble {
                    Some(trouble) => self.troubles.insert(key, format!("{name}: {trouble}")),
                    None => self.troubles.remove(&key),
                };
                tracing::debug!(source = %self.context.info.name, name, "done");
            }
            _ => {
                tracing::warn!(source = %self.context.info.name, name, folder = folder.name(), why, "file set aside");
                self.troubles.insert(key, format!("{name}: {}: {why}", folder.name()));
            }
        }
    }

    fn place(&mut self, path: &Path, name: String, folder: Folder, reasons: Vec<String>) {
        match move_file(&self.config.dir, path, &name, folder, &reasons) {
            Ok(()) => {
                self.waiting.remove(path);
            }
            Err(error) => {
                tracing::error!(source = %self.context.info.name, name, %error, "file was read and cannot be moved");
                self.stuck.insert(path.to_owned(), (name, folder, reasons));
            }
        }
    }

    fn move_stuck(&mut self) {
        for (path, (name, folder, reasons)) in std::mem::take(&mut self.stuck) {
            if path.exists() {
                self.place(&path, name, folder, reasons);
            }
        }
    }
}

fn closed(_: SinkError) -> io::Error {
    io::Error::new(io::ErrorKind::Interrupted, "the log takes nothing more")
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Plain files of the folder and its subfolders.
fn list(dir: &Path) -> io::Result<(Vec<Found>, LeftOut)> {
    let mut files = Vec::new();
    let mut left_out = LeftOut::default();
    let mut folders = vec![(dir.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Err(e) if depth == 0 => return Err(e),
            // A subfolder may vanish between two looks, or belong to somebody else.
            Err(e) => {
                if e.kind() != io::ErrorKind::NotFound {
                    left_out.folders.push(format!("{}: {e}", folder.display()));
                }
                continue;
            }
            Ok(entries) => entries,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                left_out.folders.push(format!("{}: a name that is not UTF-8", entry.path().display()));
                continue;
            };
            if name.starts_with('.') || (depth == 0 && Folder::ALL.iter().any(|f| f.name() == name)) {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_symlink() {
                left_out.links += 1;
            } else if kind.is_dir() && depth < DEPTH_MAX {
                folders.push((entry.path(), depth + 1));
            } else if kind.is_file()
                && let Ok(metadata) = entry.metadata()
            {
                let stamp = text::name(&name).map(|n| n.stamp.to_owned()).unwrap_or_default();
                files.push(Found { stamp, path: entry.path(), len: metadata.len(), name });
            }
        }
    }
    Ok((files, left_out))
}

/// Reads a plain file; a link that took its place meanwhile is not followed.
fn read_plain(path: &Path) -> io::Result<Vec<u8>> {
    let before = std::fs::symlink_metadata(path)?;
    if !before.is_file() {
        return Err(io::Error::other("it is no plain file any more"));
    }
    let file = std::fs::File::open(path)?;
    let opened = file.metadata()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if (before.dev(), before.ino()) != (opened.dev(), opened.ino()) {
            return Err(io::Error::other("it was replaced while it was opened"));
        }
    }
    let mut bytes = Vec::with_capacity(opened.len().min(FILE_LEN_MAX) as usize);
    file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Moves a file into a folder under a name that is free, the reasons beside it.
fn move_file(inbox: &Path, path: &Path, name: &str, folder: Folder, reasons: &[String]) -> io::Result<()> {
    let into = inbox.join(folder.name());
    std::fs::create_dir_all(&into)?;
    let first = u32::from(folder == Folder::Duplicate);
    for n in first..PLACES_MAX {
        let target = if n == 0 { into.join(name) } else { into.join(format!("{name}.dup{n}")) };
        if target.symlink_metadata().is_ok() {
            continue;
        }
        if !reasons.is_empty() {
            let mut beside = target.clone().into_os_string();
            beside.push(".reason.txt");
            std::fs::write(beside, reasons.join("\n") + "\n")?;
        }
        return std::fs::rename(path, target);
    }
    Err(io::Error::other(format!("{PLACES_MAX} files of this name are in {} already", folder.name())))
}

/// Removes files that were moved into the folders of finished files before `before`; how many.
#[cfg(unix)]
pub fn remove_old(inbox: &Path, before: Micros) -> usize {
    use std::os::unix::fs::MetadataExt;
    let mut removed = 0;
    for folder in [Folder::Done, Folder::Stale, Folder::Duplicate] {
        let Ok(entries) = std::fs::read_dir(inbox.join(folder.name())) else { continue };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            // The time of the last change of its place; the time of its content may be much older.
            let moved = metadata.ctime().saturating_mul(1_000_000);
            if metadata.is_file() && moved < before && std::fs::remove_file(entry.path()).is_ok() {
                removed += 1;
            }
        }
    }
    removed
}

/// Without such a time nothing is removed.
#[cfg(not(unix))]
pub fn remove_old(_: &Path, _: Micros) -> usize {
    0
}
