//! Settings of `[storage]`, each with its default, unit and a sentence ([`KEYS`]), read from the configuration file.

use model::secret::{Secret, read_secret};
use model::time::{Micros, SECOND, parse_zone};
use model::toml_file::Section;
use std::time::Duration;

/// Every key of `[storage]`: name, default, and what it does.
pub const KEYS: &[(&str, &str, &str)] = &[
    ("url", "\"data/lake\"", "Folder of the tables, or s3://bucket/prefix."),
    ("flush", "\"60s\"", "Rows are committed to the tables at least this often."),
    ("flush_size", "\"256MiB\"", "Rows are committed earlier when the tail has grown to this size."),
    (
        "tail",
        "\"2GiB\"",
        "Memory for rows not yet committed; when it is full, taking readings waits for a commit.",
    ),
    ("zone", "\"+08:00\"", "Zone of the local day by which the tables are partitioned."),
    ("file_rows", "16000000", "Largest number of rows in one file of a table."),
    ("compact_files", "8", "So many files of one day and alike in size are merged into one."),
    ("checkpoint", "100", "A checkpoint of a table's log each so many commits."),
    (
        "keep_removed",
        "\"1h\"",
        "Files that compaction or retention took out of a table are deleted after this time.",
    ),
    ("retain.readings", "\"90d\"", "Age at which days of `readings` are removed."),
    ("retain.person_positions", "\"90d\"", "Age at which days of `person_positions` are removed."),
    ("retain.events", "\"2y\"", "Age at which days of `events` are removed."),
    (
        "retain.arrivals",
        "\"90d\"",
        "Age at which days of `arrivals` are removed; the balance goes back as far.",
    ),
    ("retain.quarantine", "\"90d\"", "Age at which days of `quarantine` are removed."),
    ("retain.stats_5min", "\"2y\"", "Age at which days of `stats_5min` are removed."),
    ("query.time", "\"60s\"", "A query running longer is stopped."),
    ("query.memory", "\"512MiB\"", "A query needing more memory is stopped."),
    ("query.rows", "1000000", "A query giving more rows is stopped."),
    (
        "query.threads",
        "2",
        "Threads that run queries and compaction, apart from those of the pipeline; 0: the pipeline's own, for encoding too.",
    ),
    (
        "s3.endpoint",
        "",
        "Address of an S3-compatible store; absent: AWS. Conditional put (If-None-Match) is needed.",
    ),
    ("s3.region", "", "Region; absent: AWS_REGION, else us-east-1."),
    ("s3.access_key", "", "Access key; absent: AWS_ACCESS_KEY_ID or the machine's role."),
    (
        "s3.secret_key",
        "",
        "Secret key, as { env = \"NAME\" } or { file = \"PATH\" }; absent: AWS_SECRET_ACCESS_KEY.",
    ),
];

/// How to reach an S3-compatible store; what is absent comes from the usual AWS variables.
#[derive(Clone, Debug, Default)]
pub struct S3 {
    /// Address; `http://` is allowed here, for a store in the same machine room.
    pub endpoint: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Access key.
    pub access_key: Option<String>,
    /// Secret key.
    pub secret_key: Option<Secret>,
}

/// What a query may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From its start to its last row.
    pub time: Duration,
    /// Memory of sorts, joins and aggregates, in bytes.
    pub memory: usize,
    /// Rows of the answer.
    pub rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_secs(60), memory: 512 << 20, rows: 1_000_000 }
    }
}

/// How long days of each table are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retain {
    /// `readings`.
    pub readings: Micros,
    /// `person_positions`.
    pub person_positions: Micros,
    /// `events`.
    pub events: Micros,
    /// `arrivals`.
    pub arrivals: Micros,
    /// `quarantine`.
    pub quarantine: Micros,
    /// `stats_5min`.
    pub stats_5min: Micros,
}

const DAY: Micros = model::time::DAY;

impl Default for Retain {
    fn default() -> Self {
        Self {
            readings: 90 * DAY,
            person_positions: 90 * DAY,
            events: 730 * DAY,
            arrivals: 90 * DAY,
            quarantine: 90 * DAY,
            stats_5min: 730 * DAY,
        }
    }
}

