//! `firedamp rules`: check rule files, show the rules of a point, run the tests that users write.

use super::{ConfigArg, Form, Stop, check, subject};
use crate::config;
use clap::{Args, Subcommand};
use model::time::{rfc3339, show_duration};
use model::{Catalog, Problems};
use rules::testing::{self, Coverage, TestFile};
use rules::{Condition, Program, RuleAtPoint, RuleFile};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Subcommand, Debug)]
pub enum RulesCommand {
    /// Name every mistake of rule files, at file:line:column
    Check(CheckArgs),
    /// The rules that apply to a point, with their limits and where these come from
    Show(ShowArgs),
    /// Run the tests of rules: what must come of series of readings
    Test(TestArgs),
}

#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Rule files or folders
    paths: Vec<PathBuf>,
    #[command(flatten)]
    catalog: subject::CatalogArgs,
    /// Shipped packs that are in force too
    #[arg(long = "pack", value_parser = packs())]
    packs: Vec<String>,
}

#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The point, as POINT or SITE/POINT
    point: String,
    #[command(flatten)]
    config: ConfigArg,
    /// Form of the answer
    #[arg(long, value_enum, default_value = "table")]
    format: Form,
}

#[derive(Args, Debug)]
pub struct TestArgs {
    /// Files or folders with tests, and with the rules that they are about
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Rule files or folders, for tests whose file names none
    #[arg(long)]
    rules: Vec<PathBuf>,
    /// Shipped packs, likewise
    #[arg(long = "pack", value_parser = packs())]
    packs: Vec<String>,
    /// Levels that no test raised count as a failure
    #[arg(long)]
    all_levels: bool,
    /// Print every transition of every test
    #[arg(long)]
    verbose: bool,
}

/// Names of the shipped packs, for the command line.
pub fn packs() -> clap::builder::PossibleValuesParser {
    rules::packs().iter().map(|(name, _)| *name).collect::<Vec<_>>().into()
}

/// Runs the subcommand.
pub fn rules(command: RulesCommand) -> Result<(), Stop> {
    match command {
        RulesCommand::Check(args) => check_files(&args),
        RulesCommand::Show(args) => show(&args),
        RulesCommand::Test(args) => test(&args),
    }
}

/// With a catalog, everything; without one, what the rules say by themselves.
fn check_files(args: &CheckArgs) -> Result<(), Stop> {
    let mut problems = Problems::default();
    let mut files = config::pack_files(&args.packs);
    files.extend(config::rule_files(&args.paths, &mut problems));
    if args.paths.is_empty() && files.is_empty() {
        return Err(Stop::Input("say which rule files or folders, or --pack NAME".to_owned()));
    }
    let catalog = args.catalog.read(&mut problems)?;
    let (program, found) = Program::compile(&files, catalog.as_ref().unwrap_or(&Catalog::default()));
    problems.extend(found);
    if let Some(catalog) = &catalog {
        problems.extend(program.check_coverage(catalog));
    }
    let (errors, warnings) = (problems.errors(), problems.warnings());
    eprint!("{problems}");
    if errors > 0 {
        return Err(Stop::Input(format!("{errors} errors, {warnings} warnings")));
    }
    let points = catalog.map(|c| format!(" for {} points", c.points().len())).unwrap_or_default();
    println!("good: {} rules in {} files{points}, {warnings} warnings", program.rules().len(), files.len());
    Ok(())
}

