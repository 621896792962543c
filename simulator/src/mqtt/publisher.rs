//! A gateway's connection to a broker: publishes at QoS 1, in order, and keeps each message until it is acknowledged.
//!
//! What was not acknowledged when the link broke is sent again, in order and marked as a repetition, over the next
//! connection, whether or not the broker remembers the session: nothing that [`Publisher::send`] took is lost while the
//! publisher lives, and what comes twice carries the same bytes. The queue before it is bounded, so a broker that is away
//! holds the sender back. Reconnects with back-off and jitter.

use super::wire::{self, FromBroker, PublishFrame};
use crate::world::noise::{mix, unit};
use anyhow::{Context, anyhow, bail};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

/// Messages that wait before the window.
const QUEUE: usize = 256;
/// Largest window: acknowledgements of a whole window (4 bytes each) fit any socket buffer, so writing cannot wait for
/// reading.
const WINDOW_MAX: usize = 4096;
/// Bytes gathered before they are written.
const GATHER: usize = 64 * 1024;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How to connect.
#[derive(Clone, PartialEq, Debug)]
pub struct PublisherOptions {
    /// `mqtt://[user:password@]host[:port]`.
    pub url: String,
    /// Client id; two clients of a broker may not share one.
    pub client: String,
    /// Unacknowledged messages under way at a time, 1 to 4096.
    pub window: usize,
}

/// One message; cheap to clone.
#[derive(Clone, PartialEq, Debug)]
pub struct Message {
    /// Topic without wildcards.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
}

/// How far a publisher has come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Messages taken out of the queue.
    pub taken: u64,
    /// Of those, acknowledged by the broker.
    pub acknowledged: u64,
    /// Frames sent again after a lost link.
    pub repeated: u64,
    /// Connections made.
    pub connections: u64,
    /// Whether there is one now.
    pub up: bool,
    /// Why there was none last; empty before the first failure.
    pub trouble: String,
}