/// A mistake put in on purpose: the tests that look for lost and repeated rows are themselves tested by it.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Every reading is taken for new.
    SkipDedup,
    /// Commits are made wherever other writers left the offsets.
    CommitWithoutComparing,
}

/// Settings of the storage; see [`KEYS`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder or `s3://bucket/prefix`.
    pub url: String,
    /// Commit at least this often.
    pub flush: Duration,
    /// Commit when the tail has grown to this many bytes.
    pub flush_bytes: usize,
    /// Budget of the tail in bytes.
    pub tail_bytes_max: usize,
    /// Seconds that the local day is ahead of UTC.
    pub zone_offset_s: i32,
    /// Largest number of rows in a file.
    pub file_rows_max: usize,
    /// So many files alike in size are merged.
    pub compact_files: usize,
    /// Commits between two checkpoints.
    pub checkpoint_every: u64,
    /// Removed files are deleted after this time.
    pub keep_removed: Micros,
    /// Age limits.
    pub retain: Retain,
    /// Limits of a query that brings none of its own.
    pub limits: Limits,
    /// Threads for queries and compaction; 0: the caller's runtime, for encoding too.
    pub query_threads: usize,
    /// For an S3 URL.
    pub s3: S3,
    /// Only tests set it.
    #[doc(hidden)]
    pub planted: Option<Planted>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: "data/lake".to_owned(),
            flush: Duration::from_secs(60),
            flush_bytes: 256 << 20,
            tail_bytes_max: 2 << 30,
            zone_offset_s: 8 * 3600,
            file_rows_max: 16_000_000,
            compact_files: 8,
            checkpoint_every: 100,
            keep_removed: 3600 * SECOND,
            retain: Retain::default(),
            limits: Limits::default(),
            query_threads: 2,
            s3: S3::default(),
            planted: None,
        }
    }
}

impl Options {
    /// Reads `[storage]`; mistakes become problems of the file, with the defaults in their place.
    pub fn from_section(section: Section<'_>) -> Self {
        let mut this = Self::default();
        if let Some(url) = section.str("url") {
            this.url = url.value.to_owned();
        }
        duration(&section, "flush", SECOND / 10, &mut this.flush);
        bytes(&section, "flush_size", 1 << 20, &mut this.flush_bytes);
        bytes(&section, "tail", 4 << 20, &mut this.tail_bytes_max);
        if let Some(zone) = section.str("zone") {
            match parse_zone(zone.value) {
                Some(offset) => this.zone_offset_s = offset,
                None => section.file().error_at(
                    zone.at,
                    format!("`storage.zone` is `{}`, which is no offset from UTC", zone.value),
                    "write for example \"+08:00\"",
                ),
            }
        }
        if let Some(n) = section.int("file_rows", 1000, 1 << 31) {
            this.file_rows_max = n.value as usize;
        }
        if let Some(n) = section.int("compact_files", 2, 1000) {
            this.compact_files = n.value as usize;
        }
        if let Some(n) = section.int("checkpoint", 1, 100_000) {
            this.checkpoint_every = n.value as u64;
        }
        if let Some(keep) = section.duration("keep_removed") {
            this.keep_removed = keep.value;
        }
        if let Some(retain) = section.table("retain") {
            read_retain(retain, &mut this.retain);
        }
        if let Some(query) = section.table("query") {
            this.read_query(query);
        }
        if let Some(s3) = section.table("s3") {
            this.s3 = read_s3(s3);
        }
        if this.flush_bytes > this.tail_bytes_max / 2 {
            // While one half is being committed the other fills.
            this.flush_bytes = this.tail_bytes_max / 2;
        }
        if Micros::try_from(this.limits.time.as_micros()).is_ok_and(|t| t > this.keep_removed) {
            section.error(
                "`storage.query.time` is longer than `storage.keep_removed`",
                "a query reads files that were taken out of the table since it began; keep them for as long",
            );
        }
        section.finish();
        this
    }

    fn read_query(&mut self, query: Section<'_>) {
        duration(&query, "time", SECOND / 1000, &mut self.limits.time);
        bytes(&query, "memory", 1 << 20, &mut self.limits.memory);
        if let Some(n) = query.int("rows", 1, i64::MAX) {
            self.limits.rows = n.value as usize;
        }
        if let Some(n) = query.int("threads", 0, 1024) {
            self.query_threads = n.value as usize;
        }
        query.finish();
    }
}

