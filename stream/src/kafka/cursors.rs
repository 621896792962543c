//! Reading what is not in memory: a consumer for each reader that lags, kept while it goes on where it stopped.

use super::client::{Client, Topics, entry, unavailable};
use super::tail::watermarks;
use crate::LogError;
use model::Entry;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Consumers kept. More readers than that may lag: they take turns, and a consumer that changes its place fetches anew.
const CURSORS_MAX: usize = 32;
/// A consumer nobody went on with is let go after this time.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// See the module.
pub struct Cursors {
    topics: Topics,
    idle: Mutex<Vec<Cursor>>,
}

struct Cursor {
    consumer: Client,
    /// The region and the offset that comes next.
    at: Option<(usize, u64)>,
    /// Polled, but too much for the last read.
    held: Option<Entry>,
    used: Instant,
}

impl std::fmt::Debug for Cursors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cursors")
    }
}

impl Cursors {
    pub fn new(topics: Topics) -> Self {
        Self { topics, idle: Mutex::new(Vec::new()) }
    }

    /// Records of a region from `from` on. Blocks.
    pub fn read(
        &self,
        region: usize,
        from: u64,
        max_bytes: usize,
        timeout: Duration,
    ) -> Result<Vec<Entry>, LogError> {
        let mut cursor = self.take((region, from))?;
        let result = cursor.read(&self.topics, (region, from), max_bytes, timeout);
        if result.is_ok() {
            cursor.used = Instant::now();
            let mut idle = self.idle.lock().expect("no code panics while it holds the cursors");
            idle.push(cursor);
            let spare = if idle.len() > CURSORS_MAX { Some(idle.remove(0)) } else { None };
            drop(idle);
            drop(spare);
        }
        result
    }

    /// The cursor that stopped here, or else the one unused for longest once there are many, or else a new one.
    fn take(&self, at: (usize, u64)) -> Result<Cursor, LogError> {
        let mut idle = self.idle.lock().expect("no code panics while it holds the cursors");
        let found = idle.iter().position(|c| c.at == Some(at));
        let found = found.or_else(|| (idle.len() >= CURSORS_MAX).then_some(0));
        if let Some(i) = found {
            return Ok(idle.remove(i));
        }
        drop(idle);
        let consumer = self.topics.consumer("reader", true)?;
        Ok(Cursor { consumer, at: None, held: None, used: Instant::now() })
    }

    /// Lets go of those nobody went on with.
    pub fn drop_idle(&self) {
        let expired: Vec<Cursor> = {
            let mut idle = self.idle.lock().expect("no code panics while it holds the cursors");
            idle.extract_if(.., |c| c.used.elapsed() > IDLE_MAX).collect()
        };
        if expired.is_empty() {
            return;
        }
        // Ending a consumer waits for its threads: not here, where the end is followed.
        let dropped = std::thread::Builder::new().name("kafka-drop".to_owned()).spawn(move || drop(expired));
        if let Err(e) = dropped {
            tracing::warn!("no thread can be started to end consumers: {e}");
        }
    }
}

impl Cursor {
    fn read(
        &mut self,
        topics: &Topics,
        (region, from): (usize, u64),
        max_bytes: usize,
        timeout: Duration,
    ) -> Result<Vec<Entry>, LogError> {
        let mut goes_on = self.at == Some((region, from));
        if !goes_on {
            self.assign(topics, region, from)?;
        }
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        let deadline = Instant::now() + timeout;
        loop {
            let next = match self.held.take() {
                Some(held) => held,
                None => {
                    // The first may have to come from far; after it, what has come by now.
                    let wait = if entries.is_empty() {
                        deadline.saturating_duration_since(Instant::now())
                    } else {
                        Duration::ZERO
                    };
                    match self.poll(topics, region, from, wait)? {
                        Polled::Entry(entry) => entry,
                        Polled::Nothing if entries.is_empty() => {
                            let why = format!("Kafka sent nothing of offset {from} within {timeout:?}");
                            return Err(LogError::Unavailable(why));
                        }
                        Polled::End if entries.is_empty() && goes_on => {
                            // Said when the last read came to the end; there is more by now.
                            goes_on = false;
                            self.assign(topics, region, from)?;
                            continue;
                        }
                        Polled::Nothing | Polled::End => break,
                    }
                }
            };
            bytes += next.bytes.len();
            if bytes > max_bytes && !entries.is_empty() {
                self.held = Some(next);
                break;
            }
            entries.push(next);
        }
        let next = entries.last().map_or(from, |e| e.offset.number + 1);
        self.at = Some((region, next));
        Ok(entries)
    }

    fn assign(&mut self, topics: &Topics, region: usize, from: u64) -> Result<(), LogError> {
        self.held = None;
        self.consumer.assign(&topics.at(region, from)?).map_err(unavailable)
    }

    fn poll(&self, topics: &Topics, region: usize, from: u64, wait: Duration) -> Result<Polled, LogError> {
        match self.consumer.poll(wait) {
            None => Ok(Polled::Nothing),
            Some(Ok(message)) => Ok(Polled::Entry(entry(&message))),
            Some(Err(KafkaError::PartitionEOF(_))) => Ok(Polled::End),
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => {
                let (low, high) = watermarks(topics, &self.consumer, region)?;
                let first = if from < low { low } else { high };
                let (_, partition) = topics.place(region);
                Err(LogError::Gone { partition: partition as u32, wanted: from, first })
            }
            Some(Err(e)) => Err(unavailable(e)),
        }
    }
}

enum Polled {
    Entry(Entry),
    Nothing,
    End,
}
