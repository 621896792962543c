//! `firedamp simulate`: simulated devices on their own, or a file of real readings through a protocol.

use super::Stop;
use super::run::stop_signal;
use anyhow::anyhow;
use clap::{Args, Subcommand};
use model::SystemClock;
use simulator::{Plan, Scenario, StartOptions};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[derive(Subcommand, Debug)]
pub enum SimulateCommand {
    /// The scenarios, a line each
    Scenarios,
    /// Mines and tank farms as MQTT publishers, Modbus devices and national files, until stopped
    Devices(DevicesArgs),
    /// Play a CSV of real readings through a protocol
    Replay(ReplayArgs),
}

#[derive(Args, Debug)]
pub struct DevicesArgs {
    /// Folder for sites.csv, points.csv, sources.toml and the inbox
    #[arg(long)]
    dir: PathBuf,
    /// An MQTT broker; an embedded one is started when absent
    #[arg(long)]
    broker: Option<String>,
    /// Number of mines
    #[arg(long, default_value_t = 3)]
    mines: usize,
    /// Number of tank farms
    #[arg(long, default_value_t = 1)]
    plants: usize,
    /// What happens
    #[arg(long, default_value = "quiet")]
    scenario: String,
    /// Seed of the world
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// CSV: site,point,time,value,status; or wide, a column a point
    file: PathBuf,
    /// MQTT broker to publish to
    #[arg(long, conflicts_with = "modbus")]
    mqtt: Option<String>,
    /// Address of a Modbus device that shows the next row at each poll
    #[arg(long)]
    modbus: Option<String>,
    /// Site of a wide file
    #[arg(long, default_value = "M1")]
    site: String,
    /// Columns of a wide file; all by default
    #[arg(long, value_delimiter = ',')]
    columns: Vec<String>,
    /// Time of the first row of a wide file, RFC 3339
    #[arg(long)]
    start: Option<String>,
    /// Time between rows of a wide file
    #[arg(long, default_value = "30s")]
    step: String,
    /// Readings a second; as fast as acknowledged when absent
    #[arg(long)]
    rate: Option<f64>,
    /// Readings in one message
    #[arg(long, default_value_t = 1)]
    batch: usize,
}

/// Runs the subcommand.
pub async fn simulate(command: SimulateCommand) -> Result<(), Stop> {
    match command {
        SimulateCommand::Scenarios => {
            for scenario in Scenario::ALL {
                println!("{:<14} {}", scenario.name(), scenario.describe());
            }
            Ok(())
        }
        SimulateCommand::Devices(args) => devices(args).await,
        SimulateCommand::Replay(args) => replay(args).await,
    }
}

async fn devices(args: DevicesArgs) -> Result<(), Stop> {
    let scenario = Scenario::parse(&args.scenario)
        .ok_or_else(|| Stop::Input(format!("there is no scenario `{}`; see `firedamp simulate scenarios`", args.scenario)))?;
    let plan = Plan { seed: args.seed, mines: args.mines, plants: args.plants, scenario, ..Plan::default() };
    let stop = CancellationToken::new();
    std::fs::create_dir_all(&args.dir).map_err(|e| anyhow!(e))?;
    let files = Some(args.dir.join("inbox"));
    let options = StartOptions { modbus: true, mqtt: true, files, broker: args.broker, clock: Arc::new(SystemClock) };
    let running = simulator::start(&plan, options, stop.clone()).await?;
    let world = simulator::World::new(&plan);
    for (name, text) in
        [("sites.csv", world.sites_csv()), ("points.csv", world.points_csv()), ("sources.toml", running.sources_toml())]
    {
        std::fs::write(args.dir.join(name), text).map_err(|e| anyhow!(e))?;
    }
    eprintln!("devices run; sites.csv, points.csv and sources.toml are in {}; stop with Ctrl-C", args.dir.display());
    stop_signal().await;
    stop.cancel();
    running.stop().await;
    Ok(())
}

async fn replay(_args: ReplayArgs) -> Result<(), Stop> {
    Err(anyhow!("replaced when the simulator lands").into())
}
