//! `firedamp alarms`: list, show, what people do with alarms, and whether their journal is what was written.

mod act;
mod verify;

use super::client::Client;
use super::{ConfigArg, Form, Stop, check, routes};
use crate::config::Config;
use ::alerts::{AlarmFilter, AlarmStore, OnShelf, SqlStore};
use act::{CommonArgs, DisposeArgs, ShelveArgs, UrgeArgs};
use anyhow::anyhow;
use clap::{Args, Subcommand};
use model::Alarm;
use prometheus::Registry;
use serde_json::{Value, json};
use verify::VerifyArgs;

#[derive(Subcommand, Debug)]
pub enum AlarmsCommand {
    /// Active alarms
    List(ListArgs),
    /// One alarm with its history
    Show(ShowArgs),
    /// Acknowledge: seen
    Ack(CommonArgs),
    /// Write a remark
    Comment(CommonArgs),
    /// Put aside for a time: nobody is told until it rises or the time is over
    Shelve(ShelveArgs),
    /// Take back from the shelf
    Unshelve(CommonArgs),
    /// What is on the shelf, by whom, why and until when
    Shelved(ShelvedArgs),
    /// Press for it to be handled
    Urge(UrgeArgs),
    /// Report cause and measure
    Dispose(DisposeArgs),
    /// Verify what another person reported, and strike off
    Close(CommonArgs),
    /// Send back what was reported
    Return(CommonArgs),
    /// Whether the journal is what was written
    Verify(VerifyArgs),
    /// Who would be told of an alarm, by which route and why
    Route(routes::RouteArgs),
}

#[derive(Args, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Closed ones too
    #[arg(long)]
    all: bool,
    /// Most alarms
    #[arg(long, default_value_t = 100_000)]
    limit: usize,
    /// Form of the answer
    #[arg(long, value_enum, default_value = "table")]
    format: Form,
}

#[derive(Args, Debug)]
pub struct ShelvedArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Form of the answer
    #[arg(long, value_enum, default_value = "table")]
    format: Form,
}

#[derive(Args, Debug)]
pub struct ShowArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Its id, or the first digits of it
    id: String,
    /// Form of the answer
    #[arg(long, value_enum, default_value = "table")]
    format: Form,
}

/// Runs the subcommand.
pub async fn alarms(command: AlarmsCommand) -> Result<(), Stop> {
    match command {
        AlarmsCommand::List(args) => list(args).await,
        AlarmsCommand::Show(args) => show(args).await,
        AlarmsCommand::Ack(args) => act::plain("ack", args).await,
        AlarmsCommand::Comment(args) => act::plain("comment", args).await,
        AlarmsCommand::Shelve(args) => act::shelve(args).await,
        AlarmsCommand::Unshelve(args) => act::plain("unshelve", args).await,
        AlarmsCommand::Shelved(args) => shelved(args).await,
        AlarmsCommand::Urge(args) => act::urge(args).await,
        AlarmsCommand::Dispose(args) => act::dispose(args).await,
        AlarmsCommand::Close(args) => act::plain("close", args).await,
        AlarmsCommand::Return(args) => act::plain("return", args).await,
        AlarmsCommand::Verify(args) => verify::verify(args).await,
        AlarmsCommand::Route(args) => routes::route(&args),
    }
}

async fn open(config: &Config) -> Result<SqlStore, Stop> {
    let url = config.alerts.database.expose();
    let store = SqlStore::open(url, config.receivers.clone(), &Registry::new()).await;
    store.map_err(|e| anyhow!(e).into())
}

async fn list(args: ListArgs) -> Result<(), Stop> {
    let config = check::config(&args.config.config)?;
    let alarms: Value = match Client::find(&config).await? {
        Some(client) => client.get(&format!("/api/v1/alarms?all={}&limit={}", args.all, args.limit)).await?,
        None => {
            let filter = AlarmFilter { all: args.all, limit: args.limit, ..AlarmFilter::default() };
            json!(open(&config).await?.list(&filter).await.map_err(|e| anyhow!(e))?)
        }
    };
    if args.format == Form::Json {
        println!("{alarms}");
        return Ok(());
    }
    let alarms: Vec<Alarm> = serde_json::from_value(alarms).map_err(|e| anyhow!(e))?;
    println!(
        "{:<12} {:<23} {:<24} {:<8} {:<20} {:<20} {:<10} peak",
        "id", "state", "opened", "severity", "site", "point", "level"
    );
    for a in alarms {
        println!(
            "{:<12} {:<23} {:<24} {:<8} {:<20} {:<20} {:<10} {}",
            &a.id[..a.id.len().min(12)],
            a.condition().as_str(),
            model::time::rfc3339(a.opened),
            a.severity.as_str(),
            a.site,
            a.point,
            a.level,
            a.peak.map_or("-".to_owned(), |p| p.to_string()),
        );
    }
    Ok(())
}

