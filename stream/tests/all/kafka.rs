//! The log in Apache Kafka: the conformance suite on one broker and on three, and what happens when brokers die.

use async_trait::async_trait;
use model::Stream;
use prometheus::Registry;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stream::conformance::{self, Maker, PARTITIONS, read_all, records};
use stream::{Append, KafkaLog, KafkaOptions, Log, LogError, TopicOptions, create_topics};

pub fn options(bootstrap: &str, topic: &str) -> KafkaOptions {
    KafkaOptions {
        brokers: bootstrap.to_owned(),
        topic: topic.to_owned(),
        partitions: PARTITIONS,
        ..KafkaOptions::default()
    }
}

/// One broker, or three of which two must have a record.
pub fn topic_options(brokers: usize) -> TopicOptions {
    let (replication, min_in_sync_replicas) = if brokers >= 3 { (3, 2) } else { (1, 1) };
    TopicOptions { replication, min_in_sync_replicas, ..TopicOptions::default() }
}

pub async fn open(options: KafkaOptions) -> KafkaLog {
    KafkaLog::open(options, &Registry::new()).await.unwrap()
}

struct Kafka {
    bootstrap: String,
    brokers: usize,
    /// Bytes of memory for the newest records: with none, every read goes to the brokers.
    cache: usize,
}

#[async_trait]
impl Maker for Kafka {
    async fn open(&self, name: &str) -> Arc<dyn Log> {
        let options =
            KafkaOptions { cache: self.cache, ..options(&self.bootstrap, &format!("{name}-{}", self.cache)) };
        create_topics(&options, &topic_options(self.brokers)).await.unwrap();
        Arc::new(open(options).await)
    }

    async fn expire(&self, name: &str) {
        let topic = format!("{name}-{}", self.cache);
        let admin: AdminClient<DefaultClientContext> = config(&self.bootstrap).create().unwrap();
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS as i32 {
            all.add_partition_offset(&topic, partition, Offset::End).unwrap();
        }
        admin.delete_records(&all, &AdminOptions::new()).await.unwrap();
    }
}

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}

/// One broker serves these tests one after the other: a broker takes seconds to start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_broker() {
    let kafka = tests::kafka::start(1);
    for cache in [64 << 20, 0] {
        let maker = Kafka { bootstrap: kafka.bootstrap.clone(), brokers: 1, cache };
        conformance::suite(&maker).await;
    }
    doubtful_topics_are_told_and_wrong_ones_refused(&kafka.bootstrap).await;
    positions_are_what_kafkas_tools_show(&kafka.bootstrap).await;
    a_lagging_reader_and_one_at_the_end_read_the_same(&kafka.bootstrap).await;
    what_others_write_is_set_aside_and_comes_through(&kafka.bootstrap).await;
    fixed_settings_are_refused(&kafka.bootstrap).await;
}

async fn doubtful_topics_are_told_and_wrong_ones_refused(bootstrap: &str) {
    let open = async |options: KafkaOptions| KafkaLog::open(options, &Registry::new()).await;
    let missing = open(options(bootstrap, "missing")).await.unwrap_err();
    assert!(matches!(&missing, LogError::Broken(why) if why.contains("no topic missing")), "{missing}");

    let few = options(bootstrap, "few");
    create_topics(&few, &topic_options(1)).await.unwrap();
    let more = open(KafkaOptions { partitions: PARTITIONS + 1, ..few.clone() }).await.unwrap_err();
    assert!(matches!(&more, LogError::Broken(why) if why.contains("has 3 partitions")), "{more}");

    let log = open(few).await.unwrap();
    assert!(log.warnings().iter().any(|w| w.contains("single broker")), "{:?}", log.warnings());

    use rdkafka::admin::{NewTopic, TopicReplication};
    let admin: AdminClient<DefaultClientContext> = config(bootstrap).create().unwrap();
    let new = ["sender", "sender.transitions"]
        .map(|n| NewTopic::new(n, PARTITIONS as i32, TopicReplication::Fixed(1)));
    admin.create_topics(&new, &AdminOptions::new()).await.unwrap();
    let sender = open(options(bootstrap, "sender")).await.unwrap_err();
    assert!(matches!(&sender, LogError::Broken(why) if why.contains("LogAppendTime")), "{sender}");
}

async fn positions_are_what_kafkas_tools_show(bootstrap: &str) {
    let options = options(bootstrap, "positions-shown");
    create_topics(&options, &topic_options(1)).await.unwrap();
    let log = open(options).await;
    log.append(Stream::Readings, 1, records(&["a", "b", "c"])).await.unwrap();
    log.save_position("rules", Stream::Readings, 1, 2).await.unwrap();
    let group: BaseConsumer = config(bootstrap).set("group.id", "positions-shown-rules").create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition("positions-shown", 1);
    let committed =
        tokio::task::spawn_blocking(move || group.committed_offsets(list, Duration::from_secs(20)));
    let committed = committed.await.unwrap().unwrap();
    assert_eq!(
        committed.find_partition("positions-shown", 1).unwrap().offset(),
        Offset::Offset(2),
        "not one more"
    );
}

