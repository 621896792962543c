//! The same binary and another configuration: through Mosquitto into real Kafka, with a broker that goes away meanwhile.

use crate::stand::*;
use std::time::Duration;
use tests::webhook::Webhook;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn through_mosquitto_into_kafka_while_one_of_three_brokers_dies() {
    let Some(file) = longwall() else { return };
    let mut kafka = tests::kafka::start(3);
    let (broker, webhook) = (tests::mosquitto::start(), Webhook::start().await);
    let options = over_mqtt(&broker.url, start());
    let source = options.source_toml("longwall", &file, ([127, 0, 0, 1], 0).into(), Duration::ZERO).unwrap();
    let brokers: Vec<String> = kafka.bootstrap.split(',').map(|b| format!("\"{b}\"")).collect();
    let log = format!(
        "kind = \"kafka\"\npartitions = 2\nkafka = {{ brokers = [{}], topic = \"mine\" }}",
        brokers.join(", ")
    );
    let made = stream::KafkaOptions {
        brokers: kafka.bootstrap.clone(),
        topic: "mine".to_owned(),
        partitions: 2,
        ..stream::KafkaOptions::default()
    };
    stream::create_topics(&made, &stream::TopicOptions::default()).await.unwrap();
    let mut firedamp = prepare(&config(&log, &source, &webhook));
    firedamp.start().await;
    let played =
        tokio::spawn(async move { simulator::replay(&file, &options, CancellationToken::new()).await });
    kafka.kill9(2);
    firedamp.kill9();
    firedamp.start().await;
    let report = played.await.unwrap().unwrap();
    assert!(report.complete, "{report:?}");
    settled(&firedamp, ROWS * 4).await;
    assert_longwall(&firedamp).await;
    assert_told(&webhook).await;
    firedamp.stop();
}
