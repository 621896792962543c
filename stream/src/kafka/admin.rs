//! The topics: made, and looked at before the log is used.

use super::KafkaOptions;
use super::client::{MESSAGE_LEN_MAX, Topics, blocking, setting, unavailable};
use crate::LogError;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::Metadata;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Below this retention a consumer that is away over a weekend loses records.
const RETENTION_MIN: Duration = Duration::from_secs(3 * 24 * 3600);
/// In-sync replicas from which on one broker may fail without a loss.
const IN_SYNC_MIN: u32 = 2;
/// How long the first look at a topic waits; each further one waits twice as long.
const FIRST_TRY: Duration = Duration::from_secs(2);
/// Pause before a further one, for an answer that is an error at once.
const PAUSE: Duration = Duration::from_millis(100);

type Admin = AdminClient<DefaultClientContext>;

/// How topics are made.
#[derive(Clone, Debug)]
pub struct TopicOptions {
    /// Copies of each partition.
    pub replication: u32,
    /// How many of them must have a record before it counts as written.
    pub min_in_sync_replicas: u32,
    /// How long records are kept.
    pub retention: Duration,
}

impl Default for TopicOptions {
    fn default() -> Self {
        Self { replication: 3, min_in_sync_replicas: 2, retention: Duration::from_secs(7 * 24 * 3600) }
    }
}

/// Makes both topics as the log needs them. Those that are there already are left as they are.
///
/// # Errors
/// [`LogError::Unavailable`] when no broker answers, [`LogError::Broken`] when Kafka refuses.
pub async fn create_topics(options: &KafkaOptions, topic: &TopicOptions) -> Result<(), LogError> {
    let topics = Topics::new(options)?;
    let admin: Admin = topics.config().create().map_err(setting)?;
    let settings = [
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("cleanup.policy", "delete".to_owned()),
        ("compression.type", "producer".to_owned()),
        ("retention.ms", topic.retention.as_millis().to_string()),
        ("min.insync.replicas", topic.min_in_sync_replicas.to_string()),
        ("max.message.bytes", MESSAGE_LEN_MAX.to_string()),
    ];
    let count = |n: u32, what: &str| {
        i32::try_from(n).map_err(|_| LogError::Broken(format!("{what} {n} is too large")))
    };
    let partitions = count(options.partitions, "log.partitions")?;
    let replication = count(topic.replication, "replication")?;
    let new = topics.names.iter().map(|name| {
        let new = NewTopic::new(name, partitions, TopicReplication::Fixed(replication));
        settings.iter().fold(new, |new, (name, value)| new.set(name, value))
    });
    let new: Vec<NewTopic<'_>> = new.collect();
    let admin_options = AdminOptions::new().request_timeout(Some(options.timeout));
    let results = admin.create_topics(&new, &admin_options.operation_timeout(Some(options.timeout))).await;
    for result in results.map_err(unavailable)? {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, e)) => return Err(LogError::Broken(format!("Kafka does not make topic {name}: {e}"))),
        }
    }
    Ok(())
}

/// Looks at both topics; what is doubtful, a sentence each. `refused` says why brokers let nobody in, as soon as it is known.
pub async fn check(
    topics: &Topics,
    timeout: Duration,
    refused: impl Fn() -> Option<String> + Clone + Send + 'static,
) -> Result<Vec<String>, LogError> {
    let admin: Arc<Admin> = Arc::new(topics.config().create().map_err(setting)?);
    let mut warnings = Vec::new();
    for name in &topics.names {
        let (client, topic, refused) = (admin.clone(), name.clone(), refused.clone());
        let metadata = blocking(move || metadata(&client, &topic, timeout, refused)).await?;
        let found = metadata.topics().iter().find(|t| t.name() == &**name);
        let partitions = found.filter(|t| t.error().is_none()).map_or(0, |t| t.partitions().len());
        if partitions == 0 {
            return Err(LogError::Broken(format!(
                "Kafka has no topic {name}; make it with {} partitions and message.timestamp.type=LogAppendTime \
                 (deploy/ has a script)",
                topics.partitions
            )));
        }
        if partitions != topics.partitions as usize {
            return Err(LogError::Broken(format!(
                "topic {name} has {partitions} partitions and log.partitions is {}; the number is fixed when a log is \
                 made: set it to {partitions}",
                topics.partitions
            )));
        }
        let replicas =
            found.and_then(|t| t.partitions().iter().map(|p| p.replicas().len()).min()).unwrap_or(0);
        let config = describe(&admin, name, timeout).await?;
        warnings.extend(judge(name, replicas, |key| config.get(key)?.value.clone())?);
    }
    Ok(warnings)
}

/// Blocks. Who is not let in by one broker and reaches no other is told so without waiting for the end.
fn metadata(
    admin: &Admin,
    topic: &str,
    timeout: Duration,
    refused: impl Fn() -> Option<String>,
) -> Result<Metadata, LogError> {
    let (deadline, mut wait) = (Instant::now() + timeout, FIRST_TRY.min(timeout));
    loop {
        let error = match admin.inner().fetch_metadata(Some(topic), wait) {
            Ok(metadata) => return Ok(metadata),
            Err(e) => e,
        };
        if let Some(why) = refused() {
            return Err(not_let_in(&why));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(unavailable(error));
        }
        std::thread::sleep(PAUSE.min(left));
        wait = (wait * 2).min(left);
    }
}

