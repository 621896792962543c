//! Kafka and a real broker.

use super::{Counterpart, Hopeless, assert_same, below_the_line, episode, large, suite};
use alerts::notifiers::kafka::KafkaSettings;
use alerts::{Message, SendError, Settings};
use async_trait::async_trait;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests::kafka::Kafka;

/// The topic of the suite; another one takes small messages only.
const TOPIC: &str = "alarms";
const SMALL: &str = "small";

fn settings(brokers: &str, topic: &str, timeout: Duration) -> KafkaSettings {
    KafkaSettings { brokers: vec![brokers.to_owned()], topic: topic.to_owned(), access: None, timeout }
}

struct Cluster {
    kafka: Kafka,
    consumer: Arc<BaseConsumer>,
    hopeless: Vec<Hopeless>,
}

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("reconnect.backoff.max.ms", "500");
    config
}

/// The next message of the topic, if it comes in time: its key, its header, its payload.
fn next(consumer: &BaseConsumer, within: Duration) -> Option<(Vec<u8>, String, Vec<u8>)> {
    let until = Instant::now() + within;
    while Instant::now() < until {
        // An error is that of a broker that is away for the moment.
        if let Some(Ok(m)) = consumer.poll(Duration::from_millis(100)) {
            let header = m.headers().and_then(|h| h.iter().find(|h| h.key == "idempotency-key")?.value);
            let key = String::from_utf8(header.unwrap().to_vec()).unwrap();
            return Some((m.key().unwrap().to_vec(), key, m.payload().unwrap().to_vec()));
        }
    }
    None
}

#[async_trait]
impl Counterpart for Cluster {
    fn at(&self, port: u16, timeout: Duration) -> Arc<dyn Settings> {
        Arc::new(settings(&format!("127.0.0.1:{port}"), TOPIC, timeout))
    }

    fn settings(&self) -> Arc<dyn Settings> {
        Arc::new(settings(&self.kafka.bootstrap, TOPIC, Duration::from_secs(5)))
    }

    async fn took(&mut self, messages: &[Message]) {
        let (consumer, n) = (self.consumer.clone(), messages.len());
        let taken = tokio::task::spawn_blocking(move || {
            let taken: Vec<_> = (0..n).map_while(|_| next(&consumer, Duration::from_secs(60))).collect();
            assert!(next(&consumer, Duration::from_millis(200)).is_none(), "no message more");
            taken
        });
        let taken = taken.await.unwrap();
        assert!(taken.iter().all(|(site, ..)| site == b"M1"));
        let taken = taken.into_iter().map(|(_, key, payload)| (key, payload)).collect();
        assert_same(taken, messages, below_the_line);
    }

    async fn stop(&mut self) {
        self.kafka.kill9(0);
    }

    async fn start_again(&mut self) {
        self.kafka.start_again(0);
    }

    fn refused(&mut self) -> Vec<Hopeless> {
        vec![self.hopeless[0].clone()]
    }

    fn mendable(&mut self) -> Vec<Hopeless> {
        vec![self.hopeless[1].clone()]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_keeps_all_promises() {
    let kafka = tests::kafka::start(1);
    let admin: AdminClient<DefaultClientContext> = config(&kafka.bootstrap).create().unwrap();
    let topics = [
        NewTopic::new(TOPIC, 1, TopicReplication::Fixed(1)),
        NewTopic::new(SMALL, 1, TopicReplication::Fixed(1)).set("max.message.bytes", "5000"),
    ];
    for made in admin.create_topics(&topics, &AdminOptions::new()).await.unwrap() {
        made.unwrap();
    }
    let consumer: BaseConsumer = config(&kafka.bootstrap).set("group.id", "bureau").create().unwrap();
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(TOPIC, 0, Offset::Beginning).unwrap();
    consumer.assign(&from).unwrap();
    let of = |topic: &str| -> Arc<dyn Settings> {
        Arc::new(settings(&kafka.bootstrap, topic, Duration::from_secs(5)))
    };
    let too_large = Hopeless { settings: of(SMALL), message: large(&of(SMALL), 6000).await };
    let missing = Hopeless { settings: of("missing"), message: episode(&of("missing")).await.remove(0) };
    let error = missing.settings.connect().unwrap().send(&missing.message).await.unwrap_err();
    assert!(matches!(&error, SendError::Retry(e) if e.contains("`missing`")), "{error:?}");
    // A small one goes into the small topic: it was the size.
    let fits = episode(&of(SMALL)).await.remove(0);
    of(SMALL).connect().unwrap().send(&fits).await.unwrap();
    let hopeless = vec![too_large, missing];
    suite(&mut Cluster { kafka, consumer: Arc::new(consumer), hopeless }).await;
}
