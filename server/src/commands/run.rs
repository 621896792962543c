//! `firedamp run`: the pipeline of a configuration until SIGTERM or SIGINT.

use super::{Stop, check};
use crate::app::{App, ProcessRole, Steps};
use crate::pipeline::Drained;
use std::path::Path;
use tokio::signal::unix::{SignalKind, signal};

/// Runs until told to stop or broken.
pub async fn run(path: &Path, roles: Vec<ProcessRole>) -> Result<(), Stop> {
    let mut steps = Steps::begin();
    let (config, loaded) = check::load(path)?;
    let (sites, points) = (loaded.catalog.sites().len(), loaded.catalog.points().len());
    steps.done(&format!("{points} points of {sites} sites and their rules read"));
    let roles = if roles.is_empty() { ProcessRole::all() } else { roles.into_iter().collect() };
    let app = App::start(config, loaded, &roles).await?;
    match app.address {
        Some(address) => tracing::info!("firedamp is running; the page is at http://{address}/"),
        None => tracing::info!("firedamp is running with the roles {roles:?}"),
    }
    let broken = app.broken();
    let is_broken = tokio::select! {
        _ = stop_signal() => false,
        _ = broken.cancelled() => true,
    };
    tracing::info!("stopping: nothing more is taken, what is under way is written down");
    match app.stop().await {
        Drained::Clean => tracing::info!("stopped clean: everything under way was written down"),
        Drained::Cut => {
            tracing::warn!("stopped at the deadline: the rest is in the log and goes on at the next start")
        }
    }
    if is_broken {
        return Err(Stop::Could(anyhow::anyhow!("a part broke; the messages above say which")));
    }
    Ok(())
}

/// Returns at SIGTERM or SIGINT.
pub async fn stop_signal() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be caught; stopping");
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
