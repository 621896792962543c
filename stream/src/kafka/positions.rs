//! Positions as committed offsets of group `<topic>-<consumer>`, which Kafka's own tools show.
//!
//! What is committed is the offset to read next. (librdkafka adds one where it commits a message; here offsets are
//! committed, so nothing is added.) Kafka forgets the offsets of a group that nobody commits to for seven days by
//! default (`offsets.retention.minutes`).

use super::client::{Client, Topics, unavailable};
use crate::{LogError, NOT_READ};
use rdkafka::Offset;
use rdkafka::consumer::{CommitMode, Consumer};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// See the module. All calls block.
pub struct Positions {
    topics: Topics,
    timeout: Duration,
    groups: Mutex<BTreeMap<String, Arc<Group>>>,
}

/// The client of one consumer's group.
struct Group {
    client: Client,
    /// What is known to be committed, by region.
    saved: Mutex<BTreeMap<usize, u64>>,
}

impl std::fmt::Debug for Positions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Positions")
    }
}

impl Positions {
    pub fn new(topics: Topics, timeout: Duration) -> Self {
        Self { topics, timeout, groups: Mutex::new(BTreeMap::new()) }
    }

    pub fn save(&self, consumer: &str, region: usize, next: u64) -> Result<(), LogError> {
        let group = self.group(consumer)?;
        // Held over the commit: two that save at once must not commit in the wrong order.
        let mut saved = group.saved.lock().expect("no code panics while it holds the positions");
        if saved.get(&region).is_none() {
            saved.extend(self.committed(&group, region)?.map(|next| (region, next)));
        }
        if saved.get(&region).is_some_and(|saved| *saved >= next) {
            return Ok(());
        }
        if next != NOT_READ {
            // The brokers' retention asks nobody, so a stream that is not read needs no position.
            let list = self.topics.at(region, next)?;
            group.client.commit(&list, CommitMode::Sync).map_err(unavailable)?;
        }
        saved.insert(region, next);
        Ok(())
    }

    pub fn saved(&self, consumer: &str, region: usize) -> Result<Option<u64>, LogError> {
        let group = self.group(consumer)?;
        let mut saved = group.saved.lock().expect("no code panics while it holds the positions");
        if saved.get(&region).is_none() {
            saved.extend(self.committed(&group, region)?.map(|next| (region, next)));
        }
        Ok(saved.get(&region).copied())
    }

    fn committed(&self, group: &Group, region: usize) -> Result<Option<u64>, LogError> {
        let list = self.topics.at(region, 0)?;
        let list = group.client.committed_offsets(list, self.timeout).map_err(unavailable)?;
        let (topic, partition) = self.topics.place(region);
        let Some(found) = list.find_partition(topic, partition) else { return Ok(None) };
        found.error().map_err(unavailable)?;
        match found.offset() {
            Offset::Offset(next) => Ok(u64::try_from(next).ok()),
            _ => Ok(None),
        }
    }

    fn group(&self, consumer: &str) -> Result<Arc<Group>, LogError> {
        let mut groups = self.groups.lock().expect("no code panics while it holds the groups");
        if let Some(group) = groups.get(consumer) {
            return Ok(group.clone());
        }
        let client = self.topics.consumer(consumer, false)?;
        let group = Arc::new(Group { client, saved: Mutex::new(BTreeMap::new()) });
        groups.insert(consumer.to_owned(), group.clone());
        Ok(group)
    }
}
