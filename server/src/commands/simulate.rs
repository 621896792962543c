//! `firedamp simulate`: simulated devices on their own, or a file of real readings through a protocol.

use super::Stop;
use super::run::stop_signal;
use anyhow::anyhow;
use clap::{Args, Subcommand};
use model::SystemClock;
use simulator::{AtEnd, Columns, Plan, ReplayOptions, ReplayProtocol, Scenario, Speed, StartOptions};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
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
    /// Topic; with {point} each reading is a message of its own
    #[arg(long, default_value = "replay/{site}")]
    topic: String,
    /// Address of a Modbus device that shows the next row at each poll
    #[arg(long)]
    modbus: Option<SocketAddr>,
    /// The file is site,point,time,value,status instead of a column a point
    #[arg(long)]
    long: bool,
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
    /// So many times as fast as the times in the file; as fast as acknowledged when absent
    #[arg(long)]
    speed: Option<f64>,
    /// Rows of the file in one message
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
    let scenario = args.scenario.parse::<Scenario>().map_err(|e| Stop::Input(e.to_string()))?;
    let plan = Plan {
        seed: args.seed,
        mines: args.mines,
        plants: args.plants,
        scenario,
        file_mines: usize::from(args.mines > 1),
        ..Plan::default()
    };
    let stop = CancellationToken::new();
    std::fs::create_dir_all(&args.dir).map_err(|e| anyhow!(e))?;
    let files = (args.mines > 1).then(|| args.dir.join("inbox"));
    let options =
        StartOptions { modbus: true, mqtt: true, files, broker: args.broker, clock: Arc::new(SystemClock) };
    let running = simulator::start(&plan, options, stop.clone()).await?;
    let world = simulator::World::new(&plan);
    for (name, text) in [
        ("sites.csv", world.sites_csv()),
        ("points.csv", world.points_csv()),
        ("sources.toml", running.sources_toml()),
    ] {
        std::fs::write(args.dir.join(name), text).map_err(|e| anyhow!(e))?;
    }
    eprintln!(
        "devices run; sites.csv, points.csv and sources.toml are in {}; stop with Ctrl-C",
        args.dir.display()
    );
    stop_signal().await;
    stop.cancel();
    running.stop().await;
    Ok(())
}

async fn replay(args: ReplayArgs) -> Result<(), Stop> {
    let options = replay_options(&args)?;
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        stop_signal().await;
        cancel.cancel();
    });
    if let ReplayProtocol::Modbus { listen, .. } = &options.protocol {
        let section = options.source_toml("replay", &args.file, *listen, Duration::from_secs(1))?;
        eprintln!("the source to read it with:\n\n{section}");
    }
    let report = simulator::replay(&args.file, &options, stop).await?;
    println!(
        "{} rows, {} readings, {} messages, {} acknowledged, {} repeated, {:.1} s{}",
        report.rows,
        report.readings,
        report.messages,
        report.acknowledged,
        report.repeated,
        report.took.as_secs_f64(),
        if report.complete { "" } else { "; stopped before the end" }
    );
    Ok(())
}

fn replay_options(args: &ReplayArgs) -> Result<ReplayOptions, Stop> {
    let columns = if args.long {
        Columns::Long
    } else {
        let start =
            args.start.as_deref().ok_or_else(|| Stop::Input("a wide file needs --start".to_owned()))?;
        let step = model::time::parse_duration(&args.step).map_err(Stop::Input)?;
        Columns::Wide {
            site: args.site.clone(),
            start: model::time::parse(start).map_err(Stop::Input)?,
            step: Duration::from_micros(step as u64),
            only: args.columns.clone(),
        }
    };
    let protocol = match (&args.mqtt, args.modbus) {
        (Some(url), None) => ReplayProtocol::Mqtt {
            url: url.clone(),
            topic: args.topic.clone(),
            rows_per_message: args.batch,
            window: 100,
            client: "firedamp-replay".to_owned(),
        },
        (None, Some(listen)) => ReplayProtocol::Modbus { listen, at_end: AtEnd::Stay },
        _ => return Err(Stop::Input("give --mqtt URL or --modbus ADDRESS".to_owned())),
    };
    let speed = args.speed.map_or(Speed::AsAcknowledged, Speed::Times);
    Ok(ReplayOptions { columns, speed, protocol })
}
