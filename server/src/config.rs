//! The configuration: one TOML file, read to its end, every mistake named at file:line:column before anything starts.
//!
//! Relative paths are relative to the folder of the file. Each section has a table of [`KeyDoc`]s beside the code that reads
//! it; the generated reference (`docs/configuration.md`) is made from these tables.

use ingest::Configured;
use model::keys::{KeyDoc, key};
use model::problem::Problem;
use model::toml_file::{Section, TomlFile};
use model::{Micros, Problems, time};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

mod alerts;
mod kafka;
mod load;
pub mod reference;
mod server;

pub use alerts::AlertsConfig;
pub use kafka::KafkaConfig;
pub use load::{
    Hashes, Loaded, Stamps, catalog_of_files, load_catalog, load_routes, load_rules, pack_files,
    registered_file, rule_and_test_files, rule_files, stamps,
};
pub use server::{Role, ServerConfig, Tls, TokenConfig};

/// Which log carries the readings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogKind {
    /// The embedded log.
    Embedded,
    /// Apache Kafka, behind the collector's own embedded log.
    Kafka,
}

/// `[log]`.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Embedded or Kafka.
    pub kind: LogKind,
    /// Fixed when the log is made.
    pub partitions: u32,
    /// Folder of the embedded log.
    pub dir: PathBuf,
    /// Largest size on disk, bytes.
    pub retain_size: u64,
    /// Oldest record kept.
    pub retain_age: Micros,
    /// Free disk space that is never used, bytes.
    pub disk_reserve: u64,
    /// How long a record waits for more rows.
    pub linger: Duration,
    /// Kafka's brokers and topic.
    pub kafka: Option<KafkaConfig>,
}

/// What happens to readings of points that are not in the catalog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unknown {
    /// Refused and counted.
    Refuse,
    /// Kept aside, listed, released when the point is registered.
    Quarantine,
    /// Registered at once with what is known, then released.
    Register,
}

/// `[catalog]`.
#[derive(Clone, Debug)]
pub struct CatalogConfig {
    /// Sites file, CSV.
    pub sites: Option<PathBuf>,
    /// Points files, CSV or CDDY.
    pub points: Vec<PathBuf>,
    /// Policy for unknown points.
    pub unknown: Unknown,
}

/// `[rules]`.
#[derive(Clone, Debug, Default)]
pub struct RulesConfig {
    /// Files or folders.
    pub paths: Vec<PathBuf>,
    /// Shipped packs.
    pub packs: Vec<String>,
}

/// The whole file.
pub struct Config {
    /// Where it stands.
    pub file: PathBuf,
    /// What stands in it, for places of mistakes that show only with the files it points to.
    pub text: String,
    /// `data.dir`.
    pub data_dir: PathBuf,
    /// `[log]`.
    pub log: LogConfig,
    /// `[catalog]`.
    pub catalog: CatalogConfig,
    /// `[rules]`.
    pub rules: RulesConfig,
    /// `[storage]`.
    pub storage: storage::Options,
    /// `[alerts]`.
    pub alerts: AlertsConfig,
    /// `[[receiver]]`.
    pub receivers: Vec<::alerts::Receiver>,
    /// `[server]`.
    pub server: ServerConfig,
    /// `[[source]]`.
    pub sources: Vec<SourceSlot>,
}

/// A configured source until it is started.
pub struct SourceSlot {
    /// Name and flags.
    pub info: ingest::SourceInfo,
    /// Protocol.
    pub kind: &'static str,
    /// Points that its section names one by one.
    pub points: Vec<ingest::NamedPoint>,
    source: Mutex<Option<Box<dyn ingest::Source>>>,
}

impl SourceSlot {
    fn new(configured: Configured) -> Self {
        let Configured { info, kind, source, protocol } = configured;
        Self { info, kind, points: protocol.points, source: Mutex::new(Some(source)) }
    }

    /// The source itself, the first time.
    pub fn take(&self) -> Option<Box<dyn ingest::Source>> {
        self.source.lock().expect("no holder of this lock panics").take()
    }
}

