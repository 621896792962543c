//! `firedamp balance`: exits with 1 when a sum does not hold.

use super::client::Client;
use super::{ConfigArg, Form, Stop, check, offline};
use crate::balance::{self, Balance, Counts};
use clap::Args;

#[derive(Args, Debug)]
pub struct BalanceArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Form of the answer
    #[arg(long, value_enum, default_value = "table")]
    format: Form,
}

/// Prints the balance of the running server, or of the folders when none runs.
pub async fn balance(args: BalanceArgs) -> Result<(), Stop> {
    let config = check::config(&args.config.config)?;
    let balance: Balance = match Client::find(&config).await? {
        Some(client) => {
            let value = client.get("/api/v1/balance").await?;
            serde_json::from_value(value).map_err(|e| anyhow::anyhow!(e))?
        }
        None => {
            let (table, log) = (offline::table(&config).await?, offline::log(&config).await?);
            balance::of(&table, &log).await?
        }
    };
    match args.format {
        Form::Json => println!("{}", serde_json::to_string(&balance).map_err(|e| anyhow::anyhow!(e))?),
        Form::Table => print(&balance),
    }
    if balance.counts.is_balanced() { Ok(()) } else { Err(Stop::Found) }
}

fn print(balance: &Balance) {
    println!(
        "{:<16} {:>12} {:>12} {:>9} {:>12} {:>10} {:>12} {:>10}",
        "source", "received", "accepted", "refused", "stored", "duplicate", "quarantined", "pending"
    );
    let row = |name: &str, c: &Counts| {
        println!(
            "{name:<16} {:>12} {:>12} {:>9} {:>12} {:>10} {:>12} {:>10}",
            c.received, c.accepted, c.refused, c.stored, c.duplicate, c.quarantined, c.pending
        );
    };
    for source in &balance.sources {
        row(&source.name, &source.counts);
    }
    row("all", &balance.counts);
    println!("{}", if balance.counts.is_balanced() { "balanced" } else { "NOT BALANCED" });
}