fn show(args: &ShowArgs) -> Result<(), Stop> {
    let (_, loaded) = check::load(&args.config.config)?;
    let catalog = &*loaded.catalog;
    let ix = find(catalog, &args.point)?;
    let (point, rules) = (catalog.point(ix), loaded.program.at_point(ix));
    let legal = Program::legal_limit(catalog, ix);
    if args.format == Form::Json {
        let levels = |r: &RuleAtPoint| r.levels.iter().map(|l| level_json(r, l)).collect::<Vec<_>>();
        let rule = |r: &RuleAtPoint| {
            json!({ "rule": r.name, "kind": r.kind, "version": r.version, "at": subject::place(&r.place), "source": r.source,
                    "levels": levels(r) })
        };
        let rules: Vec<_> = rules.iter().map(rule).collect();
        println!("{}", json!({ "site": point.site, "point": point.code, "law": legal, "rules": rules }));
        return Ok(());
    }
    let range = |end: Option<f64>| end.map_or("?".to_owned(), |v| v.to_string());
    println!(
        "{}/{} {}: {} in {}, range {} to {}, place {}, period {}",
        point.site,
        point.code,
        point.name,
        point.quantity,
        if point.unit.is_empty() { "no unit" } else { &point.unit },
        range(point.low),
        range(point.high),
        if point.place.is_empty() { "-" } else { &point.place },
        point.period.map_or("30s (assumed)".to_owned(), show_duration)
    );
    if let Some(legal) = legal {
        println!("the law: {legal}");
    }
    if rules.is_empty() {
        println!("no rule applies to it");
    }
    for rule in &rules {
        println!(
            "\n{} ({}), version {}, {}",
            rule.name,
            rule.kind,
            rule.version,
            subject::place(&rule.place)
        );
        if !rule.source.is_empty() {
            println!("  source: {}", rule.source);
        }
        rule.levels.iter().for_each(|l| println!("  {}", level_line(rule, l)));
    }
    Ok(())
}

/// Where the limit of a level comes from.
pub fn origin(rule: &RuleAtPoint, level: &Condition) -> String {
    match level.from {
        "catalog" => match catalog_column(&level.level) {
            _ if rule.kind == "silent" => "the point's period in the catalog".to_owned(),
            Some(column) => format!("the point's own limit in the catalog, {column}"),
            None => "the point's own limit in the catalog".to_owned(),
        },
        "" => String::new(),
        _ => subject::place(&rule.place),
    }
}

/// The column of the points file that the limit of a level stands in.
fn catalog_column(level: &str) -> Option<&'static str> {
    Some(match level {
        "alarm" | "high" => "alarm_on and alarm_off",
        "cut" | "high_high" => "cut_on and cut_off",
        "low_alarm" | "low" => "low_alarm_on and low_alarm_off",
        "low_cut" | "low_low" => "low_cut_on and low_cut_off",
        _ => return None,
    })
}

fn level_json(rule: &RuleAtPoint, level: &Condition) -> serde_json::Value {
    json!({
        "level": level.level, "severity": level.severity.as_str(), "limit": level.limit, "judged": level.judged,
        "from": origin(rule, level), "on_delay": show_duration(level.on_delay), "off_delay": show_duration(level.off_delay),
    })
}

/// One line for a level: limit, delays, severity, origin.
pub fn level_line(rule: &RuleAtPoint, level: &Condition) -> String {
    let mut line = format!("{:<12} {:<7}", level.level, level.severity.as_str());
    if !level.judged {
        return line + " is not judged here: it has no limit, or its site is idle";
    }
    if !level.limit.is_empty() {
        line += &format!(" {}", level.limit);
    }
    for (delay, word) in [(level.on_delay, "on"), (level.off_delay, "off")] {
        if delay > 0 {
            line += &format!(", {word} after {}", show_duration(delay));
        }
    }
    let from = origin(rule, level);
    if from.is_empty() { line } else { format!("{line}   [{from}]") }
}

/// A point by POINT or SITE/POINT.
pub fn find(catalog: &Catalog, name: &str) -> Result<u32, Stop> {
    if let Some(ix) = name.split_once('/').and_then(|(site, point)| catalog.find(site, point)) {
        return Ok(ix);
    }
    let all = 0..catalog.points().len() as u32;
    let found: Vec<u32> = all.filter(|ix| catalog.point(*ix).code == name).collect();
    match found[..] {
        [ix] => Ok(ix),
        [] => {
            let near = model::problem::nearest(name, catalog.points().iter().map(|p| p.code.as_str()));
            let help = near.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
            Err(Stop::Input(format!("no point `{name}` is in the catalog{help}")))
        }
        [ix, ..] => {
            let (n, site) = (found.len(), &catalog.point(ix).site);
            Err(Stop::Input(format!(
                "{n} sites have a point `{name}`; write it with its site, as `{site}/{name}`"
            )))
        }
    }
}

