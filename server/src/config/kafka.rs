//! `[log.kafka]`: brokers, topic, and how firedamp proves who it is to them.

use model::kafka::KafkaAccess;
use model::keys::{KeyDoc, joined, key};
use model::toml_file::Section;
use std::collections::BTreeMap;

/// `log.kafka`.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `host:port` of some brokers.
    pub brokers: Vec<String>,
    /// Topic of the readings; transitions go to `<topic>.transitions`.
    pub topic: String,
    access: KafkaAccess,
}

/// The keys.
pub const KEYS: &[KeyDoc] = &joined::<9>(
    &[
        key("brokers", "list of texts", "`required`", "`host:port` of some brokers"),
        key("topic", "text", "\"firedamp\"", "topic of the readings; decisions go to `<topic>.transitions`"),
    ],
    &model::kafka::KEYS,
);

impl KafkaConfig {
    /// Reads the section; mistakes are told at their place.
    pub fn read(s: &Section<'_>) -> Self {
        let brokers = s.strs("brokers").unwrap_or_default();
        if brokers.is_empty() {
            s.missing("brokers", "[\"127.0.0.1:9092\"]");
        }
        let access = KafkaAccess::read(s, cfg!(feature = "kafka-tls"));
        Self {
            brokers: brokers.iter().map(|b| b.value.to_owned()).collect(),
            topic: s.str("topic").map_or("firedamp", |t| t.value).to_owned(),
            access,
        }
    }

    /// What librdkafka is told beside brokers and topic, by its own names.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<String, String> {
        self.access.settings()
    }
}
