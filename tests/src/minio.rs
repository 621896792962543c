//! MinIO, the S3-compatible store, compiled by `tests/install minio`, with one bucket.

use crate::process::{Folder, Process};
use crate::{START_TIMEOUT, cache, free_port};
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The bucket that is there from the start.
pub const BUCKET: &str = "lake";
/// The access key.
pub const ACCESS_KEY: &str = "firedamp-tests";
/// The secret key.
pub const SECRET_KEY: &str = "only-for-tests-on-loopback";

/// The same stands in `tests/install`.
const VERSION: &str = "v0.0.0-20260212201848-7aac2a2c5b7c";

/// A running store; dropped, it is killed and its folder removed.
#[derive(Debug)]
pub struct Minio {
    /// `http://127.0.0.1:PORT`.
    pub endpoint: String,
    binary: PathBuf,
    port: u16,
    process: Option<Process>,
    folder: Folder,
}

/// Starts a store with an empty bucket [`BUCKET`].
#[track_caller]
pub fn start() -> Minio {
    try_start().unwrap_or_else(|e| panic!("MinIO: {e:#}"))
}

fn try_start() -> Result<Minio> {
    let binary = cache::ready(&format!("minio-{VERSION}"), &["minio"])?.join("minio");
    let folder = Folder::new("minio")?;
    // A folder of the drive is a bucket.
    std::fs::create_dir_all(folder.path().join("drive").join(BUCKET)).context("the bucket's folder")?;
    let port = free_port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let mut minio = Minio { endpoint, binary, port, process: None, folder };
    minio.launch()?;
    Ok(minio)
}

impl Minio {
    /// `kill -9`.
    pub fn kill9(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill9();
        }
    }

    /// Starts it again after [`Minio::kill9`], on the same port and folder.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.launch().unwrap_or_else(|e| panic!("MinIO, starting again: {e:#}"));
    }

    /// The process, for its id, its signals (`STOP` makes a store that hangs) and its log.
    pub fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    fn launch(&mut self) -> Result<()> {
        let mut command = Command::new(&self.binary);
        command.arg("server").arg("--address").arg(format!("127.0.0.1:{}", self.port));
        command.arg("--quiet").arg(self.folder.path().join("drive"));
        // Its own settings and certificates would lie in the home folder.
        command.arg("--config-dir").arg(self.folder.path().join("config"));
        for (name, value) in [
            ("MINIO_ROOT_USER", ACCESS_KEY),
            ("MINIO_ROOT_PASSWORD", SECRET_KEY),
            ("MINIO_UPDATE", "off"),
            ("MINIO_BROWSER", "off"),
            ("GOMAXPROCS", "2"),
        ] {
            command.env(name, value);
        }
        let process = Process::spawn("minio", &command, &self.folder.path().join("log.txt"))?;
        process.until_ready(START_TIMEOUT, || is_ready(self.port))?;
        self.process = Some(process);
        Ok(())
    }
}

/// Whether it serves requests: it listens well before it does.
fn is_ready(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut connection = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
        connection.set_read_timeout(Some(Duration::from_secs(2)))?;
        connection.write_all(
            b"GET /minio/health/cluster HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200 "))
    };
    ask().unwrap_or(false)
}
