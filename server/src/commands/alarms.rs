//! `firedamp alarms`: list and acknowledge.

use super::client::Client;
use super::{ConfigArg, Form, Stop, check, routes};
use ::alerts::{AlarmFilter, AlarmStore, SqliteStore};
use anyhow::anyhow;
use clap::{Args, Subcommand};
use model::{Clock, SystemClock};
use prometheus::Registry;
use serde_json::{Value, json};

#[derive(Subcommand, Debug)]
pub enum AlarmsCommand {
    /// Active alarms
    List(ListArgs),
    /// Acknowledge alarms
    Ack(AckArgs),
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
pub struct AckArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Their ids
    #[arg(required = true)]
    ids: Vec<String>,
    /// Who acknowledges, when no server runs
    #[arg(long, env = "USER", default_value = "command line")]
    by: String,
    /// A note
    #[arg(long, default_value = "")]
    note: String,
}

/// Runs the subcommand.
pub async fn alarms(command: AlarmsCommand) -> Result<(), Stop> {
    match command {
        AlarmsCommand::List(args) => list(args).await,
        AlarmsCommand::Ack(args) => acknowledge(args).await,
        AlarmsCommand::Route(args) => routes::route(&args),
    }
}

async fn open(config: &crate::config::Config) -> Result<SqliteStore, Stop> {
    let store = SqliteStore::open(&config.alerts_database, config.receivers.clone(), &Registry::new()).await;
    store.map_err(|e| anyhow!(e).context(config.alerts_database.clone()).into())
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
    println!(
        "{:<8} {:<7} {:<3} {:<24} {:<12} {:<20} {:<20} {:<10} peak",
        "id", "state", "ack", "opened", "severity", "site", "point", "level"
    );
    for a in alarms.as_array().into_iter().flatten() {
        let text = |key: &str| a[key].as_str().unwrap_or("").to_owned();
        println!(
            "{:<8} {:<7} {:<3} {:<24} {:<12} {:<20} {:<20} {:<10} {}",
            &text("id").chars().take(8).collect::<String>(),
            text("state"),
            if a["acked"] == true { "yes" } else { "no" },
            text("opened"),
            text("severity"),
            text("site"),
            text("point"),
            text("level"),
            a["peak"]
        );
    }
    Ok(())
}

async fn acknowledge(args: AckArgs) -> Result<(), Stop> {
    let config = check::config(&args.config.config)?;
    let answer = match Client::find(&config).await? {
        Some(client) => {
            client.post("/api/v1/alarms/ack", &json!({ "ids": args.ids, "note": args.note })).await?
        }
        None => {
            let store = open(&config).await?;
            let done = store.acknowledge(&args.ids, &args.by, &args.note, None, SystemClock.now()).await;
            json!({ "results": done.map_err(|e| anyhow!(e))? })
        }
    };
    println!("{answer}");
    Ok(())
}
