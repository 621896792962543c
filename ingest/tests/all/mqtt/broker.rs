//! A Mosquitto of the test's own: free port on loopback, own folder, ended with the test.

use super::{PATIENCE, patiently};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub struct Mosquitto {
    child: Child,
    dir: TempDir,
    more: String,
    pub port: u16,
}

impl Mosquitto {
    /// Starts one; `more` are further lines of its configuration.
    pub async fn start(more: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder for the broker");
        // Another process may take the port between our look and the broker's: then another one is tried.
        for _ in 0..5 {
            let port =
                TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
            let mut child = spawn(dir.path(), port, more);
            if listens(&mut child, port).await {
                return Self { child, dir, more: more.to_owned(), port };
            }
        }
        panic!("mosquitto did not start; is the Debian package `mosquitto` there?");
    }

    /// Ends it with SIGTERM, so that it saves what it holds. Mosquitto 2.0 killed with SIGKILL loses the last messages
    /// that it acknowledged to publishers, whatever `autosave_on_changes` says: that would be its loss, not ours.
    pub fn stop(&mut self) {
        let asked = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        assert!(asked.expect("kill is everywhere").success());
        self.child.wait().expect("it was asked to end");
    }

    /// Starts it again on the same port and folder.
    pub async fn restart(&mut self) {
        self.child = spawn(self.dir.path(), self.port, &self.more);
        assert!(listens(&mut self.child, self.port).await, "mosquitto did not start again");
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(dir: &Path, port: u16, more: &str) -> Child {
    let conf = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {}/\n\
         user {}\n{more}\n",
        dir.display(),
        std::env::var("USER").unwrap_or_else(|_| "root".to_owned()),
    );
    let file = dir.join("mosquitto.conf");
    std::fs::write(&file, conf).expect("the folder is writable");
    let paths = "/usr/local/sbin:/usr/sbin:/sbin";
    let path = std::env::var("PATH").map_or_else(|_| paths.to_owned(), |p| format!("{p}:{paths}"));
    Command::new("mosquitto")
        .arg("-c")
        .arg(&file)
        .env("PATH", path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the Debian package `mosquitto` is installed")
}

async fn listens(child: &mut Child, port: u16) -> bool {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if child.try_wait().expect("a child can be asked").is_some() {
            return false;
        }
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

/// Publishes with QoS 1 and returns when the broker has acknowledged all.
pub async fn publish(port: u16, messages: impl IntoIterator<Item = (String, String)>) {
    let messages: Vec<_> = messages.into_iter().collect();
    let count = messages.len();
    let mut options =
        MqttOptions::new(format!("test-publisher-{:x}", rand::random::<u32>()), "127.0.0.1", port);
    options.set_inflight(100).set_max_packet_size(8 << 20, 8 << 20);
    let (client, mut events) = AsyncClient::new(options, 100);
    let sender = tokio::spawn(async move {
        for (topic, payload) in messages {
            client.publish(topic, QoS::AtLeastOnce, false, payload).await.expect("the event loop is polled");
        }
        client
    });
    let acknowledged = async {
        let mut acked = 0;
        while acked < count {
            if let Event::Incoming(Packet::PubAck(_)) = events.poll().await.expect("the broker is there") {
                acked += 1;
            }
        }
    };
    patiently("the broker to take what is published", acknowledged).await;
    sender.await.expect("the sender does not panic");
}
