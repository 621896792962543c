//! Mosquitto, the MQTT broker, with persistence: what it stored survives a clean restart.

use crate::process::{Folder, Process};
use crate::{START_TIMEOUT, free_port, listens};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A running broker; dropped, it is killed and its folder removed.
#[derive(Debug)]
pub struct Mosquitto {
    /// `mqtt://127.0.0.1:PORT`.
    pub url: String,
    /// The port, also after a restart.
    pub port: u16,
    process: Option<Process>,
    folder: Folder,
}

/// Starts a broker: anonymous, persistent, unlimited queue of QoS 1 messages for absent sessions.
#[track_caller]
pub fn start() -> Mosquitto {
    start_with("")
}

/// As [`start`] with further lines of mosquitto.conf.
#[track_caller]
pub fn start_with(more_config: &str) -> Mosquitto {
    try_start(more_config).unwrap_or_else(|e| panic!("Mosquitto: {e:#}"))
}

fn try_start(more_config: &str) -> Result<Mosquitto> {
    let folder = Folder::new("mosquitto")?;
    let port = free_port();
    let data = folder.path().join("data");
    std::fs::create_dir(&data)?;
    // As root the broker would become user mosquitto, who cannot write here.
    let config = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n\
         persistence true\npersistence_location {}/\nautosave_interval 1\n\
         max_queued_messages 0\nlog_type all\n{more_config}\n",
        data.display()
    );
    std::fs::write(folder.path().join("mosquitto.conf"), config).context("writing mosquitto.conf")?;
    let mut broker = Mosquitto { url: format!("mqtt://127.0.0.1:{port}"), port, process: None, folder };
    broker.launch()?;
    Ok(broker)
}

impl Mosquitto {
    /// Stops it cleanly (what is queued is saved) and starts it again on the same port and folder.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Stops it cleanly: queued messages are saved.
    #[track_caller]
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            assert!(process.terminate(Duration::from_secs(20)).is_some(), "Mosquitto ignored SIGTERM");
        }
    }

    /// `kill -9`: what was not autosaved is gone.
    pub fn kill9(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill9();
        }
    }

    /// Starts it again after [`Mosquitto::stop`] or [`Mosquitto::kill9`].
    #[track_caller]
    pub fn start_again(&mut self) {
        self.launch().unwrap_or_else(|e| panic!("Mosquitto, starting again: {e:#}"));
    }

    /// The process, for its id, its signals (`STOP` makes a broker that hangs) and its log.
    pub fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// The log file over all starts.
    pub fn log_file(&self) -> PathBuf {
        self.folder.path().join("log.txt")
    }

    fn launch(&mut self) -> Result<()> {
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(self.folder.path().join("mosquitto.conf"));
        let process = Process::spawn("mosquitto", &command, &self.log_file())?;
        process.until_ready(START_TIMEOUT, || listens(self.port))?;
        self.process = Some(process);
        Ok(())
    }
}
