//! `firedamp alarms route` and `firedamp routes check`: who would be told of an alarm and why, and of what nobody is.

use super::{ConfigArg, Form, Stop, check};
use crate::config::{self, Config};
use ::alerts::route::{self, Decision, Found};
use ::alerts::{Places, Routes};
use clap::{Args, Subcommand};
use model::time::{parse, rfc3339};
use model::{Alarm, Catalog, Clock, Micros, Problems, SystemClock};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Subcommand, Debug)]
pub enum RoutesCommand {
    /// Name every mistake of the routes, and what nobody is told of at some time of the week; ends with 1 when there is any
    Check(CheckArgs),
}

#[derive(Args, Debug)]
pub struct CheckArgs {
    /// The configuration file
    #[arg(env = "FIREDAMP_CONFIG", default_value = "firedamp.toml")]
    config: PathBuf,
}

#[derive(Args, Debug)]
pub struct RouteArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The alarm, or a list of them, as `alarms list --format json` or a webhook gives it; `-` reads standard input. What is left out of the
    /// place is taken from the catalog
    #[arg(long)]
    test: PathBuf,
    /// Judged at this time instead of that of its newest transition, RFC 3339
    #[arg(long, value_parser = parse)]
    at: Option<Micros>,
    /// Form of the answer
    #[arg(long, value_enum, default_value = "table")]
    format: Form,
}

/// Runs the subcommand.
pub fn routes(command: RoutesCommand) -> Result<(), Stop> {
    let RoutesCommand::Check(args) = command;
    let (config, catalog, routes) = load(&args.config)?;
    let Found { holes, hints } = route::check(&routes, &catalog, SystemClock.now());
    print!("{hints}{holes}");
    let (sites, receivers, found) = (catalog.sites().len(), config.receivers.len(), holes.0.len());
    let what = format!("{} routes to {receivers} receivers for {sites} sites", routes.len());
    if found > 0 {
        println!("{what}: {found} holes");
        return Err(Stop::Found);
    }
    println!("{what}: somebody is told of everything");
    Ok(())
}

/// What `firedamp check` says of routes that stand in a file.
pub fn found(config: &Config, routes: &Routes, catalog: &Catalog) -> Problems {
    let mut problems = Problems::default();
    if config.alerts.routes.is_some() {
        let Found { holes, hints } = route::check(routes, catalog, SystemClock.now());
        problems.extend(hints);
        problems.extend(holes);
    }
    problems
}

/// Says who would be told.
pub fn route(args: &RouteArgs) -> Result<(), Stop> {
    let (_, catalog, routes) = load(&args.config.config)?;
    let alarms = read_alarms(&args.test, &catalog)?;
    let decisions: Vec<Decision> =
        alarms.iter().map(|(alarm, at)| routes.explain(alarm, args.at.unwrap_or(*at))).collect();
    if args.format == Form::Json {
        println!("{}", json!(decisions));
        return Ok(());
    }
    decisions.iter().for_each(show);
    Ok(())
}

fn show(decision: &Decision) {
    println!("{}\n  judged at {}, told {}", decision.what, decision.at, decision.when);
    if decision.told.is_empty() {
        println!("  NOBODY is told");
    }
    for told in &decision.told {
        println!("  told: {:<16} by {}: {}", told.receiver, named(&told.route, &told.place), told.why);
    }
    for step in &decision.later {
        let (when, receivers) = (&step.when, step.receivers.join(", "));
        println!("  then: {receivers:<16} by {}: {when}", named(&step.route, &step.place));
    }
    for passed in &decision.passed {
        let receiver = passed.receiver.as_ref().map(|r| format!("{r:<16} by ")).unwrap_or_default();
        println!("  not:  {receiver}{}: {}", named(&passed.route, &passed.place), passed.why);
    }
}

fn named(route: &str, place: &str) -> String {
    let route = if route.is_empty() { "the default".to_owned() } else { format!("route {route}") };
    if place.is_empty() { route } else { format!("{route} ({place})") }
}

/// Configuration, sites and points, and routes; the rules are not needed.
fn load(path: &Path) -> Result<(Config, Catalog, Routes), Stop> {
    let (config, mut problems) = Config::read(path);
    let loaded = config.map(|config| {
        let catalog = config::load_catalog(&config, &mut problems);
        let routes = config::load_routes(&config, &mut problems);
        (config, catalog, routes)
    });
    match loaded {
        Some(loaded) if problems.errors() == 0 => {
            eprint!("{problems}");
            Ok(loaded)
        }
        _ => Err(Stop::Input(check::told(path, &problems))),
    }
}

/// Alarms with the time at which each was decided, as far as it is known.
fn read_alarms(path: &Path, catalog: &Catalog) -> Result<Vec<(Alarm, Micros)>, Stop> {
    let name = path.display();
    let text = match path.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(path),
    };
    let text = text.map_err(|e| Stop::Input(format!("{name}: cannot be read: {e}")))?;
    let given: Value = serde_json::from_str(&text)
        .map_err(|e| Stop::Input(format!("{name}:{}:{}: error: not JSON: {e}", e.line(), e.column())))?;
    let given = match given {
        Value::Array(all) => all,
        one => vec![one],
    };
    let read = |(i, value): (usize, &Value)| {
        read_alarm(value, catalog).map_err(|e| Stop::Input(format!("{name}: alarm {}: {e}", i + 1)))
    };
    given.iter().enumerate().map(read).collect()
}

fn read_alarm(value: &Value, catalog: &Catalog) -> Result<(Alarm, Micros), String> {
    // A webhook's body has the alarm in it, and the time at which it was decided.
    let (alarm, time) = match value.get("alarm") {
        Some(alarm) => (alarm, value.get("time")),
        None => (value, value.get("changed")),
    };
    let given = alarm.as_object().ok_or("it is no JSON object")?;
    let text = |key: &str| given.get(key).and_then(Value::as_str);
    let site = text("site").ok_or("`site` is missing")?;
    let place = catalog.place(site, text("point").unwrap_or_default());
    let at = match time.and_then(Value::as_str) {
        Some(time) => parse(time)?,
        None => SystemClock.now(),
    };
    let mut whole = json!({
        "id": "", "point": "", "rule": "", "level": "", "state": "active", "acked": false, "opened": rfc3339(at),
        "closed": null, "changed": rfc3339(at), "peak": null, "withdrawn": false, "acked_by": null, "acked_at": null,
        "reason": "", "marks": {},
    });
    if let (Some(whole), Value::Object(place)) = (whole.as_object_mut(), json!(place)) {
        whole.extend(place);
        whole.extend(given.clone());
    }
    serde_json::from_value(whole).map(|alarm| (alarm, at)).map_err(|e| e.to_string())
}