async fn shelved(args: ShelvedArgs) -> Result<(), Stop> {
    let config = check::config(&args.config.config)?;
    let shelved: Value = match Client::find(&config).await? {
        Some(client) => client.get("/api/v1/shelved").await?,
        None => json!(open(&config).await?.shelved().await.map_err(|e| anyhow!(e))?),
    };
    if args.format == Form::Json {
        println!("{shelved}");
        return Ok(());
    }
    let shelved: Vec<OnShelf> = serde_json::from_value(shelved).map_err(|e| anyhow!(e))?;
    println!("{:<20} {:<20} {:<20} {:<24} {:<16} note", "site", "point", "rule", "until", "by");
    for OnShelf { rule, site, point, shelved } in shelved {
        let (until, by, note) = (model::time::rfc3339(shelved.until), shelved.by, shelved.note);
        println!("{site:<20} {point:<20} {rule:<20} {until:<24} {by:<16} {note}");
    }
    Ok(())
}

async fn show(args: ShowArgs) -> Result<(), Stop> {
    let config = check::config(&args.config.config)?;
    let (alarm, history): (Value, Value) = match Client::find(&config).await? {
        Some(client) => {
            let path = format!("/api/v1/alarms/{}", args.id);
            (client.get(&path).await?, client.get(&format!("{path}/history")).await?)
        }
        None => {
            let store = open(&config).await?;
            let found = store.get(&args.id).await.map_err(|e| anyhow!(e))?;
            let alarm = found.ok_or_else(|| Stop::Input(format!("there is no alarm `{}`", args.id)))?;
            let history = store.history(&alarm.id).await.map_err(|e| anyhow!(e))?;
            (json!(alarm), json!(history))
        }
    };
    if args.format == Form::Json {
        println!("{}", json!({ "alarm": alarm, "history": history }));
        return Ok(());
    }
    let alarm: Alarm = serde_json::from_value(alarm).map_err(|e| anyhow!(e))?;
    tell(&alarm, history.as_array().map_or(&[], Vec::as_slice));
    Ok(())
}

/// The alarm, what is done about it, and what happened, in order.
fn tell(a: &Alarm, history: &[Value]) {
    let or = |text: &Option<String>| text.clone().unwrap_or_default();
    println!("{}  {} {} {}, {}", a.id, a.site, a.point, a.rule, a.level);
    println!("{}, {}: {}", a.condition().as_str(), a.severity.as_str(), a.reason);
    if let Some(shelf) = a.shelved.as_ref().filter(|_| a.is_shelved()) {
        println!("shelved by {} until {}: {}", shelf.by, model::time::rfc3339(shelf.until), shelf.note);
    }
    if let Some(case) = &a.case {
        let state = format!("{:?}", case.state).to_lowercase();
        println!("case {state}, urged {} times", case.urged);
        if case.disposed_by.is_some() {
            println!("  cause {}; measure {}; by {}", case.cause, case.measure, or(&case.disposed_by));
        }
        if case.verified_by.is_some() {
            println!("  looked at by {}", or(&case.verified_by));
        }
    }
    println!();
    for entry in history {
        let text = |key: &str| entry[key].as_str().unwrap_or_default();
        let of_alarm = |key: &str| entry["alarm"][key].as_str().unwrap_or_default();
        let said = match text("event") {
            "raised" | "changed" | "cleared" | "late" => {
                format!("{} {}: {}", of_alarm("level"), of_alarm("severity"), of_alarm("reason"))
            }
            "delivered" | "failed" | "given_up" => {
                format!("try {}{}", entry["detail"]["attempts"], colon(text("note")))
            }
            "urged" => {
                let detail = |key: &str| entry["detail"][key].as_str().unwrap_or_default();
                format!("by {} to {}{}", detail("way"), detail("called"), colon(text("note")))
            }
            "disposed" => {
                let case = &entry["alarm"]["case"];
                let of_case = |key: &str| case[key].as_str().unwrap_or_default();
                format!("cause {}; measure {}", of_case("cause"), of_case("measure"))
            }
            _ => text("note").to_owned(),
        };
        println!("{}  {:<12} {:<16} {said}", text("at"), text("event"), text("by"));
    }
    if let Some(newest) = history.last() {
        println!("\nas of entry {}: `--seen {0}` acts on nothing that rises after it", newest["seq"]);
    }
}

fn colon(note: &str) -> String {
    if note.is_empty() { String::new() } else { format!(": {note}") }
}