/// Keys of `[data]`, `[log]`, `[catalog]`, `[rules]`, `[alerts]`.
pub const KEYS: &[(&str, &[KeyDoc])] = &[
    (
        "[data]",
        &[key("dir", "path", "\"data\"", "folder of log, table and alarm database unless said otherwise")],
    ),
    (
        "[log]",
        &[
            key(
                "kind",
                "`embedded` or `kafka`",
                "\"embedded\"",
                "where readings go; with Kafka they pass the collector's own embedded log first",
            ),
            key(
                "partitions",
                "number",
                "8",
                "fixed when the log is made; sites are spread over them by hash",
            ),
            key("dir", "path", "\"<data.dir>/log\"", "folder of the embedded log"),
            key(
                "retain.size",
                "size",
                "\"20GiB\"",
                "largest size on disk; at the limit with nothing to remove, appends are refused and an alarm is raised",
            ),
            key(
                "retain.age",
                "duration",
                "\"7d\"",
                "records older than this are removed once every consumer has read them",
            ),
            key(
                "disk_reserve",
                "size",
                "\"1GiB\"",
                "free disk space the log leaves untouched; below it appends are refused until space is freed",
            ),
            key(
                "linger",
                "duration",
                "\"5ms\"",
                "how long a record waits for more readings, at most 10ms: longer costs latency, shorter costs CPU",
            ),
        ],
    ),
    ("[log.kafka]", kafka::KEYS),
    (
        "[catalog]",
        &[
            key("sites", "path", "", "CSV of sites; a national file among the points brings its own site"),
            key(
                "points",
                "list of paths",
                "",
                "CSV files, or national files (`.txt`): CDDY, and for rules about people RYQY (areas) and RYXX (the mine)",
            ),
            key(
                "unknown",
                "`refuse`, `quarantine` or `register`",
                "\"quarantine\"",
                "what happens to readings of points that are not in the catalog: refused; kept aside until the point is \
                 registered; or the point of a known site registers itself, with the quantity `unknown`, which rules by site, \
                 region or kind select and rules by quantity do not",
            ),
        ],
    ),
    (
        "[rules]",
        &[
            key("paths", "list of paths", "", "rule files, or folders of `.toml` files"),
            key("packs", "list of texts", "", "shipped packs by name; see `firedamp rules packs`"),
        ],
    ),
    ("[alerts]", alerts::KEYS),
];

impl Config {
    /// Reads the file. Where there are errors among the problems the configuration is what could be understood, so that the files
    /// it points to can be checked too; nothing may be started with it.
    pub fn read(path: &Path) -> (Option<Self>, Problems) {
        let name = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) => {
                let mut problems = Problems::default();
                let help = "give the file as argument, with --config, or in FIREDAMP_CONFIG";
                problems.push(Problem::error(&name, 0, 0, format!("cannot be read: {e}")).help(help));
                return (None, problems);
            }
        };
        Self::parse(path, &text)
    }

    /// [`Config::read`] of a text, with `path` for relative paths.
    pub fn parse(path: &Path, text: &str) -> (Option<Self>, Problems) {
        let file = TomlFile::parse(&path.display().to_string(), text);
        let config = read_root(path, &file.root()).map(|config| Config { text: text.to_owned(), ..config });
        let problems = file.into_problems();
        (config, problems)
    }

    /// A path of the configuration as an absolute one: relative ones are below the folder of the file.
    pub fn resolve(file: &Path, path: &str) -> PathBuf {
        let joined = file.parent().unwrap_or(Path::new("")).join(path);
        std::path::absolute(&joined).unwrap_or(joined)
    }
}

fn read_root(path: &Path, root: &Section<'_>) -> Option<Config> {
    let data = root.table("data");
    let dir = data.as_ref().and_then(|d| d.str("dir")).map_or("data", |d| d.value);
    let data_dir = Config::resolve(path, dir);
    if let Some(data) = data {
        data.finish();
    }
    let log = read_log(path, &data_dir, root.table("log"));
    let catalog = read_catalog(path, root.table("catalog"));
    let rules = read_rules(path, root.table("rules"));
    let storage = read_storage(path, &data_dir, root.table("storage"));
    let alerts = alerts::read(path, &data_dir, root.table("alerts"));
    let mut receivers = Vec::new();
    for section in root.tables("receiver") {
        receivers.extend(::alerts::Receiver::from_section(&section));
        if alerts.routes.is_some() {
            ::alerts::route::refuse_filters(&section);
        }
        section.finish();
    }
    let server = server::read(path, root.table("server"));
    let mut sources = Vec::new();
    for section in root.tables("source") {
        sources.extend(ingest::sources_from_section(&section).map(SourceSlot::new));
        section.finish();
    }
    unique(root, "source", sources.iter().map(|s| s.info.name.to_string()));
    unique(root, "receiver", receivers.iter().map(|r| r.name.clone()));
    root.finish_ref();
    let file = path.to_owned();
    Some(Config {
        file,
        text: String::new(),
        data_dir,
        log,
        catalog,
        rules,
        storage,
        alerts,
        receivers,
        server: server?,
        sources,
    })
}

