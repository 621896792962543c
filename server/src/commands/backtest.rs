//! `firedamp backtest`: the program that judges live, over history. Readings come from files (judged in the order of their times, with a
//! tick each second) or from the table (judged as the log held them). `docs/backtest.md` says what is equal to live decisions and what
//! is not.

mod curves;
mod draw;
mod files;
mod output;
mod report;
mod summary;
mod table;

use super::{Stop, rules as rule_commands, subject};
use crate::config;
use anyhow::anyhow;
use clap::{Args, ValueEnum};
use model::time::{Micros, rfc3339};
use model::{Catalog, Problems, Transition};
use rules::episodes::{Change, Episode, Fold, differences};
use rules::{Program, RuleFile};
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Partitions of a log unless its configuration says otherwise.
const PARTITIONS: u32 = 8;

#[derive(Args, Debug)]
pub struct BacktestArgs {
    /// Rule files or folders; without --rules and --pack those of --config
    #[arg(long)]
    rules: Vec<PathBuf>,
    /// Shipped packs
    #[arg(long = "pack", value_parser = rule_commands::packs())]
    packs: Vec<String>,
    #[command(flatten)]
    catalog: subject::CatalogArgs,
    /// CSV, Parquet or Arrow files, or the folder of a table; without it the table of --config
    #[arg(long)]
    readings: Vec<PathBuf>,
    /// First time that is looked at, RFC 3339
    #[arg(long, value_parser = model::time::parse)]
    from: Option<Micros>,
    /// End of the time that is looked at, RFC 3339
    #[arg(long, value_parser = model::time::parse)]
    to: Option<Micros>,
    /// Form of the answer
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Write a report with pictures, one HTML file, here
    #[arg(long)]
    report: Option<PathBuf>,
    /// Other rule files or folders: say what they decide differently
    #[arg(long)]
    against: Vec<PathBuf>,
    /// Sources that bring their own clock (time = "replay"), where readings come from a table
    #[arg(long = "replay")]
    replay: Vec<String>,
    /// Partitions of the log that the table was written from, where no configuration says so (8)
    #[arg(long)]
    partitions: Option<u32>,
}

/// Form of the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Format {
    /// Figures for people.
    Table,
    /// One transition a line; with --against one difference a line.
    Jsonl,
}

/// What is judged, and by what.
struct Task {
    /// Rules, and with --against the others.
    versions: Vec<Vec<RuleFile>>,
    catalog: Catalog,
    times: Range<Micros>,
    source: Source,
}

/// Where the readings come from.
enum Source {
    Files(files::Files),
    Table(Box<table::Table>),
}

/// What is known at the end, beside the transitions.
#[derive(Default)]
struct Seen {
    readings: u64,
    unknown: u64,
    unnumbered: u64,
    first: Option<Micros>,
    last: Option<Micros>,
}

impl Seen {
    /// Takes notice of times.
    fn times(&mut self, times: &[Micros]) {
        let (min, max) = (times.iter().min().copied(), times.iter().max().copied());
        self.first = [self.first, min].into_iter().flatten().min();
        self.last = self.last.max(max);
    }
}

/// What takes the transitions as they are decided: by which version, and which.
type Decided<'a> = &'a mut (dyn FnMut(usize, &[Transition]) -> Result<(), Stop> + Send);

/// Judges, tells, draws.
pub async fn backtest(args: BacktestArgs) -> Result<(), Stop> {
    let task = task(&args)?;
    let mut folds: Vec<Fold> = task.versions.iter().map(|_| Fold::default()).collect();
    let (lines, compared) = (args.format == Format::Jsonl, !args.against.is_empty());
    let mut out = std::io::BufWriter::new(std::io::stdout());
    let mut decided = |version: usize, transitions: &[Transition]| {
        for t in transitions {
            folds[version].push(t);
            if lines && !compared {
                output::line(&mut out, t).map_err(|e| Stop::Could(anyhow!(e)))?;
            }
        }
        Ok(())
    };
    let began = Instant::now();
    let mut progress = Progress::new(began);
    let seen = match &task.source {
        Source::Files(files) => files.judge(&task, &mut decided, &mut progress)?,
        Source::Table(table) => table.judge(&task, &mut decided, &mut progress).await?,
    };
    out.flush().map_err(|e| Stop::Could(anyhow!(e)))?;
    drop(out);
    told(&task, &seen, began.elapsed());
    let mut episodes: Vec<Vec<Episode>> = folds.into_iter().map(Fold::finish).collect();
    let end = seen.last.unwrap_or_default();
    let other = if compared { episodes.pop().unwrap_or_default() } else { Vec::new() };
    let this = episodes.pop().unwrap_or_default();
    let (changes, same) = if compared { differences(&this, &other) } else { (Vec::new(), 0) };
    let drawn = curves::wanted(&this, &changes, end, args.report.is_some());
    let drawn = match &task.source {
        Source::Files(files) => files.curves(&task, drawn)?,
        Source::Table(table) => table.curves(drawn).await?,
    };
    let summary = summary::Summary::of(&this, end);
    match (args.format, compared) {
        (Format::Table, false) => output::table(&summary),
        (Format::Table, true) => output::compared(&changes, same, &drawn),
        (Format::Jsonl, true) => output::compared_lines(&changes, &drawn),
        (Format::Jsonl, false) => {}
    }
    if let Some(file) = &args.report {
        let report = report::Report {
            task: &task,
            seen: &seen,
            summary: &summary,
            changes: &changes,
            same,
            drawn: &drawn,
        };
        let html = report.html(compared);
        std::fs::write(file, html).map_err(|e| Stop::Could(anyhow!("{}: {e}", file.display())))?;
        eprintln!("report: {}", file.display());
    }
    Ok(())
}

