//! An inbox in a temporary folder.

use crate::configure::sources_from_section;
use crate::national::catalog::catalog_from_cddy;
use crate::testing::Fixture;
use crate::{Context, Delivery};
use model::catalog::{Place, Point, Site};
use model::problem::Problems;
use model::toml_file::TomlFile;
use model::{Catalog, Micros};
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const LONG: Duration = Duration::from_secs(20);
pub const MINE: &str = "620000000001";
pub const METHANE: &str = "62000000000101MN004300001A01";
pub const DUCT: &str = "62000000000101KG100300001D02";
/// The sample of domain.md 2.9.
pub const SAMPLE: &str = "620000000001;测试煤矿;2026-09-23 10:13:19~62000000000101MN004300001A01;激光甲烷;1301回风隅角T0;1.02;%CH4;1;2026-09-23 10:13:15~62000000000101KG100300001D02;风筒状态;1302掘进;1;;0;2026-09-23 10:13:15~||";
pub const SAMPLE_NAME: &str = "620000000001_CDSS_20260923101319.txt";

/// Time as in the files.
pub fn at(text: &str) -> Micros {
    model::time::parse_national(text).unwrap()
}

pub struct Running {
    pub fixture: Fixture,
    pub dir: tempfile::TempDir,
    stop: CancellationToken,
    task: JoinHandle<()>,
    keys: String,
}

fn catalog() -> Catalog {
    let site = Site { code: MINE.into(), kind: "mine".into(), region: "620000".into(), ..Site::default() };
    let point = |code: &str, quantity: &str, unit: &str| {
        let point = Point {
            site: MINE.into(),
            code: code.into(),
            quantity: quantity.into(),
            unit: unit.into(),
            ..Point::default()
        };
        (point, Place::default())
    };
    let points = vec![point(METHANE, "ch4", "%CH4"), point(DUCT, "duct", "")];
    Catalog::build(vec![(site, Place::default())], points, 4, &mut Problems::default())
}

/// Starts an inbox with further keys; the clock stands five seconds after the header of the sample.
pub fn start(keys: &str) -> Running {
    start_in(tempfile::tempdir().unwrap(), keys)
}

pub fn start_in(dir: tempfile::TempDir, keys: &str) -> Running {
    let fixture = Fixture::new(0);
    fixture.clock.set(at("2026-09-23 10:13:24"));
    *fixture.context.catalog.write().unwrap() = std::sync::Arc::new(catalog());
    run(fixture, dir, keys)
}

fn run(fixture: Fixture, dir: tempfile::TempDir, keys: &str) -> Running {
    let text = format!(
        "name = \"inbox\"\nkind = \"national\"\nevery = \"10ms\"\nkeep = \"3650d\"\ndir = {}\n{keys}",
        toml::Value::from(dir.path().to_str().unwrap())
    );
    let file = TomlFile::parse("f.toml", &text);
    let root = file.root();
    let configured = sources_from_section(&root).expect("a good section");
    root.finish();
    let problems = file.into_problems();
    assert!(problems.0.is_empty(), "{problems}");
    let context = Context { info: configured.info, ..fixture.context.clone() };
    let stop = CancellationToken::new();
    let task = tokio::spawn(configured.source.run(context, stop.clone()));
    Running { fixture, dir, stop, task, keys: keys.to_owned() }
}

impl Running {
    /// Drops a file in as a careful writer does: a temporary name, then a rename.
    pub fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let hidden = self.dir.path().join(format!(".{name}"));
        std::fs::write(&hidden, content).unwrap();
        std::fs::rename(hidden, self.dir.path().join(name)).unwrap();
    }

    pub fn path(&self, at: &str) -> PathBuf {
        self.dir.path().join(at)
    }

    /// Waits until a file is there.
    pub async fn wait_file(&self, at: &str) {
        let path = self.path(at);
        let there = async {
            while !path.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(LONG, there).await.is_err() {
            panic!("no {at}; there is {:?}; health {:?}", self.files(), self.fixture.health());
        }
    }

    /// Waits until health says something.
    pub async fn wait_health(&self, wanted: &str) {
        let said = async {
            while !self.fixture.health().message.contains(wanted) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(LONG, said).await.is_err() {
            panic!("health never said `{wanted}`: {:?}", self.fixture.health());
        }
    }

    /// All files of the inbox, without the state, sorted.
    pub fn files(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut folders = vec![self.dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                let kind = entry.file_type().unwrap();
                if entry.file_name() == ".firedamp" {
                    continue;
                }
                if kind.is_dir() {
                    folders.push(entry.path());
                } else {
                    out.push(
                        entry.path().strip_prefix(self.dir.path()).unwrap().to_str().unwrap().to_owned(),
                    );
                }
            }
        }
        out.sort();
        out
    }

    pub fn reason(&self, at: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{at}.reason.txt"))).unwrap()
    }

    pub fn taken(&self) -> Vec<Delivery> {
        self.fixture.sink.taken()
    }

    pub async fn stop(self) -> (Fixture, tempfile::TempDir) {
        self.stop.cancel();
        tokio::time::timeout(LONG, self.task).await.expect("the source stops").unwrap();
        (self.fixture, self.dir)
    }

    /// Stops the source and starts it again on the same folder.
    pub async fn restart(self) -> Self {
        let keys = self.keys.clone();
        let (fixture, dir) = self.stop().await;
        run(fixture, dir, &keys)
    }
}

/// Refusals of all deliveries by reason.
pub fn refusals(taken: &[Delivery]) -> Vec<(&'static str, u64)> {
    let mut sums = std::collections::BTreeMap::new();
    for refusal in taken.iter().flat_map(|d| &d.refused) {
        *sums.entry(refusal.reason).or_insert(0) += refusal.count;
    }
    sums.into_iter().collect()
}

/// Reads a definition file as the server does.
pub fn points_of(text: &str) -> usize {
    catalog_from_cddy("f", text, &mut Problems::default()).1.len()
}