/// Names are what metrics, health and the balance go by: two of one kind must differ.
fn unique(root: &Section<'_>, what: &'static str, names: impl Iterator<Item = String>) {
    let mut seen = std::collections::BTreeSet::new();
    let sections = root.tables(what);
    for (i, name) in names.enumerate() {
        if !seen.insert(name.clone()) {
            let at = sections.get(i).map_or(0, Section::at);
            root.file().error_at(at, format!("two {what}s are named `{name}`"), "give each its own name");
        }
    }
}

fn read_log(path: &Path, data_dir: &Path, section: Option<Section<'_>>) -> LogConfig {
    let mut log = LogConfig {
        kind: LogKind::Embedded,
        partitions: 8,
        dir: data_dir.join("log"),
        retain_size: 20 << 30,
        retain_age: 7 * time::DAY,
        disk_reserve: 1 << 30,
        linger: Duration::from_millis(5),
        kafka: None,
    };
    let Some(s) = section else { return log };
    if let Some(kind) = s.one_of("kind", &["embedded", "kafka"]) {
        log.kind = if kind.value == "kafka" { LogKind::Kafka } else { LogKind::Embedded };
    }
    if let Some(n) = s.int("partitions", 1, 1024) {
        log.partitions = n.value as u32;
    }
    if let Some(dir) = s.str("dir") {
        log.dir = Config::resolve(path, dir.value);
    }
    if let Some(retain) = s.table("retain") {
        log.retain_size = retain.size("size").map_or(log.retain_size, |v| v.value);
        log.retain_age = retain.duration("age").map_or(log.retain_age, |v| v.value);
        retain.finish();
    }
    log.disk_reserve = s.size("disk_reserve").map_or(log.disk_reserve, |v| v.value);
    if let Some(linger) = s.duration("linger") {
        if linger.value > 10_000 {
            let message = format!("`log.linger` is {}, at most 10ms", time::show_duration(linger.value));
            s.file().error_at(
                linger.at,
                message,
                "a longer one would only add latency: a record is full before",
            );
        }
        log.linger = Duration::from_micros(linger.value.clamp(0, 10_000) as u64);
    }
    if let Some(kafka) = s.table("kafka") {
        log.kafka = Some(KafkaConfig::read(&kafka));
        kafka.finish();
    }
    if log.kind == LogKind::Kafka && log.kafka.is_none() {
        s.missing("kafka", "{ brokers = [\"127.0.0.1:9092\"], topic = \"firedamp\" }");
    }
    s.finish();
    log
}

fn read_storage(path: &Path, data_dir: &Path, section: Option<Section<'_>>) -> storage::Options {
    let said = section.as_ref().is_some_and(|s| s.has("url"));
    let mut options = section.map(storage::Options::from_section).unwrap_or_default();
    if !said {
        options.url = data_dir.join("lake").display().to_string();
    } else if !options.url.contains("://") {
        options.url = Config::resolve(path, &options.url).display().to_string();
    }
    options
}

fn read_catalog(path: &Path, section: Option<Section<'_>>) -> CatalogConfig {
    let mut catalog = CatalogConfig { sites: None, points: Vec::new(), unknown: Unknown::Quarantine };
    let Some(s) = section else { return catalog };
    catalog.sites = s.str("sites").map(|p| Config::resolve(path, p.value));
    let points = s.strs("points").unwrap_or_default();
    catalog.points = points.iter().map(|p| Config::resolve(path, p.value)).collect();
    if let Some(policy) = s.one_of("unknown", &["refuse", "quarantine", "register"]) {
        catalog.unknown = match policy.value {
            "refuse" => Unknown::Refuse,
            "register" => Unknown::Register,
            _ => Unknown::Quarantine,
        };
    }
    s.finish();
    catalog
}

fn read_rules(path: &Path, section: Option<Section<'_>>) -> RulesConfig {
    let Some(s) = section else { return RulesConfig::default() };
    let paths = s.strs("paths").unwrap_or_default();
    let paths = paths.iter().map(|p| Config::resolve(path, p.value)).collect();
    let known: Vec<&str> = rules::packs().iter().map(|(name, _)| *name).collect();
    let mut packs = Vec::new();
    for pack in s.strs("packs").unwrap_or_default() {
        if known.contains(&pack.value) {
            packs.push(pack.value.to_owned());
        } else {
            let message = format!("there is no shipped pack `{}`", pack.value);
            s.file().error_at(pack.at, message, format!("shipped: {}", known.join(", ")));
        }
    }
    s.finish();
    RulesConfig { paths, packs }
}
