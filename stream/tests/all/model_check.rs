//! The embedded log against a simple model: whatever is appended, saved, trimmed and reopened, in any order, the log holds
//! what the model holds from its first offset on, and never lacks what a consumer has not read.

use crate::embedded::options;
use model::{ManualClock, Micros, Stream};
use prometheus::Registry;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;
use stream::conformance::{PARTITIONS, read_all};
use stream::{Append, EmbeddedLog, EmbeddedOptions, Log, LogError};

const CONSUMERS: [&str; 2] = ["a", "b"];
const STREAMS: [Stream; 2] = [Stream::Readings, Stream::Transitions];

#[derive(Clone, Debug)]
enum Step {
    Append {
        stream: usize,
        partition: u32,
        records: usize,
        len: usize,
    },
    /// A consumer reads up to this part of a partition, in percent.
    Save {
        consumer: usize,
        stream: usize,
        partition: u32,
        part: u64,
    },
    /// Everybody reads everything.
    ReadAll,
    /// Removes what is old: all that came before the last `Later`.
    Trim,
    Later,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append = (0..2usize, 0..PARTITIONS, 1..4usize, 1..150_000usize)
        .prop_map(|(stream, partition, records, len)| Step::Append { stream, partition, records, len });
    let save = (0..2usize, 0..2usize, 0..PARTITIONS, 0..=100u64)
        .prop_map(|(consumer, stream, partition, part)| Step::Save { consumer, stream, partition, part });
    let step = prop_oneof![
        12 => append,
        4 => save,
        1 => Just(Step::ReadAll),
        2 => Just(Step::Trim),
        1 => Just(Step::Later),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..120)
}

/// What the log should hold.
#[derive(Default)]
struct Model {
    /// For each stream and partition, the byte and the length of each record.
    records: HashMap<(usize, u32), Vec<(u8, usize)>>,
    positions: HashMap<(usize, usize, u32), u64>,
    old: Micros,
}

impl Model {
    fn next(&self, stream: usize, partition: u32) -> u64 {
        self.records.get(&(stream, partition)).map_or(0, |r| r.len() as u64)
    }

    fn read_by_all(&self, stream: usize, partition: u32) -> u64 {
        let position = |c| self.positions.get(&(c, stream, partition)).copied().unwrap_or(0);
        (0..CONSUMERS.len()).map(position).min().unwrap_or(0)
    }
}

struct World {
    dir: tempfile::TempDir,
    clock: ManualClock,
    log: Option<EmbeddedLog>,
    model: Model,
}

impl World {
    fn log(&self) -> &EmbeddedLog {
        self.log.as_ref().expect("it is open")
    }

    fn open(&mut self) {
        self.log = None;
        // Eight files of 1 MiB, so that files come and go; a cache that holds some of it.
        let options = EmbeddedOptions { retain_size: 8 << 20, cache: 1 << 20, ..options(self.dir.path()) };
        let log = EmbeddedLog::open(options, Arc::new(self.clock.clone()), &Registry::new());
        self.log = Some(log.expect("it opens"));
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Append { stream, partition, records, len } => {
                self.append(stream, partition, records, len).await
            }
            Step::Save { consumer, stream, partition, part } => {
                let next = self.model.next(stream, partition) * part / 100;
                self.save(consumer, stream, partition, next).await;
            }
            Step::ReadAll => {
                for consumer in 0..CONSUMERS.len() {
                    for (stream, partition) in places() {
                        self.save(consumer, stream, partition, self.model.next(stream, partition)).await;
                    }
                }
            }
            Step::Trim => self.log().trim(&CONSUMERS, self.model.old).await.expect("it is trimmed"),
            Step::Later => self.model.old = self.clock.advance(1_000_000),
            Step::Reopen => self.open(),
        }
    }

    async fn append(&mut self, stream: usize, partition: u32, records: usize, len: usize) {
        let next = self.model.next(stream, partition);
        let byte = |i: usize| (next as usize + i) as u8 ^ (partition as u8) << 6;
        let batch = (0..records).map(|i| Append { bytes: vec![byte(i); len].into(), origin: None }).collect();
        match self.log().append(STREAMS[stream], partition, batch).await {
            Ok(first) => {
                assert_eq!(first, next);
                let held = self.model.records.entry((stream, partition)).or_default();
                held.extend((0..records).map(|i| (byte(i), len)));
            }
            // It is refused only for the sake of what somebody has not read, or may not have.
            Err(LogError::Full(why)) => {
                let total: usize = self.model.records.values().flatten().map(|(_, len)| len).sum();
                assert!(total > 4 << 20, "{total} bytes in all and {why}");
            }
            Err(e) => panic!("{e}"),
        }
    }

    async fn save(&mut self, consumer: usize, stream: usize, partition: u32, next: u64) {
        self.log()
            .save_position(CONSUMERS[consumer], STREAMS[stream], partition, next)
            .await
            .expect("it is saved");
        let saved = self.model.positions.entry((consumer, stream, partition)).or_default();
        *saved = next.max(*saved);
    }

    async fn check(&self) {
        for (stream, partition) in places() {
            let bounds = self.log().bounds(STREAMS[stream], partition).await.expect("there are bounds");
            assert_eq!(bounds.next, self.model.next(stream, partition));
            let read = self.model.read_by_all(stream, partition);
            assert!(bounds.first <= read, "offset {} is the first, and {read} is not read", bounds.first);
            let entries = read_all(self.log(), STREAMS[stream], partition, bounds.first).await;
            let held =
                self.model.records.get(&(stream, partition)).map_or(&[][..], |r| &r[bounds.first as usize..]);
            assert_eq!(entries.len(), held.len());
            for (entry, (byte, len)) in entries.iter().zip(held) {
                assert_eq!(
                    entry.origin.sequence, entry.offset.number,
                    "own records alone have dense sequences"
                );
                assert!(entry.bytes.len() == *len && entry.bytes.iter().all(|b| b == byte));
            }
            for (consumer, name) in CONSUMERS.iter().enumerate() {
                let saved = self.log().position(name, STREAMS[stream], partition).await.expect("it is known");
                let expected = self.model.positions.get(&(consumer, stream, partition)).copied();
                assert_eq!(saved.unwrap_or(0), expected.unwrap_or(0));
            }
        }
    }
}

fn places() -> impl Iterator<Item = (usize, u32)> {
    (0..STREAMS.len()).flat_map(|stream| (0..PARTITIONS).map(move |partition| (stream, partition)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_holds_what_the_model_holds(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let dir = tempfile::tempdir().expect("a folder");
            let clock = ManualClock::at(1_000_000_000);
            let mut world = World { dir, clock, log: None, model: Model::default() };
            world.open();
            for step in steps {
                let checked = matches!(step, Step::Trim | Step::Reopen);
                world.step(step).await;
                if checked {
                    world.check().await;
                }
            }
            world.check().await;
            world.open();
            world.check().await;
        });
    }
}
