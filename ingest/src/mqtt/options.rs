//! The keys of a `[[source]]` of kind `mqtt`.

use super::tls;
use crate::mapping::{KeyError, Mapping, Texts, TimeFormat};
use model::mqtt::{Broker, Version};
use model::toml_file::{Located, Section};
use std::sync::Arc;
use std::time::Duration;

/// A source of kind `mqtt`, understood.
#[derive(Clone, Debug)]
pub struct MqttOptions {
    /// The broker and the way to it.
    pub broker: Broker,
    /// Set for `mqtts`.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Topic filters.
    pub topics: Vec<String>,
    /// What messages mean.
    pub mapping: Mapping,
    /// MQTT version.
    pub protocol: Version,
    /// Quality of service, 0 or 1.
    pub qos: u8,
    /// `None`: made from the source's name.
    pub client_id: Option<String>,
    /// How often the broker is pinged.
    pub keep_alive: Duration,
    /// Unacknowledged messages that the broker may send; MQTT 5.
    pub receive_maximum: u16,
    /// How long the broker keeps the session; MQTT 5.
    pub session_expiry: Duration,
    /// Connections.
    pub clients: usize,
    /// Largest message that is decoded, in bytes.
    pub message_len_max: usize,
    /// Bytes of messages that may wait for the log on one connection.
    pub under_way_bytes_max: usize,
    /// Whether the broker's counter of dropped messages is watched.
    pub watch_broker: bool,
}

impl MqttOptions {
    /// Reads all keys of kind `mqtt`; problems are reported through the section. `None` when no source
    /// can be made of it.
    pub fn from_section(section: &Section<'_>) -> Option<Self> {
        let broker = Broker::read(section, "username", &["client_cert", "client_key"]);
        let topics = topics(section);
        let mapping = mapping(section, topics.as_deref().unwrap_or_default());
        let protocol = Version::read(section, "protocol");
        let keep_alive = keep_alive(section, protocol);
        let clients = clients(section, topics.as_deref().unwrap_or_default());
        let tls = tls::from_section(section, broker.as_ref());
        let qos = section.int("qos", 0, 1).map_or(1, |q| q.value as u8);
        let client_id = section.str("client_id").and_then(|id| checked_client_id(section, &id));
        let receive_maximum = section.int("receive_maximum", 1, 65_535).map_or(512, |n| n.value as u16);
        let expiry = section.duration("session_expiry").map_or(7 * model::time::DAY, |d| d.value);
        let message_len_max = section.size("max_message").map_or(1 << 20, |s| s.value as usize);
        let under_way_bytes_max = section.size("under_way_max").map_or(256 << 20, |s| s.value as usize);
        let watch_broker = section.bool("watch_broker").is_none_or(|w| w.value);
        Some(Self {
            broker: broker?,
            tls: tls?,
            topics: topics?.into_iter().map(|t| t.value.to_owned()).collect(),
            mapping: mapping?,
            protocol,
            qos,
            client_id,
            keep_alive: keep_alive?,
            receive_maximum,
            session_expiry: Duration::from_micros(u64::try_from(expiry).unwrap_or(0)),
            clients: clients?,
            message_len_max,
            under_way_bytes_max,
            watch_broker,
        })
    }
}

fn topics<'a>(section: &Section<'a>) -> Option<Vec<Located<&'a str>>> {
    if !section.has("topics") {
        section.missing("topics", "[\"mine/+/gas/+\"]");
        return None;
    }
    let topics = section.strs("topics")?;
    if topics.is_empty() {
        section.error("`topics` is empty", "name at least one topic filter, for example \"mine/+/gas/+\"");
        return None;
    }
    let mut good = true;
    for (ix, topic) in topics.iter().enumerate() {
        if !rumqttc::valid_filter(topic.value) || topic.value.contains('\0') || topic.value.len() > 65_535 {
            let message = format!("`{}` is no topic filter", topic.value);
            section.file().error_at(topic.at, message, "`+` is one whole level, `#` only the last");
            good = false;
        }
        if topics[..ix].iter().any(|t| t.value == topic.value) {
            section.file().error_at(
                topic.at,
                format!("topic `{}` stands twice", topic.value),
                "keep one of them",
            );
            good = false;
        }
    }
    good.then_some(topics)
}

