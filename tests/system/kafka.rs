//! The same binary and another configuration: through Mosquitto into real Kafka, with a broker that goes away meanwhile.

use crate::stand::*;
use std::time::Duration;
use tests::kafka::{PASSWORD, Security, USER};
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

/// A cluster that lets only one user in: firedamp reads and writes there, and says what is wrong with a wrong password.
async fn with_a_password(security: Security, protocol: &str) {
    let kafka = tests::kafka::start_secured(security);
    let ca = (security == Security::PasswordInTls).then(|| format!(", ca = \"{}\"", kafka.ca().display()));
    let ca = ca.unwrap_or_default();
    let log = format!(
        "kind = \"kafka\"\npartitions = 2\nkafka = {{ brokers = [\"{}\"], topic = \"mine\", protocol = \"{protocol}\", \
         user = \"{USER}\", password = {{ env = \"KAFKA_PASSWORD\" }}{ca} }}",
        kafka.bootstrap
    );
    let text = pushed().replace("[log]\npartitions = 2\n", &format!("[log]\n{log}\n"));
    let mut made = stream::KafkaOptions {
        brokers: kafka.bootstrap.clone(),
        topic: "mine".to_owned(),
        partitions: 2,
        ..stream::KafkaOptions::default()
    };
    made.settings = [
        ("security.protocol", protocol),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", USER),
        ("sasl.password", PASSWORD),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    if security == Security::PasswordInTls {
        made.settings.insert("ssl.ca.location".to_owned(), kafka.ca().display().to_string());
    }
    let one =
        stream::TopicOptions { replication: 1, min_in_sync_replicas: 1, ..stream::TopicOptions::default() };
    stream::create_topics(&made, &one).await.unwrap();
    let mut firedamp = prepare(&text);
    firedamp.set("KAFKA_PASSWORD", PASSWORD);
    firedamp.start().await;
    let body = r#"[{"site": "LW", "point": "MM31", "time": "TIME", "value": 1.2}]"#;
    let body = body.replace("\"TIME\"", &(model::Clock::now(&model::SystemClock) / 1000).to_string());
    firedamp.post("/api/v1/readings", "application/json", body).await.unwrap();
    tests::wait_for_async("the alarm went through Kafka", Duration::from_secs(60), || async {
        let alarms = firedamp.get("/api/v1/alarms").await.ok()?;
        (of_rule(&alarms, "ch4").len() == 1).then_some(())
    })
    .await;
    firedamp.stop();
    firedamp.set("KAFKA_PASSWORD", "wrong");
    let refused = firedamp.run(&["run", "firedamp.toml"]).unwrap_err().to_string();
    assert!(refused.contains("Authentication failed"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_asks_for_a_password() {
    with_a_password(Security::Password, "sasl_plaintext").await;
}

#[cfg(feature = "kafka-tls")]
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_asks_for_a_password_in_tls() {
    with_a_password(Security::PasswordInTls, "sasl_ssl").await;
}

#[cfg(not(feature = "kafka-tls"))]
#[test]
fn without_the_feature_tls_to_kafka_is_refused_by_name() {
    let text = pushed().replace(
        "[log]\n",
        "[log]\nkind = \"kafka\"\nkafka = { brokers = [\"127.0.0.1:1\"], protocol = \"ssl\", mechanism = \"SCRAM-SHA-256\" }\n",
    );
    let refused = prepare(&text).run(&["check", "firedamp.toml"]).unwrap_err().to_string();
    assert!(refused.contains("built without TLS for Kafka, which `ssl` needs"), "{refused}");
    assert!(
        refused.contains("which `SCRAM-SHA-256` needs") && refused.contains("--features kafka-tls"),
        "{refused}"
    );
}
