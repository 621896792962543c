//! `firedamp demo`: everything in one process on embedded parts, against simulated mines and a tank farm, with a built-in
//! receiver that shows what the bureau is told.

use super::run::stop_signal;
use super::{Form, Stop, check};
use crate::app::{App, ProcessRole};
use crate::pipeline::Drained;
use ::alerts::AlarmStore;
use anyhow::{Context, anyhow};
use clap::Args;
use model::{Clock, SystemClock};
use simulator::{Plan, Scenario, StartOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

mod receiver;
mod summary;

use receiver::Receiver;

#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Folder for log, table and alarms; a temporary one by default
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Stop by itself after this time, such as 30s
    #[arg(long = "for")]
    time: Option<String>,
    /// `json` prints one object at the end
    #[arg(long, value_enum, default_value = "table")]
    format: Form,
    /// Address of the page
    #[arg(long, default_value = "127.0.0.1:8460")]
    listen: SocketAddr,
    /// Number of mines
    #[arg(long, default_value_t = 3)]
    mines: usize,
    /// Number of tank farms
    #[arg(long, default_value_t = 1)]
    plants: usize,
    /// What happens; `firedamp simulate scenarios` lists them
    #[arg(long, default_value = "surge")]
    scenario: String,
    /// Seed of the simulated world
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs the demo until stopped or its time is over.
pub async fn demo(args: DemoArgs) -> Result<(), Stop> {
    let time = match &args.time {
        Some(text) => {
            Some(Duration::from_micros(model::time::parse_duration(text).map_err(Stop::Input)? as u64))
        }
        None => None,
    };
    let scenario = args.scenario.parse::<Scenario>().map_err(|e| Stop::Input(e.to_string()))?;
    let temporary = tempfile::tempdir().map_err(|e| anyhow!(e))?;
    let dir = args.dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    eprintln!("demo: everything in one process, data in {}", dir.display());

    let receiver = Receiver::start(args.format == Form::Table).await?;
    let stop = CancellationToken::new();
    let plan = Plan {
        seed: args.seed,
        mines: args.mines,
        plants: args.plants,
        scenario,
        file_mines: usize::from(args.mines > 1),
        ..Plan::default()
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let options = StartOptions {
        modbus: true,
        mqtt: true,
        files: (args.mines > 1).then(|| dir.join("inbox")),
        broker: None,
        clock,
    };
    eprintln!(
        "demo: starting {} simulated mines and {} tank farms: MQTT, Modbus and national files",
        plan.mines, plan.plants
    );
    let devices = simulator::start(&plan, options, stop.clone()).await?;
    let config = write_config(&dir, &args, &plan, &devices.sources_toml(), receiver.address)?;
    let (config, loaded) = check::load(&config)?;
    let app = App::start(config, loaded, &ProcessRole::all()).await?;
    if let Some(address) = app.address {
        eprintln!("demo: the page is at http://{address}/  (what happens: {})", scenario.describe());
    }
    eprintln!("demo: a gas surge comes within the first half minute; stop with Ctrl-C");
    let over = async {
        match time {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = stop_signal() => {}
        _ = over => {}
    }
    eprintln!("demo: stopping the devices, then writing down what is under way");
    stop.cancel();
    devices.stop().await;
    app.stop_sources().await;
    let summary = summary::of(&app, &receiver).await?;
    let drained = app.stop().await;
    eprintln!("demo: stopped {}", if drained == Drained::Clean { "clean" } else { "at the deadline" });
    let text = match args.format {
        Form::Json => serde_json::to_string(&summary).map_err(|e| anyhow!(e))? + "\n",
        Form::Table => summary.text(),
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(Stop::writing)
}

fn write_config(
    dir: &Path,
    args: &DemoArgs,
    plan: &Plan,
    sources: &str,
    receiver: SocketAddr,
) -> Result<PathBuf, Stop> {
    let world = simulator::World::new(plan);
    let secret = dir.join("receiver.secret");
    let file = dir.join("firedamp.toml");
    let text = format!(
        "# Made by `firedamp demo`; `firedamp run` takes it too while the devices run.\n\
         [log]\npartitions = 4\n\n[catalog]\nsites = \"sites.csv\"\npoints = [\"points.csv\"]\n\n\
         [rules]\npacks = [\"coal\", \"chemical\"]\npaths = [\"rules.toml\"]\n\n[storage]\nflush = \"10s\"\n\n\
         [[receiver]]\nname = \"bureau\"\nkind = \"webhook\"\nurl = \"http://{receiver}/\"\nsecret = {{ file = \"receiver.secret\" }}\n\n\
         [server]\nlisten = \"{}\"\n\n{sources}",
        args.listen
    );
    for (path, content) in [
        (dir.join("sites.csv"), world.sites_csv()),
        (dir.join("points.csv"), world.points_csv()),
        // Limits of the simulated tanks; the mines are covered by the pack.
        (dir.join("rules.toml"), world.rules_toml().unwrap_or_default()),
        (secret, receiver::SECRET.to_owned()),
        (file.clone(), text),
    ] {
        std::fs::write(&path, content).with_context(|| path.display().to_string())?;
    }
    Ok(file)
}

/// Alarms raised and cleared and notifications sent, as the store counts them.
async fn alarm_counts(store: &Arc<dyn AlarmStore>) -> anyhow::Result<::alerts::Counts> {
    store.counts().await.map_err(|e| anyhow!(e))
}