fn mapping(section: &Section<'_>, topics: &[Located<&str>]) -> Option<Mapping> {
    const MAP_KEYS: [&str; 11] =
        ["site", "point", "value", "time", "status", "card", "name", "area", "station", "out", "entered"];
    let each = section.str("each");
    let time_format = section.one_of("time_format", &TimeFormat::WORDS);
    let example = "{ site = \"{1}\", point = \"{3}\", value = \"/v\", time = \"/t\", status = \"/q\" }";
    if !section.has("map") {
        section.missing("map", example);
        return None;
    }
    let map = section.table("map")?;
    let written: Vec<(&str, Located<&str>)> =
        MAP_KEYS.iter().filter_map(|key| map.str(key).map(|text| (*key, text))).collect();
    let texts = Texts {
        each: each.as_ref().map(|e| e.value),
        map: written.iter().map(|(key, text)| (*key, text.value)).collect(),
        time_format: time_format.and_then(|w| TimeFormat::of_word(w.value)).unwrap_or_default(),
    };
    let place = |key: &str| match key {
        "each" => each.as_ref().map_or(section.at(), |e| e.at),
        key => written.iter().find(|(k, _)| *k == key).map_or(map.at(), |(_, text)| text.at),
    };
    let compiled = Mapping::compile(&texts).map_err(|errors| {
        for KeyError { key, message } in errors {
            section.file().error_at(place(&key), message, "");
        }
    });
    let map_at = map.at();
    map.finish();
    let mapping = compiled.ok()?;
    // A part that no topic of a filter can have would refuse every message.
    for topic in topics.iter().filter(|t| !t.value.ends_with('#')) {
        let parts = levels(topic.value);
        if let Some(n) = mapping.topic_part_max().filter(|n| *n >= parts) {
            let message = format!(
                "`map` asks for part {n} of the topic, and `{}` has parts 0 to {}",
                topic.value,
                parts - 1
            );
            section.file().error_at(map_at, message, "parts are counted from 0");
            return None;
        }
    }
    Some(mapping)
}

/// Levels of the topics that a filter matches; those of `$share/group/` are not part of them.
fn levels(filter: &str) -> usize {
    let parts = filter.split('/').count();
    if filter.starts_with("$share/") { parts.saturating_sub(2) } else { parts }
}

fn keep_alive(section: &Section<'_>, protocol: Version) -> Option<Duration> {
    let Some(set) = section.duration("keep_alive") else {
        return (!section.has("keep_alive")).then_some(Duration::from_secs(30));
    };
    // rumqttc's own limits; MQTT itself counts whole seconds in 16 bits.
    let least = if protocol == Version::V5 { 5 } else { 1 };
    let seconds = set.value / model::time::SECOND;
    if !(least..=65_535).contains(&seconds) {
        let shown = model::time::show_duration(set.value);
        section.file().error_at(set.at, format!("`keep_alive` is {shown}, outside {least}s to 18h"), "");
        return None;
    }
    Some(Duration::from_secs(seconds as u64))
}

fn clients(section: &Section<'_>, topics: &[Located<&str>]) -> Option<usize> {
    let Some(set) = section.int("clients", 1, 64) else {
        return (!section.has("clients")).then_some(1);
    };
    let clients = set.value as usize;
    if clients > topics.len().max(1) {
        let message = format!("`clients` is {clients}, and there are {} topics to share out", topics.len());
        section.file().error_at(set.at, message, "write the topics apart, for example by mine, or lower it");
        return None;
    }
    Some(clients)
}

fn checked_client_id(section: &Section<'_>, id: &Located<&str>) -> Option<String> {
    if id.value.is_empty() || id.value.len() > 256 || id.value.contains(char::is_control) {
        section.file().error_at(id.at, "`client_id` must have 1 to 256 bytes and no control characters", "");
        return None;
    }
    Some(id.value.to_owned())
}

#[cfg(test)]
mod tests;
