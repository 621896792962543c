//! What people do with alarms: through the running server, whose caller is who does it, or, when none runs, in the database itself.

use super::open;
use crate::acting::Asked;
use crate::commands::client::Client;
use crate::commands::{ConfigArg, Stop, check};
use crate::config;
use ::alerts::{Act, AlarmStore, RoutesInForce};
use anyhow::anyhow;
use clap::Args;
use model::{Clock, Problems, SystemClock};
use serde_json::json;
use std::sync::{Arc, RwLock};

#[derive(Args, Debug)]
pub struct CommonArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Their ids, or the first digits of each
    #[arg(required = true)]
    ids: Vec<String>,
    /// Who does it, when no server runs
    #[arg(long, env = "USER", default_value = "command line")]
    by: String,
    /// What there is to say
    #[arg(long, default_value = "")]
    note: String,
    /// The newest entry that was seen, as `show` says it: what rose since is not acted on
    #[arg(long)]
    seen: Option<i64>,
}

#[derive(Args, Debug)]
pub struct ShelveArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// For how long, as `30min`
    #[arg(long)]
    r#for: Option<String>,
    /// Only this alarm, as long as it lasts; else whatever the rule says of the point
    #[arg(long)]
    one_shot: bool,
}

#[derive(Args, Debug)]
pub struct UrgeArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// How: phone, message, visit
    #[arg(long)]
    way: String,
    /// Who was called
    #[arg(long)]
    called: String,
}

#[derive(Args, Debug)]
pub struct DisposeArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Why it came to the alarm
    #[arg(long)]
    cause: String,
    /// What was done
    #[arg(long)]
    measure: String,
}

/// An action that says no more than a note.
pub async fn plain(action: &str, args: CommonArgs) -> Result<(), Stop> {
    act(action, args, Asked::default()).await
}

/// `shelve`.
pub async fn shelve(args: ShelveArgs) -> Result<(), Stop> {
    let asked = Asked { r#for: args.r#for, one_shot: args.one_shot, ..Asked::default() };
    act("shelve", args.common, asked).await
}

/// `urge`.
pub async fn urge(args: UrgeArgs) -> Result<(), Stop> {
    act("urge", args.common, Asked { way: args.way, called: args.called, ..Asked::default() }).await
}

/// `dispose`.
pub async fn dispose(args: DisposeArgs) -> Result<(), Stop> {
    act("dispose", args.common, Asked { cause: args.cause, measure: args.measure, ..Asked::default() }).await
}

async fn act(action: &str, args: CommonArgs, asked: Asked) -> Result<(), Stop> {
    let CommonArgs { config, ids, by, note, seen } = args;
    let (config, asked) = (check::config(&config.config)?, Asked { note, ..asked });
    let now = SystemClock.now();
    let what = asked.what(action, config.alerts.shelve_max, now).map_err(Stop::Input)?;
    let answer = match Client::find(&config).await? {
        Some(client) => {
            let mut body = json!(asked);
            (body["ids"], body["seen_seq"]) = (json!(ids), json!(seen));
            client.post(&format!("/api/v1/alarms/{action}"), &body).await?
        }
        None => {
            // What comes back from the shelf is told, to whom the routes say.
            let mut problems = Problems::default();
            let catalog = config::load_catalog(&config, &mut problems);
            let routes = config::load_routes(&config, &mut problems);
            if problems.errors() > 0 {
                return Err(Stop::Input(problems.to_string()));
            }
            let store = open(&config).await?.with_routes(RoutesInForce::new(Arc::new(routes)));
            let store = store.with_places(Arc::new(RwLock::new(Arc::new(catalog))));
            let mut whole = Vec::with_capacity(ids.len());
            for id in ids {
                let found = store.get(&id).await.map_err(|e| anyhow!(e))?;
                whole.push(found.map_or(id, |alarm| alarm.id));
            }
            let act = Act { what, by, note: asked.note, seen_seq: seen };
            json!({ "results": store.act(&whole, &act, now).await.map_err(|e| anyhow!(e))? })
        }
    };
    println!("{answer}");
    Ok(())
}
