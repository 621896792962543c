//! The commands. Each prints its answer on standard output and what it is doing on standard error.

use crate::app::ProcessRole;
use crate::logging::LogFormat;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

mod alarms;
mod backtest;
mod balance;
mod check;
mod client;
mod demo;
mod explain;
mod offline;
mod points;
mod probe;
mod query;
mod routes;
mod rules;
mod run;
mod simulate;
mod subject;

/// firedamp: sensor telemetry and alarms for coal mines and major hazard sources
#[derive(Parser, Debug)]
#[command(version, about)]
pub struct Cli {
    /// Form of the log lines on standard error
    #[arg(long, value_enum, default_value = "text", global = true)]
    pub log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

impl Cli {
    /// Whether all it does is to answer. The others go on with their work when nobody reads what they print.
    pub fn only_answers(&self) -> bool {
        !matches!(self.command, Command::Demo(_) | Command::Run(_) | Command::Simulate(_))
    }
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Everything in one process against simulated sites, until stopped
    Demo(demo::DemoArgs),
    /// Run the pipeline of a configuration
    Run(RunArgs),
    /// Name every mistake of a configuration, start nothing
    Check(check::CheckArgs),
    /// Look at a device
    #[command(subcommand)]
    Probe(probe::ProbeCommand),
    /// Simulated devices, or a file of real readings, on their own
    #[command(subcommand)]
    Simulate(simulate::SimulateCommand),
    /// Ask SQL
    Query(query::QueryArgs),
    /// What came in against what is stored
    Balance(balance::BalanceArgs),
    /// Alarms
    #[command(subcommand)]
    Alarms(alarms::AlarmsCommand),
    /// Routes of alarms: check them
    #[command(subcommand)]
    Routes(routes::RoutesCommand),
    /// Rules: check them, show those of a point, run their tests
    #[command(subcommand)]
    Rules(rules::RulesCommand),
    /// Judge history by rules: what they would have decided, what others decide differently
    Backtest(backtest::BacktestArgs),
    /// Why an alarm or transition was decided: rule, limit, timers, readings
    Explain(explain::ExplainArgs),
    /// Unknown points: list them, register one
    #[command(subcommand)]
    Points(points::PointsCommand),
}

/// Where the configuration is.
#[derive(Args, Debug, Clone)]
pub struct ConfigArg {
    /// The configuration file
    #[arg(long, env = "FIREDAMP_CONFIG", default_value = "firedamp.toml")]
    pub config: PathBuf,
}

#[derive(Args, Debug)]
struct RunArgs {
    /// The configuration file
    #[arg(env = "FIREDAMP_CONFIG", default_value = "firedamp.toml")]
    config: PathBuf,
    /// What this process does; default all
    #[arg(long, value_enum, value_delimiter = ',')]
    role: Vec<ProcessRole>,
}

/// Form of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Form {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// What ended a command early.
#[derive(Debug)]
pub enum Stop {
    /// 1: what was asked to be found was found.
    Found,
    /// 2: wrong use or bad input, with what to do.
    Input(String),
    /// 3: could not.
    Could(anyhow::Error),
    /// 3, without a word: nobody reads the rest of the answer.
    Unread,
}

impl Stop {
    /// Of an answer that cannot be written.
    fn writing(e: std::io::Error) -> Self {
        match e.kind() {
            std::io::ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::Could(anyhow::Error::new(e).context("the answer cannot be written")),
        }
    }
}

impl From<anyhow::Error> for Stop {
    fn from(e: anyhow::Error) -> Self {
        Stop::Could(e)
    }
}

/// Runs the command and gives its exit code.
pub async fn dispatch(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::Demo(args) => demo::demo(args).await,
        Command::Run(args) => run::run(&args.config, args.role).await,
        Command::Check(args) => check::check(&args),
        Command::Probe(command) => probe::probe(command).await,
        Command::Simulate(command) => simulate::simulate(command).await,
        Command::Query(args) => query::query(args).await,
        Command::Balance(args) => balance::balance(args).await,
        Command::Alarms(command) => alarms::alarms(command).await,
        Command::Routes(command) => routes::routes(command),
        Command::Rules(command) => rules::rules(command),
        Command::Backtest(args) => backtest::backtest(args).await,
        Command::Explain(args) => explain::explain(args).await,
        Command::Points(command) => points::points(command).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Found) => ExitCode::from(1),
        Err(Stop::Input(message)) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
        Err(Stop::Could(e)) => {
            eprintln!("error: {e:#}");
            ExitCode::from(3)
        }
        Err(Stop::Unread) => ExitCode::from(3),
    }
}