/// A publisher at work.
#[derive(Debug)]
pub struct Publisher {
    queue: mpsc::Sender<PublishFrame>,
    progress: watch::Receiver<Progress>,
    link: watch::Sender<bool>,
    sent: u64,
    /// Dropping the publisher stops it too.
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl Publisher {
    /// Connects in the background.
    ///
    /// # Errors
    /// When the address is none that can be connected to; a broker that is away is no error.
    pub fn start(options: PublisherOptions, stop: CancellationToken) -> anyhow::Result<Self> {
        let target = Target::parse(&options.url)?;
        let stop = stop.child_token();
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (tell, progress) = watch::channel(Progress::default());
        let (link, linked) = watch::channel(true);
        let jitter = options.client.bytes().fold(0, |h, b| mix(h, u64::from(b)));
        let session = Session {
            target,
            client: options.client,
            window: options.window.clamp(1, WINDOW_MAX),
            waiting,
            under_way: VecDeque::new(),
            next_id: 0,
            tell,
            link: linked,
            jitter,
            stop: stop.clone(),
        };
        let task = tokio::spawn(session.run());
        Ok(Self { queue, progress, link, sent: 0, stop: stop.drop_guard(), task })
    }

    /// Queues a message; waits while the queue is full.
    ///
    /// # Errors
    /// When topic or payload cannot be sent, or the publisher was stopped.
    pub async fn send(&mut self, message: &Message) -> anyhow::Result<()> {
        let frame = frame(message)?;
        self.queue.send(frame).await.map_err(|_| anyhow!("the publisher was stopped"))?;
        self.sent += 1;
        Ok(())
    }

    /// Queues a message if there is room; `false` when there is none.
    ///
    /// # Errors
    /// As [`Publisher::send`].
    pub fn offer(&mut self, message: &Message) -> anyhow::Result<bool> {
        match self.queue.try_reserve() {
            Ok(permit) => {
                permit.send(frame(message)?);
                self.sent += 1;
                Ok(true)
            }
            Err(mpsc::error::TrySendError::Full(())) => Ok(false),
            Err(mpsc::error::TrySendError::Closed(())) => bail!("the publisher was stopped"),
        }
    }

    /// Takes the link away, or gives it back. Nothing is lost by it: what is under way is sent again afterwards.
    pub fn set_link(&self, up: bool) {
        self.link.send_if_modified(|now| std::mem::replace(now, up) != up);
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Waits until everything sent is acknowledged.
    ///
    /// # Errors
    /// When the publisher is stopped before.
    pub async fn settled(&self) -> anyhow::Result<()> {
        let mut progress = self.progress.clone();
        let sent = self.sent;
        progress
            .wait_for(|p| p.acknowledged >= sent)
            .await
            .map(drop)
            .map_err(|_| anyhow!("the publisher was stopped"))
    }

    /// Disconnects; what is not acknowledged is given up, and the progress says how much that is.
    pub async fn stop(self) -> Progress {
        drop(self.stop);
        if let Err(e) = self.task.await {
            tracing::error!("an MQTT publisher ended badly: {e}");
        }
        let mut last = self.progress.borrow().clone();
        last.up = false;
        last
    }
}

fn frame(message: &Message) -> anyhow::Result<PublishFrame> {
    PublishFrame::new(&message.topic, &message.payload).with_context(|| {
        format!("topic `{}` cannot be published to: no wildcards, not empty, not too long", message.topic)
    })
}

#[derive(Debug)]
struct Target {
    host: String,
    port: u16,
    login: Option<(String, String)>,
}

impl Target {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let url = Url::parse(text).with_context(|| format!("broker `{text}`: write mqtt://host:port"))?;
        if !matches!(url.scheme(), "mqtt" | "tcp") {
            bail!("broker `{text}`: the simulator speaks plain MQTT only; write mqtt://host:port");
        }
        let host = url.host_str().with_context(|| format!("broker `{text}` has no host"))?.to_owned();
        let login = (!url.username().is_empty())
            .then(|| (url.username().to_owned(), url.password().unwrap_or_default().to_owned()));
        Ok(Self { host, port: url.port().unwrap_or(1883), login })
    }
}

struct Session {
    target: Target,
    client: String,
    window: usize,
    waiting: mpsc::Receiver<PublishFrame>,
    /// Sent and not acknowledged, oldest first.
    under_way: VecDeque<PublishFrame>,
    next_id: u16,
    tell: watch::Sender<Progress>,
    link: watch::Receiver<bool>,
    /// Seed of the jitter, of the client's name: gateways that lost one broker come back at different moments.
    jitter: u64,
    stop: CancellationToken,
}

impl Session {
    async fn run(mut self) {
        let mut failures = 0u32;
        while !self.stop.is_cancelled() {
            let stop = self.stop.clone();
            let connected = tokio::select! {
                () = stop.cancelled() => return,
                connected = self.linked_connect() => connected,
            };
            let why = match connected {
                Ok(stream) => {
                    failures = 0;
                    let gave_up = async {
                        stop.cancelled().await;
                        tokio::time::sleep(GOODBYE_WITHIN).await;
                    };
                    // A broker that does not read must not keep the publisher from ending.
                    tokio::select! {
                        talked = self.talk(stream) => match talked {
                            Ok(()) => return,
                            Err(e) => e,
                        },
                        () = gave_up => return,
                    }
                }
                Err(e) => e,
            };
            tracing::debug!(client = self.client, "MQTT link: {why:#}");
            self.tell.send_modify(|p| {
                p.up = false;
                p.trouble = format!("{why:#}");
            });
            let most = BACK_OFF.0.saturating_mul(1 << failures.min(10)).min(BACK_OFF.1);
            let share = 0.5 + 0.5 * unit(self.jitter, u64::from(failures));
            failures += 1;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(most.mul_f64(share)) => {}
            }
        }
    }

    async fn linked_connect(&mut self) -> anyhow::Result<TcpStream> {
        self.link.wait_for(|up| *up).await.map(drop).context("the publisher was dropped")?;
        self.connect().await
    }

