//! The built `firedamp` with a folder and a configuration of its own.

use crate::process::{Folder, Process, run};
use crate::{START_TIMEOUT, free_port, wait_for_async};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A configuration in a folder, and the process that runs it while it runs.
#[derive(Debug)]
pub struct Firedamp {
    /// Port of the API.
    pub port: u16,
    binary: PathBuf,
    folder: Folder,
    process: Option<Process>,
    environment: Vec<(String, String)>,
}

impl Firedamp {
    /// Writes files into a new folder. `firedamp.toml` gets a `[server]` section with a free port added.
    #[track_caller]
    pub fn prepare(binary: &str, files: &[(&str, &str)]) -> Self {
        let folder = Folder::new("run").unwrap_or_else(|e| panic!("{e:#}"));
        let port = free_port();
        for (name, text) in files {
            let path = folder.path().join(name);
            let text = match *name {
                "firedamp.toml" => format!("[server]\nlisten = \"127.0.0.1:{port}\"\n\n{text}"),
                _ => (*text).to_owned(),
            };
            std::fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
        Self { port, binary: PathBuf::from(binary), folder, process: None, environment: Vec::new() }
    }

    /// Sets a variable for the process and the commands.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.current_dir(self.folder.path());
        command.envs(self.environment.iter().map(|(k, v)| (k, v)));
        command
    }

    /// Starts `firedamp run` and returns when it is ready.
    pub async fn start(&mut self) {
        self.launch(&[]);
        self.until_ready().await;
    }

    /// Starts `firedamp run` with further arguments.
    #[track_caller]
    pub fn launch(&mut self, arguments: &[&str]) {
        let mut command = self.command();
        command.args(["run", "firedamp.toml"]).args(arguments);
        let log = self.folder.path().join("firedamp.log");
        let process = Process::spawn("firedamp", &command, &log);
        self.process = Some(process.unwrap_or_else(|e| panic!("{e:#}")));
    }

    /// Returns when `/health/ready` says so.
    pub async fn until_ready(&self) {
        let url = self.url("/health/ready");
        wait_for_async("firedamp is ready", START_TIMEOUT, || async {
            if let Some(status) = self.process.as_ref().and_then(Process::exited) {
                panic!("firedamp ended before it was ready: {status}");
            }
            reqwest::get(&url).await.ok().filter(|r| r.status().is_success()).map(|_| ())
        })
        .await;
    }

    /// `kill -9`.
    pub fn kill9(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill9();
        }
    }

    /// SIGTERM; returns the log once it has ended.
    #[track_caller]
    pub fn stop(&mut self) -> String {
        let Some(process) = self.process.take() else { return String::new() };
        let ended = process.terminate(Duration::from_secs(60));
        assert!(ended.is_some_and(|s| s.success()), "it did not end well: {ended:?}\n{}", process.log_tail());
        process.log_text()
    }

    /// The process, while it runs.
    pub fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// The address of a path of the API.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// GET, as JSON.
    ///
    /// # Errors
    /// When it does not answer, or not with JSON.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let answer = reqwest::get(self.url(path)).await?;
        let status = answer.status();
        let text = answer.text().await?;
        serde_json::from_str(&text).with_context(|| format!("{path}: {status} {text}"))
    }

    /// POST of a text, as JSON.
    ///
    /// # Errors
    /// When it does not answer, or not with JSON.
    pub async fn post(&self, path: &str, media: &str, body: String) -> Result<Value> {
        let request = reqwest::Client::new().post(self.url(path)).header("content-type", media).body(body);
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        serde_json::from_str(&text).with_context(|| format!("{path}: {status} {text}"))
    }

    /// One number by SQL.
    ///
    /// # Errors
    /// When the query gives none.
    pub async fn number(&self, sql: &str) -> Result<i64> {
        let rows = self.post("/api/v1/sql", "text/plain", sql.to_owned()).await?;
        let row = rows.get(0).and_then(Value::as_object).with_context(|| format!("{sql}: {rows}"))?;
        row.values().next().and_then(Value::as_i64).with_context(|| format!("{sql}: {rows}"))
    }

    /// Runs another command of the binary in the folder; its output.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        run("firedamp", self.command().args(arguments))
    }
}
