//! The files a configuration points to: catalog, rules and routes, read whole, every mistake told.

use super::{Config, Unknown};
use crate::versions::Version;
use alerts::Routes;
use ingest::NamedPoint;
use model::problem::{Level, Problem, line_column, nearest};
use model::{Catalog, Problems};
use rules::{Program, RuleFile};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Most places of points that the catalog lacks; with a wrong catalog all of them do.
const LACKING_MAX: usize = 20;

/// Catalog, rules and routes as they stand in the files.
pub struct Loaded {
    /// Sites and points.
    pub catalog: Arc<Catalog>,
    /// The texts of the rules.
    pub rules: Vec<RuleFile>,
    /// The rules compiled against the catalog.
    pub program: Arc<Program>,
    /// Who is told.
    pub routes: Arc<Routes>,
    /// The rules for each partition, as the log carries them.
    pub version: Arc<Version>,
    /// What names each text exactly, for the journal.
    pub hashes: Hashes,
    /// How the files were just before they were read: one that changes meanwhile is read again.
    pub stamps: Stamps,
}

/// BLAKE3 of each text that decides, hex.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Hashes {
    config: String,
    rules: String,
    /// Of the texts of all partitions, in order.
    catalog: String,
    /// Of the file of routes and its rosters; empty without one.
    routes: String,
}

impl Hashes {
    fn of(config: &Config, version: &Arc<Version>) -> Self {
        // The whole has no text of its own.
        let mut catalog = blake3::Hasher::new();
        for partition in 0..config.log.partitions {
            catalog.update(version.of_partition(partition).catalog_text.as_bytes());
        }
        let mut routes = blake3::Hasher::new();
        let files = config.alerts.routes.as_deref().map(alerts::route::route_files).unwrap_or_default();
        for file in &files {
            // One that is gone since is read again, as its time says.
            routes.update(&std::fs::read(file).unwrap_or_default());
        }
        let routes = routes.finalize().to_hex().to_string();
        Self {
            config: blake3::hash(config.text.as_bytes()).to_hex().to_string(),
            rules: version.rules_hash.clone(),
            catalog: catalog.finalize().to_hex().to_string(),
            routes: if files.is_empty() { String::new() } else { routes },
        }
    }
}

impl Loaded {
    /// Reads and compiles everything `config` points to. `None` when there is an error among the problems.
    pub fn read(config: &Config) -> (Option<Self>, Problems) {
        let (mut problems, stamps) = (Problems::default(), stamps(config));
        let catalog = Arc::new(load_catalog(config, &mut problems));
        if problems.errors() == 0 {
            // Of a catalog that could not be read everything would be missing.
            named_points(config, &catalog, &mut problems);
        }
        let rules = load_rules(config, &mut problems);
        let routes = Arc::new(load_routes(config, &mut problems));
        // With a million points each of the two takes seconds.
        let (program, version) = std::thread::scope(|threads| {
            let version = threads.spawn(|| Arc::new(Version::of_all(&rules, &catalog)));
            let (program, found) = Program::compile(&rules, &catalog);
            problems.extend(found);
            problems.extend(program.check_coverage(&catalog));
            (program, version.join().expect("compiling does not panic"))
        });
        let hashes = Hashes::of(config, &version);
        let loaded = Self { catalog, rules, program, routes, version, hashes, stamps };
        (if problems.errors() == 0 { Some(loaded) } else { None }, problems)
    }
}

