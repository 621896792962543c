//! The two topics: made when they are missing, checked when they are there.

use super::{KafkaOptions, TIMEOUT, away, client, topic};
use crate::LogError;
use model::Stream;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use std::collections::HashMap;

/// What firedamp's topics are made with.
const SETTINGS: [(&str, &str); 2] =
    [("message.timestamp.type", "LogAppendTime"), ("max.message.bytes", "17000000")];

type Admin = AdminClient<DefaultClientContext>;

/// Makes or checks both topics.
///
/// # Errors
/// When the brokers are away, or a topic has another number of partitions.
pub async fn ensure(options: &KafkaOptions) -> Result<(), LogError> {
    let admin: Admin = client(options).create().map_err(away)?;
    for stream in [Stream::Readings, Stream::Transitions] {
        let name = topic(options, stream);
        make(&admin, &name, options.partitions).await?;
        check_partitions(&admin, &name, options.partitions)?;
        check_settings(&admin, &name).await?;
    }
    Ok(())
}

async fn make(admin: &Admin, name: &str, partitions: u32) -> Result<(), LogError> {
    // -1: as many replicas as the brokers are set up for.
    let mut new = NewTopic::new(name, partitions as i32, TopicReplication::Fixed(-1));
    for (key, value) in SETTINGS {
        new = new.set(key, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
    for made in admin.create_topics([&new], &options).await.map_err(away)? {
        match made {
            Ok(_) => tracing::info!(topic = name, partitions, "topic made"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(away(format!("topic `{name}` cannot be made: {code}"))),
        }
    }
    Ok(())
}

fn check_partitions(admin: &Admin, name: &str, partitions: u32) -> Result<(), LogError> {
    let until = std::time::Instant::now() + TIMEOUT;
    loop {
        let metadata = admin.inner().fetch_metadata(Some(name), TIMEOUT).map_err(away)?;
        let found = metadata.topics().iter().find(|t| t.name() == name).map_or(0, |t| t.partitions().len());
        if found == partitions as usize {
            let brokers = metadata.brokers().len();
            if brokers < 2 {
                tracing::warn!(
                    topic = name,
                    "a single broker can lose seconds of readings when its power fails"
                );
            }
            return Ok(());
        }
        // A topic made a moment ago is known a moment later.
        if found != 0 || std::time::Instant::now() > until {
            let message = format!(
                "topic `{name}` has {found} partitions, log.partitions says {partitions}; the number is fixed"
            );
            return Err(LogError::Broken(message));
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

async fn check_settings(admin: &Admin, name: &str) -> Result<(), LogError> {
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let described =
        admin.describe_configs(&[ResourceSpecifier::Topic(name)], &options).await.map_err(away)?;
    let mut settings: HashMap<String, String> = HashMap::new();
    for resource in described.into_iter().flatten() {
        settings.extend(resource.entries.into_iter().filter_map(|e| Some((e.name, e.value?))));
    }
    let is = |key: &str| settings.get(key).map_or("", String::as_str);
    if is("message.timestamp.type") != "LogAppendTime" {
        let message = format!(
            "topic `{name}` has message.timestamp.type={}; firedamp needs LogAppendTime",
            is("message.timestamp.type")
        );
        return Err(LogError::Broken(message));
    }
    if is("min.insync.replicas") == "1" {
        tracing::warn!(
            topic = name,
            "min.insync.replicas is 1: what is acknowledged may be on one broker only"
        );
    }
    if is("max.message.bytes").parse::<u64>().is_ok_and(|n| n < 17_000_000) {
        tracing::warn!(
            topic = name,
            "max.message.bytes is {}; a large catalog needs 17000000",
            is("max.message.bytes")
        );
    }
    tracing::info!(
        topic = name,
        "retention.ms is {}: keep it above the longest outage of a consumer",
        is("retention.ms")
    );
    Ok(())
}
