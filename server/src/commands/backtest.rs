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
mod task;

use super::{Stop, rules as rule_commands, subject};
use crate::config::{self, Config};
use anyhow::anyhow;
use clap::{Args, ValueEnum};
use model::time::{Micros, rfc3339};
use model::{Problems, Transition};
use rules::episodes::{Change, Episode, Fold, differences};
use rules::{Program, RuleFile};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use task::{Progress, Seen, Source, Task};

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

/// Judges, tells, draws.
pub async fn backtest(args: BacktestArgs) -> Result<(), Stop> {
    let task = task(&args)?;
    let mut folds: Vec<Fold> = task.versions.iter().map(|_| Fold::default()).collect();
    let (lines, compared) = (args.format == Format::Jsonl, !args.against.is_empty());
    let mut out = std::io::BufWriter::new(std::io::stdout());
    // Who stops reading the lines may want the report all the same.
    let mut unread = None;
    let mut decided = |version: usize, transitions: &[Transition]| {
        for t in transitions {
            folds[version].push(t);
            if lines && !compared && unread.is_none() {
                match output::line(&mut out, t) {
                    Err(e) if args.report.is_some() => unread = Some(e),
                    written => written.map_err(Stop::writing)?,
                }
            }
        }
        Ok(())
    };
    let mut progress = Progress::new();
    let seen = match &task.source {
        Source::Files(files) => files.judge(&task, &mut decided, &mut progress)?,
        Source::Table(table) => table.judge(&task, &mut decided, &mut progress).await?,
    };
    if unread.is_none() {
        unread = out.flush().err();
    }
    // What is left is thrown away where nobody reads it.
    drop(out.into_parts());
    if args.report.is_none()
        && let Some(e) = unread.take()
    {
        return Err(Stop::writing(e));
    }
    told(&task, &seen, progress.took());
    let mut episodes: Vec<Vec<Episode>> = folds.into_iter().map(Fold::finish).collect();
    let end = seen.last.unwrap_or_default();
    let other = if compared { episodes.pop().unwrap_or_default() } else { Vec::new() };
    let this = episodes.pop().unwrap_or_default();
    let (changes, same) = if compared { differences(&this, &other) } else { (Vec::new(), 0) };
    let drawn = curves::wanted(&this, &changes, end, args.report.is_some());
    let drawn = match &task.source {
        Source::Files(files) => files.curves(&task, drawn, &mut progress)?,
        Source::Table(table) => table.curves(drawn, &mut progress).await?,
    };
    let summary = summary::Summary::of(&this, end);
    if let Some(file) = &args.report {
        let report = report::Report {
            task: &task,
            programs: &task.programs(&task.catalog),
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
    match (args.format, compared) {
        (Format::Table, false) => output::table(&summary),
        (Format::Table, true) => output::compared(&changes, same, &drawn),
        (Format::Jsonl, true) => output::compared_lines(&changes, &drawn),
        (Format::Jsonl, false) => unread.map_or(Ok(()), |e| Err(Stop::writing(e)))?,
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
    let versions = versions(args, config.as_ref(), &mut problems);
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

/// The rules, and with `--against` the others beside the same packs.
fn versions(args: &BacktestArgs, config: Option<&Config>, problems: &mut Problems) -> Vec<Vec<RuleFile>> {
    let of_config = config.filter(|_| args.rules.is_empty() && args.packs.is_empty());
    let (packs, paths) = of_config.map_or((&args.packs, &args.rules), |c| (&c.rules.packs, &c.rules.paths));
    let packs = config::pack_files(packs);
    let others = Some(&args.against).filter(|paths| !paths.is_empty());
    let version =
        |paths: &Vec<PathBuf>| packs.iter().cloned().chain(config::rule_files(paths, problems)).collect();
    std::iter::once(paths).chain(others).map(version).collect()
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
    seen.left_out().iter().for_each(|line| eprintln!("{line}"));
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

/// Whether a difference is one of those.
fn word(change: &Change) -> &'static str {
    match change {
        Change::Gained(_) => "gained",
        Change::Lost(_) => "lost",
        Change::Moved(..) => "moved",
    }
}