fn duration(section: &Section<'_>, key: &'static str, min: Micros, into: &mut Duration) {
    let Some(found) = section.duration(key) else { return };
    if found.value < min {
        let message = format!("`{key}` is shorter than {}", model::time::show_duration(min));
        section.file().error_at(found.at, message, "");
        return;
    }
    *into = Duration::from_micros(found.value.unsigned_abs());
}

fn bytes(section: &Section<'_>, key: &'static str, min: u64, into: &mut usize) {
    let Some(found) = section.size(key) else { return };
    if found.value < min {
        section.file().error_at(found.at, format!("`{key}` is smaller than {min} bytes"), "");
        return;
    }
    *into = usize::try_from(found.value).unwrap_or(usize::MAX);
}

fn read_retain(section: Section<'_>, retain: &mut Retain) {
    let Retain { readings, person_positions, events, arrivals, quarantine, stats_5min } = retain;
    for (key, into) in [
        ("readings", readings),
        ("person_positions", person_positions),
        ("events", events),
        ("arrivals", arrivals),
        ("quarantine", quarantine),
        ("stats_5min", stats_5min),
    ] {
        let Some(found) = section.duration(key) else { continue };
        if found.value < DAY {
            let help = "tables are removed by whole days";
            section.file().error_at(
                found.at,
                format!("`storage.retain.{key}` is shorter than one day"),
                help,
            );
        } else {
            *into = found.value;
        }
    }
    section.finish();
}

fn read_s3(section: Section<'_>) -> S3 {
    let text = |key| section.str(key).map(|s| s.value.to_owned());
    let s3 = S3 {
        endpoint: text("endpoint"),
        region: text("region"),
        access_key: text("access_key"),
        secret_key: section.has("secret_key").then(|| read_secret(&section, "secret_key")).flatten(),
    };
    section.finish();
    s3
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::time::{parse_duration, parse_size};
    use model::toml_file::TomlFile;

    #[test]
    fn settings_are_read_and_mistakes_named() {
        let text = "[storage]\nurl = \"x\"\nflush = \"5s\"\nzone = \"+05:30\"\nretain = { readings = \"1h\", events = \"30d\" }\n\
                    query = { rows = 5 }\nflsh_size = \"1MiB\"\n";
        let file = TomlFile::parse("f.toml", text);
        let root = file.root();
        let options = Options::from_section(root.table("storage").unwrap());
        assert_eq!((options.flush, options.zone_offset_s), (Duration::from_secs(5), 19_800));
        assert_eq!((options.limits.rows, options.retain.events), (5, 30 * DAY));
        let shown = file.into_problems().to_string();
        assert!(shown.contains("f.toml:5:23: error: `storage.retain.readings`"), "{shown}");
        assert!(shown.contains("did you mean `flush_size`?"), "{shown}");
    }

    #[test]
    fn every_default_in_the_reference_parses() {
        for (key, default, sentence) in KEYS {
            assert!(sentence.ends_with('.'), "{key}");
            let text = default.trim_matches('"');
            let known = default.is_empty()
                || *key == "url"
                || parse_zone(text).is_some()
                || parse_duration(text).is_ok()
                || parse_size(text).is_ok()
                || text.parse::<u64>().is_ok();
            assert!(known, "{key} = {default}");
        }
    }

    /// Wherever the process stands: under systemd that is `/`.
    #[test]
    fn a_secret_lies_beside_the_configuration_and_is_never_printed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("table.secret"), "abc123\n").unwrap();
        let text = "[storage.s3]\nsecret_key = { file = \"table.secret\" }\n";
        let file = TomlFile::parse(&dir.path().join("firedamp.toml").display().to_string(), text);
        let s3 = Options::from_section(file.root().table("storage").unwrap()).s3;
        assert_eq!(file.into_problems().to_string(), "");
        assert_eq!(s3.secret_key, Some(Secret::new("abc123")));
        assert!(!format!("{s3:?}").contains("abc123"));
    }
}