/// That no broker lets this process in, and what one said.
pub fn not_let_in(why: &str) -> LogError {
    LogError::Unavailable(format!(
        "Kafka does not let this user in (log.kafka: user, password, mechanism): {why}"
    ))
}

async fn describe(admin: &Admin, name: &str, timeout: Duration) -> Result<ConfigResource, LogError> {
    let options = AdminOptions::new().request_timeout(Some(timeout));
    let described = admin.describe_configs([&ResourceSpecifier::Topic(name)], &options).await;
    let described = described.map_err(unavailable)?.into_iter().next();
    let missing = || LogError::Unavailable(format!("Kafka did not describe topic {name}"));
    described
        .ok_or_else(missing)?
        .map_err(|e| LogError::Unavailable(format!("Kafka did not describe topic {name}: {e}")))
}

/// What is wrong with a topic, as an error, or doubtful, as sentences.
fn judge(name: &str, replicas: usize, get: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, LogError> {
    let number = |key: &str| get(key).and_then(|v| v.parse::<i64>().ok());
    if get("message.timestamp.type").is_some_and(|v| v != "LogAppendTime") {
        return Err(LogError::Broken(format!(
            "topic {name} stores the time of the sender, and decisions hang on that of the broker; set its \
             message.timestamp.type=LogAppendTime"
        )));
    }
    let mut warnings = Vec::new();
    let in_sync = number("min.insync.replicas").unwrap_or(1);
    if replicas < 2 {
        warnings.push(format!(
            "topic {name} lies on a single broker, which can lose the last seconds when power fails and all of it with \
             its disk; use three brokers with replication factor 3"
        ));
    } else if in_sync < i64::from(IN_SYNC_MIN) {
        warnings.push(format!(
            "topic {name} has min.insync.replicas={in_sync}: a record may lie on one broker only and be lost with it; \
             set it to {IN_SYNC_MIN}"
        ));
    } else if in_sync >= replicas as i64 {
        warnings.push(format!(
            "topic {name} has {replicas} replicas and min.insync.replicas={in_sync}: nothing can be written while one \
             broker is away"
        ));
    }
    if let Some(retention) = number("retention.ms").and_then(|ms| u64::try_from(ms).ok())
        && Duration::from_millis(retention) < RETENTION_MIN
    {
        warnings.push(format!(
            "topic {name} keeps records for {} h (retention.ms={retention}): a consumer that is away for longer loses \
             some",
            retention / 3_600_000
        ));
    }
    if let Some(size) = number("retention.bytes")
        && size >= 0
    {
        warnings.push(format!(
            "topic {name} keeps {size} bytes a partition (retention.bytes) whether they were read or not; set it to -1 \
             and let retention.ms decide"
        ));
    }
    if get("cleanup.policy").is_some_and(|v| v.contains("compact")) {
        return Err(LogError::Broken(format!(
            "topic {name} is compacted, which removes records; set cleanup.policy=delete"
        )));
    }
    if let Some(len) = number("max.message.bytes")
        && len < MESSAGE_LEN_MAX as i64
    {
        warnings.push(format!(
            "topic {name} takes no record above {len} bytes (max.message.bytes), and one may have {MESSAGE_LEN_MAX}"
        ));
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 6] = [
        ("message.timestamp.type", "LogAppendTime"),
        ("cleanup.policy", "delete"),
        ("retention.ms", "604800000"),
        ("retention.bytes", "-1"),
        ("min.insync.replicas", "2"),
        ("max.message.bytes", "20000000"),
    ];

    fn check(replicas: usize, changed: (&str, &str)) -> String {
        let get = |key: &str| {
            let value = GOOD.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
            value.map(|v| if key == changed.0 { changed.1 } else { v }.to_owned())
        };
        judge("t", replicas, get).map_or_else(|e| format!("error: {e}"), |warnings| warnings.join("; "))
    }

    #[test]
    fn each_doubtful_property_is_told_by_name() {
        assert_eq!(check(3, ("", "")), "");
        assert!(check(1, ("", "")).contains("single broker"));
        assert!(check(2, ("", "")).contains("nothing can be written"));
        for (key, value, told) in [
            ("min.insync.replicas", "1", "one broker only"),
            ("retention.ms", "3600000", "for 1 h"),
            ("retention.bytes", "1000", "retention.bytes"),
            ("max.message.bytes", "1048588", "max.message.bytes"),
            ("message.timestamp.type", "CreateTime", "error: "),
            ("cleanup.policy", "compact,delete", "error: "),
        ] {
            assert!(check(3, (key, value)).contains(told), "{key}");
        }
        assert_eq!(check(3, ("retention.ms", "-1")), "");
    }
}