async fn a_lagging_reader_and_one_at_the_end_read_the_same(bootstrap: &str) {
    let options = KafkaOptions { cache: 300_000, ..options(bootstrap, "lag") };
    create_topics(&options, &topic_options(1)).await.unwrap();
    let log = Arc::new(open(options).await);
    let at_the_end = tokio::spawn({
        let log = log.clone();
        async move {
            let mut entries = Vec::new();
            while entries.len() < 600 {
                log.wait(Stream::Readings, 0, entries.len() as u64).await.unwrap();
                let more = log.read(Stream::Readings, 0, entries.len() as u64, 100_000).await.unwrap();
                entries.extend(more);
            }
            entries
        }
    });
    for n in 0..60u8 {
        let batch = vec![Append { bytes: vec![n; 5000].into(), origin: None }; 10];
        log.append(Stream::Readings, 0, batch).await.unwrap();
    }
    let followed =
        tokio::time::timeout(Duration::from_secs(60), at_the_end).await.expect("it comes").unwrap();
    let again = read_all(&*log, Stream::Readings, 0, 0).await;
    assert!(followed == again, "{} and {} entries", followed.len(), again.len());
    // Two that lag read side by side, each where it is.
    let (mut a, mut b) = (0, 300);
    while b < 500 {
        for at in [&mut a, &mut b] {
            let entries = log.read(Stream::Readings, 0, *at, 50_000).await.unwrap();
            assert_eq!(entries[0], again[*at as usize]);
            *at += entries.len() as u64;
        }
    }
}

async fn what_others_write_is_set_aside_and_comes_through(bootstrap: &str) {
    let options = options(bootstrap, "foreign");
    create_topics(&options, &topic_options(1)).await.unwrap();
    let log = open(options).await;
    log.bounds(Stream::Readings, 0).await.unwrap();
    let producer: FutureProducer = config(bootstrap).create().unwrap();
    let record = FutureRecord::<(), str>::to("foreign").partition(0).payload("not ours");
    producer.send(record, Duration::from_secs(20)).await.unwrap();
    log.wait(Stream::Readings, 0, 0).await.unwrap();
    let entry = log.read(Stream::Readings, 0, 0, 100).await.unwrap().remove(0);
    assert_eq!((entry.origin.collector, &entry.bytes[..]), (0, &b"not ours"[..]));
    assert!(entry.decode().is_err());
}

async fn fixed_settings_are_refused(bootstrap: &str) {
    let settings = BTreeMap::from([("acks".to_owned(), "1".to_owned())]);
    let refused =
        KafkaLog::open(KafkaOptions { settings, ..options(bootstrap, "x") }, &Registry::new()).await;
    assert!(matches!(refused, Err(LogError::Broken(why)) if why.contains("`acks`")));
}

#[tokio::test]
async fn a_log_opens_while_no_broker_is_there() {
    let port = tests::free_port();
    let timeout = Duration::from_millis(500);
    let log = open(KafkaOptions { timeout, ..options(&format!("127.0.0.1:{port}"), "away") }).await;
    let refused = log.append(Stream::Readings, 0, records(&["a"])).await;
    assert!(matches!(refused, Err(LogError::Unavailable(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_three_brokers_that_die() {
    let mut kafka = tests::kafka::start(3);
    let maker = Kafka { bootstrap: kafka.bootstrap.clone(), brokers: 3, cache: 64 << 20 };
    conformance::suite(&maker).await;

    let options = KafkaOptions { timeout: Duration::from_secs(20), ..options(&kafka.bootstrap, "dying") };
    create_topics(&options, &topic_options(3)).await.unwrap();
    let log = open(options.clone()).await;
    assert_eq!(log.warnings(), &[] as &[String], "three brokers leave nothing to doubt");
    log.append(Stream::Readings, 0, records(&["three"])).await.unwrap();

    kafka.kill9(0);
    append_until_taken(&log, "two").await;

    kafka.kill9(1);
    let impatient = open(KafkaOptions { timeout: Duration::from_secs(3), ..options }).await;
    let started = Instant::now();
    let refused = impatient.append(Stream::Readings, 0, records(&["one"])).await;
    assert!(matches!(refused, Err(LogError::Unavailable(_))), "{refused:?}");
    assert!(started.elapsed() < Duration::from_secs(15), "it does not wait for ever");

    kafka.start_again(0);
    kafka.start_again(1);
    append_until_taken(&log, "again").await;
    let entries = read_all(&log, Stream::Readings, 0, 0).await;
    let texts: Vec<_> = entries.iter().map(|e| String::from_utf8_lossy(&e.bytes).into_owned()).collect();
    for text in ["three", "two", "again"] {
        assert!(texts.iter().any(|t| t == text), "{text} was acknowledged: {texts:?}");
    }
    crate::forward::from_the_embedded_log_into_kafka_that_fails(&mut kafka).await;
}

/// While a leader is elected an append may be refused; it is taken in the end.
async fn append_until_taken(log: &KafkaLog, text: &str) {
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        match log.append(Stream::Readings, 0, records(&[text])).await {
            Ok(_) => return,
            Err(LogError::Unavailable(why)) => assert!(Instant::now() < until, "never taken: {why}"),
            Err(e) => panic!("{e}"),
        }
    }
}