/// Points that sources name one by one and the catalog lacks. Where such readings are refused it is an error; where they wait
/// in quarantine the point may be meant to be registered later.
fn named_points(config: &Config, catalog: &Catalog, problems: &mut Problems) {
    let mut lacking: Vec<(usize, Vec<&NamedPoint>)> = Vec::new();
    let named = config.sources.iter().flat_map(|s| &s.points);
    for point in named.filter(|p| catalog.find(&p.site, &p.point).is_none()) {
        match lacking.last_mut() {
            Some((at, points)) if *at == point.at => points.push(point),
            _ => lacking.push((point.at, vec![point])),
        }
    }
    let file = config.file.display().to_string();
    let level = match config.catalog.unknown {
        Unknown::Refuse => Level::Error,
        Unknown::Quarantine | Unknown::Register => Level::Warning,
    };
    for (at, points) in lacking.iter().take(LACKING_MAX) {
        let (line, column) = line_column(&config.text, *at);
        let (message, help) = lacks(points, catalog, level);
        problems.push(Problem { level, ..Problem::error(&file, line, column, message).help(help) });
    }
    if let Some((at, _)) = lacking.get(LACKING_MAX) {
        let (line, column) = line_column(&config.text, *at);
        let message =
            format!("{} more points are not in the catalog, this one and on", lacking.len() - LACKING_MAX);
        problems.push(Problem { level, ..Problem::error(&file, line, column, message) });
    }
}

/// What to say of the points of one place.
fn lacks(points: &[&NamedPoint], catalog: &Catalog, level: Level) -> (String, String) {
    let NamedPoint { site, point, .. } = points[0];
    let message = match points.len() {
        1 => format!("point `{point}` of site `{site}` is not in the catalog"),
        n => format!("{n} points are not in the catalog, the first is `{point}` of site `{site}`"),
    };
    let Some(site_ix) = catalog.site_ix(site) else {
        let near = nearest(site, catalog.sites().iter().map(|s| s.code.as_str()));
        let help =
            near.map_or("add the site to the sites file".to_owned(), |n| format!("did you mean site `{n}`?"));
        return (message, help);
    };
    let of_site = (0..catalog.points().len() as u32).filter(|ix| catalog.site_ix_of(*ix) == site_ix);
    let near = nearest(point, of_site.map(|ix| catalog.point(ix).code.as_str()));
    let then = match level {
        Level::Error => "its readings would be refused",
        Level::Warning => "its readings wait in quarantine until it is registered",
    };
    let help = near.map(|n| format!("did you mean `{n}`? ")).unwrap_or_default();
    (message, format!("{help}Add a row to a points file; {then}"))
}

fn read(path: &Path, problems: &mut Problems) -> Option<(String, String)> {
    let name = path.display().to_string();
    match std::fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => Some((name, text)),
        Ok(Err(e)) => {
            let at = e.utf8_error().valid_up_to();
            let line = e.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1;
            let help = "save it as UTF-8; GBK is not read";
            problems.push(Problem::error(&name, line, 1, "the file is not UTF-8").help(help));
            None
        }
        Err(e) => {
            problems.push(Problem::error(&name, 0, 0, format!("cannot be read: {e}")));
            None
        }
    }
}

/// Points that were registered by command, in the order of their registration: a CSV beside the log.
pub fn registered_file(config: &Config) -> PathBuf {
    config.data_dir.join("registered.csv")
}

/// Sites and points of all files, the registered ones last.
pub fn load_catalog(config: &Config, problems: &mut Problems) -> Catalog {
    let registered = registered_file(config);
    let points = config.catalog.points.iter().cloned();
    // An older firedamp left an empty one behind where a first registration was refused.
    let has_rows = std::fs::metadata(&registered).is_ok_and(|m| m.len() > 0);
    let points: Vec<PathBuf> = points.chain(has_rows.then_some(registered)).collect();
    catalog_of_files(config.catalog.sites.as_deref(), &points, config.log.partitions, problems)
}

/// Sites and points of these files, CSV or national.
pub fn catalog_of_files(
    sites_file: Option<&Path>,
    points_files: &[PathBuf],
    partitions: u32,
    problems: &mut Problems,
) -> Catalog {
    let (mut sites, mut points) = (Vec::new(), Vec::new());
    if let Some((name, text)) = sites_file.and_then(|path| read(path, problems)) {
        sites = model::catalog::sites_from_csv(&name, &text, problems);
    }
    for path in points_files {
        let Some((name, text)) = read(path, problems) else { continue };
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("txt")) {
            let (more_sites, more_points) = ingest::national::catalog_from_file(&name, &text, problems);
            // A national header names its mine; a row of the sites file says more about it and stands first.
            let known: Vec<String> = sites.iter().map(|(s, _)| s.code.clone()).collect();
            sites.extend(more_sites.into_iter().filter(|(s, _)| !known.contains(&s.code)));
            points.extend(more_points);
        } else {
            points.extend(model::catalog::points_from_csv(&name, &text, problems));
        }
    }
    Catalog::build(sites, points, partitions, problems)
}

