//! `firedamp points`: unknown points with their last value, and their registration.

use super::client::Client;
use super::{ConfigArg, Form, Stop, check, offline};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

#[derive(Subcommand, Debug)]
pub enum PointsCommand {
    /// Points that sent readings and are not in the catalog
    Unknown(UnknownArgs),
    /// Register one of them; its readings are released into history
    Register(RegisterArgs),
}

#[derive(Args, Debug)]
pub struct UnknownArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Form of the answer
    #[arg(long, value_enum, default_value = "table")]
    format: Form,
}

#[derive(Args, Debug)]
pub struct RegisterArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Site code
    site: String,
    /// Point code
    point: String,
    /// Quantity word, such as ch4
    #[arg(long)]
    quantity: String,
    /// Unit
    #[arg(long, default_value = "")]
    unit: String,
    /// Name for people
    #[arg(long, default_value = "")]
    name: String,
    /// Low end of the range
    #[arg(long)]
    low: Option<f64>,
    /// High end of the range
    #[arg(long)]
    high: Option<f64>,
    /// Place class, such as T1
    #[arg(long, default_value = "")]
    place: String,
}

/// Runs the subcommand.
pub async fn points(command: PointsCommand) -> Result<(), Stop> {
    match command {
        PointsCommand::Unknown(args) => unknown(args).await,
        PointsCommand::Register(args) => register(args).await,
    }
}

async fn unknown(args: UnknownArgs) -> Result<(), Stop> {
    let config = check::config(&args.config.config)?;
    let rows: Value = match Client::find(&config).await? {
        Some(client) => client.get("/api/v1/unknown").await?,
        None => json!(
            offline::table(&config)
                .await?
                .quarantined(config.storage.limits)
                .await
                .map_err(|e| anyhow::anyhow!(e))?
        ),
    };
    if args.format == Form::Json {
        println!("{rows}");
        return Ok(());
    }
    println!("{:<24} {:<30} {:>9} {:<26} {:>12}  reason", "site", "point", "readings", "last", "value");
    for row in rows.as_array().into_iter().flatten() {
        let text = |key: &str| row[key].as_str().unwrap_or("").to_owned();
        let value = &row["last_value"];
        println!(
            "{:<24} {:<30} {:>9} {:<26} {:>12}  {}",
            text("site"),
            text("point"),
            row["count"],
            row["last_time"].as_i64().map(model::time::rfc3339).unwrap_or_default(),
            value.to_string(),
            text("reason")
        );
    }
    Ok(())
}

async fn register(args: RegisterArgs) -> Result<(), Stop> {
    let config = check::config(&args.config.config)?;
    let Some(client) = Client::find(&config).await? else {
        return Err(Stop::Input("no server runs; a point is registered through the running one".to_owned()));
    };
    let body = json!({
        "site": args.site, "point": args.point, "quantity": args.quantity, "unit": args.unit, "name": args.name,
        "low": args.low, "high": args.high, "place": args.place,
    });
    let answer = client.post("/api/v1/unknown/register", &body).await?;
    println!("registered; {} readings released into history", answer["released"]);
    Ok(())
}
