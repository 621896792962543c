//! The task that keeps the connection of one receiver: connects, hands messages over, and answers each with what the broker said. When the
//! connection breaks all that is under way on it is to be tried again.
//!
//! ```text
//! connect -> | message -> handed -> sent under a packet id -> answered |  -> lost -> all answered: try again -> pause -> connect
//! ```
//! - **The event loop is always polled**, with or without messages, so that the broker is pinged and the connection kept.
//! - **A message that is not answered in time gives the connection up**: a broker that hangs is only found so, and rumqttc would keep
//!   the message and could still send it later.
//! - While the broker is away attempts come with back-off; a message ends the pause, since the dispatcher has back-off of its own. An
//!   attempt that fails answers all that wait.

use super::MqttSettings;
use super::connection::{Connection, Event, Job, packet_len};
use crate::notifiers::SendError;
use rand::Rng;
use rustls::ClientConfig;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// First and longest pause between attempts to connect.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// A connection that lived so long was a good one: the next attempt comes after the shortest pause.
const GOOD_CONNECTION: Duration = Duration::from_secs(10);
/// How long the goodbye may take at the end.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Why a connection ended.
enum End {
    /// It broke or was given up.
    Lost(String),
    /// Nobody will send any more.
    Closed,
}

pub(super) struct Link {
    settings: Arc<MqttSettings>,
    tls: Option<Arc<ClientConfig>>,
    jobs: mpsc::Receiver<Job>,
    /// Not yet handed over: there is no connection.
    waiting: VecDeque<Job>,
    /// Handed over, oldest first, and not yet sent.
    handed: VecDeque<Job>,
    /// Sent, by packet id.
    sent: HashMap<u16, Job>,
    /// The present connection, once the broker accepted: when, and the largest packet that it takes.
    accepted: Option<(Instant, Option<u32>)>,
}

impl Link {
    pub(super) fn new(
        settings: Arc<MqttSettings>,
        tls: Option<Arc<ClientConfig>>,
        jobs: mpsc::Receiver<Job>,
    ) -> Self {
        let (waiting, handed, sent) = (VecDeque::new(), VecDeque::new(), HashMap::new());
        Self { settings, tls, jobs, waiting, handed, sent, accepted: None }
    }

    /// Runs until nobody can send any more.
    pub(super) async fn run(mut self) {
        let mut pause = PAUSE.0;
        while let End::Lost(why) = self.serve().await {
            let shown = &self.settings.broker;
            let what = match self.accepted.take() {
                Some((since, _)) => {
                    if since.elapsed() >= GOOD_CONNECTION {
                        pause = PAUSE.0;
                    }
                    format!("connection to {shown} lost: {why}")
                }
                None => format!("no connection to {shown}: {why}"),
            };
            tracing::warn!("{what}");
            let under_way = self.sent.drain().map(|(_, job)| job);
            for job in under_way.chain(self.handed.drain(..)).chain(self.waiting.drain(..)) {
                job.settle(Err(SendError::Retry(what.clone())));
            }
            // Between half and the whole: receivers that lost their broker together do not come back together.
            let shorter = rand::rng().random_range(pause / 2..=pause);
            pause = (pause * 2).min(PAUSE.1);
            tokio::select! {
                () = tokio::time::sleep(shorter) => {}
                job = self.jobs.recv() => match job {
                    Some(job) => self.waiting.push_back(job),
                    None => return,
                },
            }
        }
    }

    /// One connection, from its attempt to its end.
    async fn serve(&mut self) -> End {
        let mut connection = Connection::open(&self.settings, self.tls.as_ref());
        loop {
            let until = self.until();
            tokio::select! {
                biased; // an answer that is there counts, also where its time is up
                event = connection.next() => {
                    if let Err(why) = event.and_then(|event| self.event(event, &connection)) {
                        return End::Lost(why);
                    }
                }
                () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    return End::Lost(format!("no answer within {:?}", self.settings.timeout));
                }
                job = self.jobs.recv() => match job {
                    Some(job) => {
                        self.waiting.push_back(job);
                        if let Err(why) = self.hand_over(&connection) {
                            return End::Lost(why);
                        }
                    }
                    None => {
                        if self.accepted.is_some() {
                            connection.close(CLOSE_WITHIN).await;
                        }
                        return End::Closed;
                    }
                },
            }
        }
    }

    /// When the first of all that is under way must be answered.
    fn until(&self) -> Option<Instant> {
        let all = self.waiting.iter().chain(&self.handed).chain(self.sent.values());
        all.map(|job| job.until).min()
    }

    fn event(&mut self, event: Event, connection: &Connection) -> Result<(), String> {
        match event {
            Event::Connected { qos_max: 0, .. } => {
                return Err("the broker takes no messages of QoS 1".to_owned());
            }
            Event::Connected { packet_len_max, .. } => {
                self.accepted = Some((Instant::now(), packet_len_max));
                self.hand_over(connection)?;
            }
            // rumqttc sends in the order in which messages were handed over.
            Event::Sent(id) => {
                if let Some(job) = self.handed.pop_front() {
                    self.sent.insert(id, job);
                }
            }
            Event::Answered(id, answer) => {
                if let Some(job) = self.sent.remove(&id) {
                    job.settle(answer);
                }
            }
            Event::Other => {}
        }
        Ok(())
    }

    /// Hands over what waits, once there is a connection.
    fn hand_over(&mut self, connection: &Connection) -> Result<(), String> {
        let Some((_, packet_len_max)) = self.accepted else { return Ok(()) };
        while let Some(job) = self.waiting.pop_front() {
            // rumqttc would give up the connection for it, with all else that is under way.
            if let Some(max) = packet_len_max
                && packet_len(&job) > max as usize
            {
                let len = packet_len(&job);
                let text = format!("the message has {len} bytes, and the broker takes {max} at most");
                job.settle(Err(SendError::Refused(text)));
                continue;
            }
            let handed = connection.publish(&job);
            self.handed.push_back(job);
            handed?;
        }
        Ok(())
    }
}