fn task(args: &BacktestArgs) -> Result<Task, Stop> {
    let mut problems = Problems::default();
    let config = match args.catalog.config()? {
        None if !args.catalog.has_files() => Some(super::check::config(&PathBuf::from("firedamp.toml"))?),
        config => config,
    };
    let partitions = args.partitions.or(config.as_ref().map(|c| c.log.partitions)).unwrap_or(PARTITIONS);
    let catalog = match &config {
        Some(config) => Some(config::load_catalog(config, &mut problems)),
        None => args.catalog.read_for(partitions, &mut problems)?,
    };
    let catalog = catalog.unwrap_or_default();
    let mut first = config::pack_files(&args.packs);
    first.extend(config::rule_files(&args.rules, &mut problems));
    if let Some(config) = config.as_ref().filter(|_| args.rules.is_empty() && args.packs.is_empty()) {
        first = config::load_rules(config, &mut problems);
    }
    let mut versions = vec![first];
    if !args.against.is_empty() {
        let mut other = config::pack_files(&args.packs);
        other.extend(config::rule_files(&args.against, &mut problems));
        versions.push(other);
    }
    for files in &versions {
        let (program, found) = Program::compile(files, &catalog);
        problems.extend(found);
        if program.rules().is_empty() {
            return Err(Stop::Input(format!("{problems}there are no rules; say --rules or --pack")));
        }
    }
    if problems.errors() > 0 {
        let errors = problems.errors();
        return Err(Stop::Input(format!("{problems}{errors} errors; nothing was judged")));
    }
    eprint!("{problems}");
    let times = args.from.unwrap_or(Micros::MIN)..args.to.unwrap_or(Micros::MAX);
    if times.is_empty() {
        return Err(Stop::Input("--from is not before --to".to_owned()));
    }
    let source = match &args.readings[..] {
        [] => match config {
            Some(config) => Source::Table(Box::new(table::Table::of(config.storage, args.replay.clone()))),
            None => return Err(Stop::Input("say --readings".to_owned())),
        },
        [one] if table::is_table(one) => {
            let options = config.map(|c| c.storage).unwrap_or_default();
            Source::Table(Box::new(table::Table::at(one, options, args.replay.clone())?))
        }
        files => Source::Files(files::Files::of(files)?),
    };
    Ok(Task { versions, catalog, times, source })
}

impl Task {
    /// The versions compiled for a catalog: that of a partition, or all.
    fn programs(&self, catalog: &Catalog) -> Vec<Arc<Program>> {
        self.versions.iter().map(|files| Program::compile(files, catalog).0).collect()
    }
}

/// What was left out, and how fast it went.
fn told(task: &Task, seen: &Seen, took: Duration) {
    let span = match (seen.first, seen.last) {
        (Some(first), Some(last)) => format!(" from {} to {}", rfc3339(first), rfc3339(last)),
        _ => String::new(),
    };
    let (count, seconds) = (seen.readings, took.as_secs_f64());
    eprintln!(
        "{count} readings{span} judged in {seconds:.2} s, {:.2} M/s",
        count as f64 / seconds.max(1e-9) / 1e6
    );
    if seen.unknown > 0 {
        eprintln!("left out: {} readings of points that are not in the catalog", seen.unknown);
    }
    if seen.unnumbered > 0 {
        eprintln!(
            "{} readings were stored without their row: ids may differ from the live ones",
            seen.unnumbered
        );
    }
    eprintln!(
        "{}",
        match task.source {
            Source::Files(_) =>
                "judged in the order of event times with a tick each second; not as a log held them",
            Source::Table(_) =>
                "judged as the log held them; ticks of quiet seconds are put where they must have been",
        }
    );
}

/// Says on standard error how far it has come, every two seconds.
struct Progress {
    began: Instant,
    told: Instant,
}

impl Progress {
    const EVERY: Duration = Duration::from_secs(2);

    fn new(began: Instant) -> Self {
        Self { began, told: began }
    }

    fn step(&mut self, readings: u64, at: impl FnOnce() -> String) {
        if self.told.elapsed() >= Self::EVERY {
            self.told = Instant::now();
            let rate = readings as f64 / self.began.elapsed().as_secs_f64() / 1e6;
            eprintln!("backtest: {readings} readings, {rate:.2} M/s, {}", at());
        }
    }
}

/// Whether a difference is one of those.
fn word(change: &Change) -> &'static str {
    match change {
        Change::Gained(_) => "gained",
        Change::Lost(_) => "lost",
        Change::Moved(..) => "moved",
    }
}
