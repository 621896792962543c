//! What the tests share: an MQTT subscriber of another make, a Modbus client of raw bytes, a world to start.

use model::SystemClock;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::Value;
use simulator::{Plan, Running, Scenario, StartOptions};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Nothing that works takes this long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A plan of `mines` mines and nothing else.
pub fn mines(mines: usize, scenario: Scenario) -> Plan {
    Plan { mines, plants: 0, scenario, period: Duration::from_millis(50), ..Plan::default() }
}

pub fn options(broker: Option<String>) -> StartOptions {
    StartOptions { broker, modbus: true, mqtt: true, files: None, clock: Arc::new(SystemClock) }
}

pub async fn start(plan: &Plan, options: StartOptions) -> Running {
    simulator::start(plan, options, CancellationToken::new()).await.unwrap()
}

pub fn with_files(dir: PathBuf) -> StartOptions {
    StartOptions { files: Some(dir), ..options(None) }
}

/// Messages of a broker.
pub struct Subscriber {
    messages: mpsc::Receiver<(String, Value)>,
    task: tokio::task::JoinHandle<()>,
}

impl Subscriber {
    /// Subscribes and waits until the broker says so.
    pub async fn to(url: &str, filter: &str) -> Self {
        let addr: SocketAddr = url.strip_prefix("mqtt://").unwrap().parse().unwrap();
        let mut options = MqttOptions::new("subscriber", addr.ip().to_string(), addr.port());
        options.set_max_packet_size(4 << 20, 4 << 20);
        let (client, mut events) = AsyncClient::new(options, 10);
        client.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
        let (tell, messages) = mpsc::channel(100_000);
        let (ready, subscribed) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let _client = client; // without it the event loop ends
            let mut ready = Some(ready);
            while let Ok(event) = events.poll().await {
                match event {
                    Event::Incoming(Packet::SubAck(_)) => drop(ready.take().map(|r| r.send(()))),
                    Event::Incoming(Packet::Publish(p)) => {
                        let body = serde_json::from_slice(&p.payload).expect("JSON");
                        if tell.send((p.topic, body)).await.is_err() {
                            return;
                        }
                    }
                    _ => {}
                }
            }
        });
        timeout(PATIENCE, subscribed).await.unwrap().unwrap();
        Self { messages, task }
    }

    pub async fn next(&mut self) -> (String, Value) {
        timeout(PATIENCE, self.messages.recv()).await.expect("a message").expect("a broker")
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A Modbus client that only knows bytes.
pub struct Raw {
    pub stream: TcpStream,
    transaction: u16,
}

impl Raw {
    pub async fn to(addr: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(addr).await.unwrap(), transaction: 0x1000 }
    }

    /// Sends a PDU; the answer's transaction id (as distance to the request's), unit and PDU; `None` when closed.
    pub async fn ask(&mut self, unit: u8, pdu: &[u8]) -> Option<(u16, u8, Vec<u8>)> {
        self.transaction += 1;
        let mut frame = self.transaction.to_be_bytes().to_vec();
        frame.extend([0, 0]);
        frame.extend((pdu.len() as u16 + 1).to_be_bytes());
        frame.push(unit);
        frame.extend(pdu);
        self.stream.write_all(&frame).await.ok()?;
        let mut head = [0; 7];
        timeout(PATIENCE, self.stream.read_exact(&mut head)).await.expect("an answer or an end").ok()?;
        assert_eq!(head[2..4], [0, 0]);
        let mut pdu = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]])) - 1];
        self.stream.read_exact(&mut pdu).await.ok()?;
        Some((u16::from_be_bytes([head[0], head[1]]).wrapping_sub(self.transaction), head[6], pdu))
    }

    /// Registers by function 3 or 4; the exception code where it is one.
    pub async fn registers(
        &mut self,
        unit: u8,
        function: u8,
        address: u16,
        count: u16,
    ) -> Result<Vec<u16>, u8> {
        let [a, b] = address.to_be_bytes();
        let [c, d] = count.to_be_bytes();
        let (distance, from, pdu) = self.ask(unit, &[function, a, b, c, d]).await.expect("an answer");
        assert_eq!((distance, from), (0, unit));
        if pdu[0] == function | 0x80 {
            return Err(pdu[1]);
        }
        assert_eq!((pdu[0], usize::from(pdu[1])), (function, pdu.len() - 2));
        Ok(pdu[2..].chunks(2).map(|w| u16::from_be_bytes([w[0], w[1]])).collect())
    }
}