    async fn connect(&self) -> anyhow::Result<TcpStream> {
        let hello = async {
            let mut stream = TcpStream::connect((self.target.host.as_str(), self.target.port)).await?;
            stream.set_nodelay(true)?;
            let login = self.target.login.as_ref().map(|(u, p)| (u.as_str(), p.as_str()));
            stream.write_all(&wire::connect(&self.client, KEEP_ALIVE.as_secs() as u16 * 2, login)).await?;
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).await?;
            match wire::parse(&answer) {
                Ok(Some((FromBroker::Connected(0), _))) => Ok(stream),
                Ok(Some((FromBroker::Connected(code), _))) => bail!("the broker refused: return code {code}"),
                other => bail!("the broker answered {other:?} to a connect"),
            }
        };
        timeout(CONNECT_WITHIN, hello).await.context("no answer from the broker")?
    }

    /// Until stopped (`Ok`) or the link fails.
    async fn talk(&mut self, mut stream: TcpStream) -> anyhow::Result<()> {
        self.tell.send_modify(|p| {
            p.connections += 1;
            p.up = true;
        });
        let (mut read, mut write) = stream.split();
        for frame in &mut self.under_way {
            frame.again();
            write.write_all(frame.bytes()).await?;
        }
        let repeated = self.under_way.len() as u64;
        self.tell.send_modify(|p| p.repeated += repeated);
        let (mut input, mut output) = (Vec::new(), Vec::with_capacity(GATHER * 2));
        let mut link = self.link.clone();
        let (mut heard, mut ping_at) = (Instant::now(), Instant::now() + KEEP_ALIVE);
        loop {
            tokio::select! {
                biased; // acknowledgements free the window before new messages take it
                () = self.stop.cancelled() => {
                    write.write_all(&wire::DISCONNECT).await?;
                    return Ok(());
                }
                () = down(&mut link) => bail!("the link is down, as told"),
                got = read.read_buf(&mut input) => {
                    if got? == 0 {
                        bail!("the broker closed the connection");
                    }
                    heard = Instant::now();
                    self.acknowledge(&mut input)?;
                }
                () = tokio::time::sleep_until(ping_at) => {
                    if heard.elapsed() > 3 * KEEP_ALIVE {
                        bail!("the broker was silent for {:?}", heard.elapsed());
                    }
                    write.write_all(&wire::PING).await?;
                    ping_at = Instant::now() + KEEP_ALIVE;
                }
                first = self.waiting.recv(), if self.under_way.len() < self.window => {
                    // The publisher was dropped, which stops this too.
                    let Some(first) = first else {
                        self.stop.cancelled().await;
                        continue;
                    };
                    self.gather(first, &mut output);
                    write.write_all(&output).await?;
                    output.clear();
                }
            }
        }
    }

    fn gather(&mut self, first: PublishFrame, output: &mut Vec<u8>) {
        let mut taken = 0;
        let mut next = Some(first);
        while let Some(mut frame) = next {
            // Ids go round; one still under way is far older than the window allows.
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            frame.number(self.next_id);
            output.extend_from_slice(frame.bytes());
            self.under_way.push_back(frame);
            taken += 1;
            let room = self.under_way.len() < self.window && output.len() < GATHER;
            next = if room { self.waiting.try_recv().ok() } else { None };
        }
        self.tell.send_modify(|p| p.taken += taken);
    }

    fn acknowledge(&mut self, input: &mut Vec<u8>) -> anyhow::Result<()> {
        let (mut at, mut acknowledged) = (0, 0);
        while let Some((packet, length)) = wire::parse(&input[at..]).map_err(|e| anyhow!(e))? {
            at += length;
            if let FromBroker::Ack(id) = packet {
                // Brokers acknowledge in order, so it is nearly always the first.
                match self.under_way.iter().position(|f| f.id() == id) {
                    Some(i) => {
                        self.under_way.remove(i);
                        acknowledged += 1;
                    }
                    None => bail!("the broker acknowledged packet {id}, which is not under way"),
                }
            }
        }
        input.drain(..at);
        if acknowledged > 0 {
            self.tell.send_modify(|p| p.acknowledged += acknowledged);
        }
        Ok(())
    }
}

/// Until the link is taken away.
async fn down(link: &mut watch::Receiver<bool>) {
    // The sender lives as long as the publisher; without it the end of the queue is what ends the session.
    if link.wait_for(|up| !*up).await.is_err() {
        std::future::pending::<()>().await;
    }
}