/// End of the names of files that hold tests of rules and no rules.
const TESTS: &str = ".test.toml";

/// The rule files a list of files and folders stands for, in the order of their names; tests in folders are left out.
pub fn rule_files(paths: &[PathBuf], problems: &mut Problems) -> Vec<RuleFile> {
    let mut files = toml_files(paths, problems);
    files.retain(|f| paths.contains(f) || !is_tests(f));
    read_all(&files, problems)
}

/// All TOML files a list of files and folders stands for: rules, and tests of them.
pub fn rule_and_test_files(paths: &[PathBuf], problems: &mut Problems) -> Vec<RuleFile> {
    let files = toml_files(paths, problems);
    read_all(&files, problems)
}

/// Whether a file holds tests of rules and no rules, by its name.
fn is_tests(path: &Path) -> bool {
    path.to_string_lossy().ends_with(TESTS)
}

fn read_all(files: &[PathBuf], problems: &mut Problems) -> Vec<RuleFile> {
    files.iter().filter_map(|p| read(p, problems)).map(|(name, text)| RuleFile { name, text }).collect()
}

fn toml_files(paths: &[PathBuf], problems: &mut Problems) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let mut inside: Vec<PathBuf> = match std::fs::read_dir(path) {
                Ok(dir) => dir
                    .flatten()
                    .map(|e| e.path())
                    .filter(|p| p.extension().is_some_and(|e| e == "toml"))
                    .collect(),
                Err(e) => {
                    problems.push(Problem::error(
                        &path.display().to_string(),
                        0,
                        0,
                        format!("cannot be read: {e}"),
                    ));
                    continue;
                }
            };
            inside.sort();
            files.extend(inside);
        } else {
            files.push(path.clone());
        }
    }
    files
}

/// The texts of all rules a configuration names: packs first, then its own files.
pub fn load_rules(config: &Config, problems: &mut Problems) -> Vec<RuleFile> {
    let mut files = pack_files(&config.rules.packs);
    files.extend(rule_files(&config.rules.paths, problems));
    files
}

/// The texts of shipped packs, in the order of the packs.
pub fn pack_files(names: &[String]) -> Vec<RuleFile> {
    let packs = rules::packs().iter().filter(|(name, _)| names.iter().any(|p| p == name));
    packs.map(|(name, text)| RuleFile { name: format!("pack:{name}"), text: (*text).to_owned() }).collect()
}

/// The routes, or those that the receivers' own keys stand for; of a file with an error too, which is among the problems.
pub fn load_routes(config: &Config, problems: &mut Problems) -> Routes {
    let given =
        config.alerts.routes.as_deref().and_then(|path| Routes::read(path, &config.receivers, problems));
    given.unwrap_or_else(|| Routes::of_receivers(config.receivers.clone()))
}

/// Paths with their times and lengths; a change of any is a change.
pub type Stamps = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

/// How the files of catalog, rules and routes are now.
pub fn stamps(config: &Config) -> Stamps {
    let mut paths: Vec<PathBuf> =
        config.catalog.sites.iter().chain(&config.catalog.points).cloned().collect();
    paths.push(registered_file(config));
    paths.extend(config.alerts.routes.iter().flat_map(|path| alerts::route::route_files(path)));
    for path in &config.rules.paths {
        paths.push(path.clone());
        if let Ok(dir) = std::fs::read_dir(path) {
            paths.extend(dir.flatten().map(|e| e.path()));
        }
    }
    paths.sort();
    let stamp = |p: &PathBuf| std::fs::metadata(p).ok().and_then(|m| Some((m.modified().ok()?, m.len())));
    paths.iter().map(|p| (p.clone(), stamp(p))).collect()
}
