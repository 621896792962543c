//! `firedamp check`: every mistake, nothing started.

use super::{Stop, routes};
use crate::config::{Config, Loaded, reference};
use clap::Args;
use model::Problems;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub struct CheckArgs {
    /// The configuration file
    #[arg(env = "FIREDAMP_CONFIG", default_value = "firedamp.toml")]
    config: PathBuf,
    /// Print the reference of all keys instead
    #[arg(long)]
    reference: bool,
}

/// Checks and says what was found.
pub fn check(args: &CheckArgs) -> Result<(), Stop> {
    if args.reference {
        print!("{}", reference::markdown());
        return Ok(());
    }
    let (config, loaded) = load(&args.config)?;
    eprint!("{}", routes::found(&config, &loaded.routes, &loaded.catalog));
    println!(
        "{}: good: {} sites, {} points, {} rules, {} sources, {} receivers",
        args.config.display(),
        loaded.catalog.sites().len(),
        loaded.catalog.points().len(),
        loaded.program.rules().len(),
        config.sources.len(),
        config.receivers.len()
    );
    Ok(())
}

/// A configuration with everything it points to; warnings are printed, errors end with all of them named.
pub fn load(path: &Path) -> Result<(Config, Loaded), Stop> {
    let (config, mut problems) = Config::read(path);
    let mut loaded = None;
    if let Some(config) = &config {
        // Mistakes in catalog and rules are told together with those of the configuration.
        let (found, more) = Loaded::read(config);
        loaded = found;
        problems.extend(more);
    }
    match (config, loaded) {
        (Some(config), Some(loaded)) if problems.errors() == 0 => {
            eprint!("{problems}");
            Ok((config, loaded))
        }
        _ => Err(Stop::Input(told(path, &problems))),
    }
}

/// The configuration alone, for commands that need neither catalog nor rules.
pub fn config(path: &Path) -> Result<Config, Stop> {
    let (config, problems) = Config::read(path);
    config.filter(|_| problems.errors() == 0).ok_or_else(|| Stop::Input(told(path, &problems)))
}

/// What was found, and what came of it.
pub fn told(path: &Path, problems: &Problems) -> String {
    let (errors, warnings) = (problems.errors(), problems.warnings());
    format!("{problems}{}: {errors} errors, {warnings} warnings; nothing was started", path.display())
}
