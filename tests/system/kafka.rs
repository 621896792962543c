//! The same binary and another configuration: through Mosquitto into real Kafka, with a broker that goes away meanwhile.

use crate::stand::*;
use std::time::Duration;
use tests::kafka::{Kafka, PASSWORD, Security, USER};
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
/// `keys` are the further ones of its configuration, `made` says the same by librdkafka's names.
async fn with_a_password(keys: &str, made: &stream::KafkaOptions) {
    let log = format!(
        "kind = \"kafka\"\npartitions = 2\nkafka = {{ brokers = [\"{}\"], topic = \"mine\", user = \"{USER}\", \
         password = {{ env = \"KAFKA_PASSWORD\" }}, {keys} }}",
        made.brokers
    );
    let text = pushed().replace("[log]\npartitions = 2\n", &format!("[log]\n{log}\n"));
    stream::create_topics(made, &ONE).await.unwrap();
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
    // Who had waited for brokers would say that the cluster does not tell its id.
    assert!(refused.contains("Kafka does not let this user in"), "{refused}");
    assert!(refused.contains("Authentication failed"), "{refused}");
}

const ONE: stream::TopicOptions = stream::TopicOptions {
    replication: 1,
    min_in_sync_replicas: 1,
    retention: Duration::from_secs(7 * 24 * 3600),
};

fn topics(kafka: &Kafka, settings: &[(&str, &str)]) -> stream::KafkaOptions {
    let user = [("sasl.username", USER), ("sasl.password", PASSWORD)];
    let settings = user.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    stream::KafkaOptions {
        brokers: kafka.bootstrap.clone(),
        topic: "mine".to_owned(),
        partitions: 2,
        settings: settings.collect(),
        ..stream::KafkaOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_asks_for_a_password() {
    let kafka = tests::kafka::start_secured(Security::Password);
    let made = topics(&kafka, &[("security.protocol", "sasl_plaintext"), ("sasl.mechanism", "PLAIN")]);
    with_a_password("protocol = \"sasl_plaintext\"", &made).await;
}

/// Everything that a cluster may ask for: each side shows a certificate, and the password goes by SCRAM.
#[cfg(feature = "kafka-tls")]
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_in_tls_that_asks_for_certificate_and_password() {
    let kafka = tests::kafka::start_secured(Security::ScramInTls);
    let (certificate, key) = kafka.certificate();
    let [ca, certificate, key] = [kafka.ca(), certificate, key].map(|file| file.display().to_string());
    let scram = [("security.protocol", "sasl_ssl"), ("sasl.mechanism", "SCRAM-SHA-512")];
    let shown = [("ssl.certificate.location", certificate.as_str()), ("ssl.key.location", &key)];
    let trusted = [("ssl.ca.location", ca.as_str())];
    // The cluster does ask: without the certificate, and with the other mechanism, nobody is let in.
    let plain = [("sasl.mechanism", "PLAIN")];
    for settings in [[&scram[..], &trusted].concat(), [&scram[..1], &plain, &trusted, &shown].concat()] {
        let short = stream::KafkaOptions { timeout: Duration::from_secs(5), ..topics(&kafka, &settings) };
        let refused = stream::create_topics(&short, &ONE).await;
        assert!(matches!(refused, Err(stream::LogError::Unavailable(_))), "{settings:?}: {refused:?}");
    }
    let keys = format!(
        "protocol = \"sasl_ssl\", mechanism = \"SCRAM-SHA-512\", ca = \"{ca}\", certificate = \"{certificate}\", \
         key = \"{key}\""
    );
    with_a_password(&keys, &topics(&kafka, &[&scram[..], &trusted, &shown].concat())).await;
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

/// What would be read and never used is a mistake: whoever writes it believes the link to be safer than it is.
#[test]
fn keys_of_another_protocol_are_refused() {
    for (keys, told) in [
        ("ca = \"ca.pem\"", "`ca` is used by the protocols with `ssl` only"),
        (
            "certificate = \"c.pem\", key = \"k.pem\"",
            "`certificate` is used by the protocols with `ssl` only",
        ),
        ("key = \"k.pem\"", "`key` is used by the protocols with `ssl` only"),
        (
            "protocol = \"sasl_plaintext\", user = \"u\", password = { env = \"HOME\" }, ca = \"ca.pem\"",
            "`ca` is used by the protocols with `ssl` only",
        ),
        ("user = \"u\", password = { env = \"HOME\" }", "`user` is used by the protocols with `sasl` only"),
        ("user = \"u\"", "`user` is used by the protocols with `sasl` only"),
        ("mechanism = \"PLAIN\"", "`mechanism` is used by the protocols with `sasl` only"),
        ("protocol = \"sasl_plaintext\"", "`protocol = \"sasl_plaintext\"` needs `user` and `password`"),
    ] {
        let log = format!("[log]\nkind = \"kafka\"\nkafka = {{ brokers = [\"127.0.0.1:1\"], {keys} }}\n");
        let refused = prepare(&pushed().replace("[log]\n", &log))
            .run(&["check", "firedamp.toml"])
            .unwrap_err()
            .to_string();
        assert!(refused.contains(told), "{keys}: {refused}");
    }
}
