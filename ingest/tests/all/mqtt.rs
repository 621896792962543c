//! The MQTT source against Mosquitto, and against a scripted broker where the wire itself must be seen.

mod mosquitto;
mod wire;

use ingest::testing::Fixture;
use ingest::{Configured, sources_from_section};
use model::toml_file::TomlFile;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A source that runs until it is told to stop.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(fixture: &Fixture, source: Configured) -> Self {
        let mut context = fixture.context.clone();
        context.info = source.info.clone();
        let stop = CancellationToken::new();
        let task = tokio::spawn(source.source.run(context, stop.clone()));
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        patiently("the source to stop", self.task).await.expect("the source does not panic");
    }
}

/// A source as its section says; `more` holds further keys.
fn source(port: u16, protocol: &str, more: &str) -> Configured {
    let text = format!(
        r#"
[[source]]
name = "test"
kind = "mqtt"
url = "mqtt://127.0.0.1:{port}"
protocol = "{protocol}"
{more}
"#
    );
    configured(&text)
}

fn configured(text: &str) -> Configured {
    let file = TomlFile::parse("test.toml", text);
    let section = file.root().tables("source").pop().expect("the text has a source");
    let source = sources_from_section(&section);
    section.finish();
    let problems = file.into_problems();
    assert!(problems.0.is_empty(), "{problems}");
    source.expect("no problem, so a source")
}

/// One reading a message, on `mine/M1/gas/T1`.
const GAS: &str = r#"
topics = ["mine/+/gas/+"]
map = { site = "{1}", point = "{3}", value = "/v", time = "/t", status = "/q" }
"#;

/// The message with value `n`.
fn reading(n: usize) -> String {
    format!(r#"{{"v":{n},"t":{}}}"#, ingest::testing::NOW / 1000 + n as i64)
}

/// Fails the test, naming what did not come, rather than hang.
async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} for {what}"),
    }
}

/// Waits until the health says what is looked for.
async fn health(fixture: &Fixture, what: &str, good: impl Fn(&ingest::Health) -> bool) {
    let seen = async {
        while !good(&fixture.health()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, seen).await.is_err() {
        panic!("waited {PATIENCE:?} for health to be {what}; it is {:?}", fixture.health());
    }
}

async fn up(fixture: &Fixture) {
    health(fixture, "up", |h| h.up).await;
}

/// All values that the sink took, in order.
fn values(fixture: &Fixture) -> Vec<usize> {
    fixture
        .sink
        .taken()
        .iter()
        .flat_map(|d| d.readings.value.iter().map(|v| *v as usize).collect::<Vec<_>>())
        .collect()
}

/// Publishes with QoS 1 and returns when the broker has acknowledged all.
async fn publish(port: u16, messages: impl IntoIterator<Item = (String, String)>) {
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
