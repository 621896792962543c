//! PostgreSQL of Debian's package: a server with a cluster of its own, one user with a password, and as many databases as are asked for.

use crate::process::{Folder, Process, missing, run};
use crate::{START_TIMEOUT, free_port};
use anyhow::{Context, Result};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The user of all databases.
pub const USER: &str = "firedamp";
/// Their password.
pub const PASSWORD: &str = "not a secret";

/// A running server; dropped, it is killed and its folder removed.
#[derive(Debug)]
pub struct Postgres {
    /// The port, also after a restart.
    pub port: u16,
    bin: PathBuf,
    made: AtomicU32,
    process: Option<Process>,
    folder: Folder,
}

/// Starts a server.
#[track_caller]
pub fn start() -> Postgres {
    try_start().unwrap_or_else(|e| panic!("PostgreSQL: {e:#}"))
}

fn try_start() -> Result<Postgres> {
    let bin = bin()?;
    let folder = Folder::new("postgres")?;
    let (data, secret) = (folder.path().join("data"), folder.path().join("password"));
    std::fs::create_dir(&data)?;
    std::fs::write(&secret, PASSWORD)?;
    if is_root()? {
        // The server refuses to be root; its own user must get into the folder.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let uid: u32 = run("id", Command::new("id").args(["-u", "postgres"]))?.trim().parse()?;
        chown(&data, Some(uid), None)?;
    }
    let mut server = Postgres { port: free_port(), bin, made: AtomicU32::new(0), process: None, folder };
    let mut initdb = server.command("initdb")?;
    initdb.args(["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"]);
    run("initdb", initdb.arg("--pwfile").arg(&secret).arg("-D").arg(&data))?;
    server.start_again_or()?;
    Ok(server)
}

impl Postgres {
    /// Makes an empty database and gives its URL, with the password in it.
    #[track_caller]
    pub fn database(&self) -> String {
        let name = format!("firedamp_{}", self.made.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        format!("postgres://{USER}:{}@127.0.0.1:{}/{name}", PASSWORD.replace(' ', "%20"), self.port)
    }

    /// Runs a statement in a database and gives what it prints, a line a row.
    #[track_caller]
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER, "-d", database]);
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]).env("PGPASSWORD", PASSWORD);
        run("psql", &psql).unwrap_or_else(|e| panic!("{sql}: {e:#}"))
    }

    /// `kill -9`: connections are cut, what was committed is there after [`Postgres::start_again`].
    pub fn kill9(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill9();
        }
    }

    /// Starts it again on the same port and folder.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.start_again_or().unwrap_or_else(|e| panic!("PostgreSQL, starting again: {e:#}"));
    }

    fn start_again_or(&mut self) -> Result<()> {
        let data = self.folder.path().join("data");
        // What a killed server left; its children end a moment after it.
        let _ = std::fs::remove_file(data.join("postmaster.pid"));
        let mut command = self.command("postgres")?;
        command.arg("-D").arg(&data).args(["-p", &self.port.to_string(), "-h", "127.0.0.1"]);
        command.args(["-c", "unix_socket_directories=", "-c", "max_connections=50"]);
        let process = Process::spawn("PostgreSQL", &command, &self.folder.path().join("log.txt"))?;
        let (ready, port) = (self.bin.join("pg_isready"), self.port.to_string());
        let answers = || {
            let mut ask = Command::new(&ready);
            run("pg_isready", ask.args(["-q", "-h", "127.0.0.1", "-p", &port])).is_ok()
        };
        process.until_ready(START_TIMEOUT, answers)?;
        self.process = Some(process);
        Ok(())
    }

    /// One of its programs, as the user it is to run as.
    fn command(&self, program: &str) -> Result<Command> {
        let program = self.bin.join(program);
        if !is_root()? {
            return Ok(Command::new(program));
        }
        let mut command = Command::new("setpriv");
        // Another user's process is told anew to die with its parent.
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig", "KILL", "--"]);
        command.arg(program).current_dir(self.folder.path());
        Ok(command)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its own processes first, so that nobody writes into the folder that is removed.
        if let Some(process) = self.process.take()
            && !std::thread::panicking()
        {
            process.signal("INT");
            process.terminate(Duration::from_secs(20));
        }
    }
}

fn is_root() -> Result<bool> {
    Ok(run("id", Command::new("id").arg("-u"))?.trim() == "0")
}

/// The programs of the newest version that is installed.
fn bin() -> Result<PathBuf> {
    let all = std::fs::read_dir("/usr/lib/postgresql").map_err(|_| missing("postgres"))?;
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in all {
        let path = entry.context("/usr/lib/postgresql")?.path();
        let version = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse().ok());
        if let Some(version) = version.filter(|_| Path::new(&path).join("bin/initdb").exists()) {
            found.push((version, path.join("bin")));
        }
    }
    found.into_iter().max().map(|(_, bin)| bin).ok_or_else(|| missing("postgres"))
}
