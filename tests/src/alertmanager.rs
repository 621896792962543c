//! Prometheus Alertmanager, alone: on loopback, with a receiver that hears of nothing.

use crate::process::{Folder, Process};
use crate::{START_TIMEOUT, free_port};
use anyhow::{Context, Result};
use serde_json::Value;
use std::process::Command;

/// A running Alertmanager; dropped, it is killed and its folder removed.
#[derive(Debug)]
pub struct Alertmanager {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    port: u16,
    process: Option<Process>,
    folder: Folder,
}

/// Starts one. Debian's package calls the program by another name than its makers.
#[track_caller]
pub fn start() -> Alertmanager {
    try_start().unwrap_or_else(|e| panic!("Alertmanager: {e:#}"))
}

fn try_start() -> Result<Alertmanager> {
    let (folder, port) = (Folder::new("alertmanager")?, free_port());
    let config = "route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n";
    std::fs::write(folder.path().join("alertmanager.yml"), config).context("writing alertmanager.yml")?;
    let url = format!("http://127.0.0.1:{port}");
    let mut alertmanager = Alertmanager { url, port, process: None, folder };
    alertmanager.launch()?;
    Ok(alertmanager)
}

impl Alertmanager {
    /// `kill -9`. It holds alerts in memory only: they are gone.
    pub fn kill9(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill9();
        }
    }

    /// Starts it again on the same port.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.launch().unwrap_or_else(|e| panic!("Alertmanager, starting again: {e:#}"));
    }

    /// The port, also after a start again.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The alerts that are not resolved, as it shows them; the settings of Alertmanager say nothing of an order.
    ///
    /// # Errors
    /// When it does not answer with JSON.
    pub async fn alerts(&self) -> Result<Vec<Value>> {
        let answer = reqwest::get(format!("{}/api/v2/alerts", self.url)).await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    fn launch(&mut self) -> Result<()> {
        let folder = self.folder.path();
        let mut command = Command::new("prometheus-alertmanager");
        command.arg(format!("--config.file={}", folder.join("alertmanager.yml").display()));
        command.arg(format!("--storage.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{}", self.port));
        // Empty: it looks for no others of its kind.
        command.arg("--cluster.listen-address=");
        let process = Process::spawn("Alertmanager", &command, &folder.join("log.txt"))?;
        process.until_ready(START_TIMEOUT, || is_ready(self.port))?;
        self.process = Some(process);
        Ok(())
    }
}

/// It listens before it takes alerts; asked by hand, since its starter is called from async tests too.
fn is_ready(port: u16) -> bool {
    use std::io::{Read, Write};
    let Ok(mut socket) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut answer = String::new();
    let asked = socket.write_all(b"GET /-/ready HTTP/1.0\r\n\r\n");
    asked.is_ok() && socket.read_to_string(&mut answer).is_ok() && answer.contains(" 200 ")
}
