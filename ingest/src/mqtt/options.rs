//! The keys of a `[[source]]` of kind `mqtt`.

use super::tls;
use crate::mapping::{KeyError, Mapping, Texts, TimeFormat};
use model::toml_file::{Located, Section};
use std::fmt;
use std::time::Duration;

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// TLS as configured and loaded.
#[derive(Clone, Debug)]
pub struct Tls(pub std::sync::Arc<rustls::ClientConfig>);

/// MQTT version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtocolVersion {
    /// 3.1.1
    V3,
    /// 5
    V5,
}

/// A source of kind `mqtt`, understood.
#[derive(Clone, Debug)]
pub struct MqttOptions {
    /// Name or address of the broker.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Set for `mqtts`.
    pub tls: Option<Tls>,
    /// Topic filters.
    pub topics: Vec<String>,
    /// What messages mean.
    pub mapping: Mapping,
    /// MQTT version.
    pub protocol: ProtocolVersion,
    /// Quality of service, 0 or 1.
    pub qos: u8,
    /// `None`: made from the source's name.
    pub client_id: Option<String>,
    /// User and password.
    pub login: Option<(String, Secret)>,
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
        let url = section.need_str("url", "\"mqtt://127.0.0.1:1883\"");
        let topics = topics(section);
        let mapping = mapping(section, topics.as_deref().unwrap_or_default());
        let version = section.one_of("protocol", &["5", "3.1.1"]);
        let protocol = match version.as_ref().map(|v| v.value) {
            Some("3.1.1") => ProtocolVersion::V3,
            _ => ProtocolVersion::V5,
        };
        let keep_alive = keep_alive(section, protocol);
        let clients = clients(section, topics.as_deref().unwrap_or_default());
        let login = login(section);
        let url = url.and_then(|url| broker(section, &url));
        let tls = tls::from_section(section, url.as_ref().is_some_and(|b| b.tls));
        let qos = section.int("qos", 0, 1).map_or(1, |q| q.value as u8);
        let client_id = section.str("client_id").and_then(|id| checked_client_id(section, &id));
        let receive_maximum = section.int("receive_maximum", 1, 65_535).map_or(512, |n| n.value as u16);
        let expiry = section.duration("session_expiry").map_or(7 * model::time::DAY, |d| d.value);
        let message_len_max = section.size("max_message").map_or(1 << 20, |s| s.value as usize);
        let under_way_bytes_max = section.size("under_way_max").map_or(256 << 20, |s| s.value as usize);
        let watch_broker = section.bool("watch_broker").is_none_or(|w| w.value);
        let (broker, topics) = (url?, topics?);
        Some(Self {
            host: broker.host,
            port: broker.port,
            tls: tls?,
            topics: topics.into_iter().map(|t| t.value.to_owned()).collect(),
            mapping: mapping?,
            protocol,
            qos,
            client_id,
            login: login?,
            keep_alive: keep_alive?,
            receive_maximum,
            session_expiry: Duration::from_micros(u64::try_from(expiry).unwrap_or(0)),
            clients: clients?,
            message_len_max,
            under_way_bytes_max,
            watch_broker,
        })
    }

    /// The broker as people write it, without secrets.
    pub fn shown_url(&self) -> String {
        let scheme = if self.tls.is_some() { "mqtts" } else { "mqtt" };
        format!("{scheme}://{}:{}", self.host, self.port)
    }
}

struct Broker {
    host: String,
    port: u16,
    tls: bool,
}

fn broker(section: &Section<'_>, url: &Located<&str>) -> Option<Broker> {
    let error = |message: String, help: &str| {
        section.file().error_at(url.at, message, help);
        None
    };
    let example = "write for example \"mqtt://127.0.0.1:1883\"";
    let parsed = match url::Url::parse(url.value) {
        Ok(parsed) => parsed,
        Err(e) => return error(format!("`url` is no URL: {e}"), example),
    };
    let tls = match parsed.scheme() {
        "mqtt" => false,
        "mqtts" => true,
        other => return error(format!("`url` has scheme `{other}`, expected mqtt or mqtts"), example),
    };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return error("`url` holds a user or password".to_owned(), "use the keys `username` and `password`");
    }
    if !matches!(parsed.path(), "" | "/") || parsed.query().is_some() || parsed.fragment().is_some() {
        return error("`url` has more than host and port".to_owned(), example);
    }
    match parsed.host_str() {
        Some(host) if !host.is_empty() => Some(Broker {
            host: host.to_owned(),
            port: parsed.port().unwrap_or(if tls { 8883 } else { 1883 }),
            tls,
        }),
        _ => error("`url` has no host".to_owned(), example),
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

fn keep_alive(section: &Section<'_>, protocol: ProtocolVersion) -> Option<Duration> {
    let Some(set) = section.duration("keep_alive") else {
        return (!section.has("keep_alive")).then_some(Duration::from_secs(30));
    };
    // rumqttc's own limits; MQTT itself counts whole seconds in 16 bits.
    let least = if protocol == ProtocolVersion::V5 { 5 } else { 1 };
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

/// User and password; the outer `None` when there is a mistake.
fn login(section: &Section<'_>) -> Option<Option<(String, Secret)>> {
    let username = section.str("username");
    if !section.has("password") {
        return Some(username.map(|u| (u.value.to_owned(), Secret(String::new()))));
    }
    let table = section.table("password")?;
    let (env, file) = (table.str("env"), table.str("file"));
    let at = table.at();
    table.finish();
    let error = |at: usize, message: String, help: &str| {
        section.file().error_at(at, message, help);
        None
    };
    let secret = match (env, file) {
        (Some(env), None) => match std::env::var(env.value) {
            Ok(value) => value,
            Err(_) => return error(env.at, format!("environment variable `{}` is not set", env.value), ""),
        },
        (None, Some(file)) => match std::fs::read_to_string(file.value) {
            Ok(text) => text.trim_end_matches(['\r', '\n']).to_owned(),
            Err(e) => return error(file.at, format!("cannot read `{}`: {e}", file.value), ""),
        },
        _ => {
            return error(
                at,
                "`password` needs one of `env` and `file`".to_owned(),
                "write { env = \"NAME\" }",
            );
        }
    };
    match username {
        Some(user) => Some(Some((user.value.to_owned(), Secret(secret)))),
        None => error(at, "`password` without `username`".to_owned(), "add `username`"),
    }
}

#[cfg(test)]
mod tests;