/// Tests, each file with the rules it is about.
fn test(args: &TestArgs) -> Result<(), Stop> {
    let mut problems = Problems::default();
    let all = config::rule_and_test_files(&args.paths, &mut problems);
    let mut beside = config::pack_files(&args.packs);
    beside.extend(config::rule_files(&args.rules, &mut problems));
    let mut files = Vec::new();
    for file in &all {
        let tests = testing::read(&file.name, &file.text, &mut problems);
        files.push((file, tests));
    }
    if problems.errors() > 0 {
        let errors = problems.errors();
        return Err(Stop::Input(format!("{problems}{errors} errors; no test was run")));
    }
    let (mut passed, mut failed) = (0, 0);
    let mut coverage = Coverage::default();
    for (file, tests) in &files {
        if tests.tests.is_empty() {
            continue;
        }
        let rules = rules_of(file, tests, &files, &beside)?;
        for test in &tests.tests {
            let outcome = testing::run(test, &rules, &mut coverage);
            if outcome.difference.is_empty() {
                passed += 1;
                println!("pass  {}", outcome.name);
            } else {
                failed += 1;
                println!(
                    "FAIL  {}\n  {}\n{}",
                    outcome.name,
                    subject::place(&outcome.place),
                    outcome.difference.trim_end()
                );
            }
            if args.verbose {
                outcome.transitions.iter().for_each(|t| {
                    let (time, to) = (rfc3339(t.time), t.to.as_str());
                    println!(
                        "        {time} {} {} {} {} {to} {}",
                        t.site, t.point, t.rule, t.level, t.reason
                    );
                });
            }
        }
    }
    if passed + failed == 0 {
        return Err(Stop::Input("there is no [[test]] in these files".to_owned()));
    }
    let missed = coverage.missed();
    let covered = coverage.levels() - missed.len();
    println!("{passed} passed, {failed} failed; {covered} of {} levels were raised", coverage.levels());
    for (rule, level) in &missed {
        println!("  never raised: {rule} {level}");
    }
    if failed > 0 || (args.all_levels && !missed.is_empty()) { Err(Stop::Found) } else { Ok(()) }
}

/// The rules that the tests of a file are about: those that it names, beside its own; else those of the command line; else those of the
/// files given with it, its own among them; else those in its folder.
fn rules_of(
    file: &RuleFile,
    tests: &TestFile,
    given: &[(&RuleFile, TestFile)],
    beside: &[RuleFile],
) -> Result<Vec<RuleFile>, Stop> {
    let mut problems = Problems::default();
    let folder = Path::new(&file.name).parent().unwrap_or(Path::new("."));
    let mut rules = config::pack_files(&tests.packs);
    if let Some(unknown) = tests.packs.iter().find(|p| !rules::packs().iter().any(|(name, _)| name == p)) {
        return Err(Stop::Input(format!("{}: there is no pack `{unknown}`", file.name)));
    }
    if tests.rules.is_some() || !rules.is_empty() {
        let named = tests.rules.iter().flatten();
        let paths: Vec<PathBuf> = named.map(|p| folder.join(p)).collect();
        rules.extend(config::rule_files(&paths, &mut problems));
        rules.extend(tests.has_rules.then(|| file.clone()));
    } else if !beside.is_empty() {
        rules.extend(beside.iter().cloned());
    } else {
        let with_rules = given.iter().filter(|(_, tests)| tests.has_rules);
        rules.extend(with_rules.map(|(file, _)| (*file).clone()));
        if rules.is_empty() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            rules.extend(config::rule_files(&[folder.to_owned()], &mut problems));
        }
    }
    let (_, found) = Program::compile(&rules, &Catalog::default());
    problems.extend(found);
    if problems.errors() > 0 {
        let errors = problems.errors();
        return Err(Stop::Input(format!("{problems}{errors} errors in the rules; their tests were not run")));
    }
    if rules.is_empty() {
        let help = "name them as `rules = [\"..\"]` at its top, or with --rules";
        return Err(Stop::Input(format!("{}: no rules belong to these tests; {help}", file.name)));
    }
    Ok(rules)
}
