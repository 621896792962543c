//! `[log.kafka]`: brokers, topic, and how firedamp proves who it is to them.

use super::Config;
use model::keys::{KeyDoc, key};
use model::secret::{Secret, read_secret};
use model::toml_file::Section;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Whether this binary speaks TLS to Kafka; without the feature it needs no OpenSSL.
const TLS: bool = cfg!(feature = "kafka-tls");
const PROTOCOLS: [&str; 4] = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];
const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
const BUILD: &str = "build it with `--features kafka-tls`, which needs OpenSSL's headers";

/// `log.kafka`.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `host:port` of some brokers.
    pub brokers: Vec<String>,
    /// Topic of the readings; transitions go to `<topic>.transitions`.
    pub topic: String,
    protocol: &'static str,
    mechanism: &'static str,
    user: Option<(String, Secret)>,
    ca: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
}

/// The keys.
pub const KEYS: &[KeyDoc] = &[
    key("brokers", "list of texts", "`required`", "`host:port` of some brokers"),
    key("topic", "text", "\"firedamp\"", "topic of the readings; decisions go to `<topic>.transitions`"),
    key(
        "protocol",
        "`plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`",
        "\"plaintext\"",
        "how brokers are spoken to; the two with `ssl` need a binary built with `--features kafka-tls`",
    ),
    key(
        "mechanism",
        "`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`",
        "\"PLAIN\"",
        "how user and password are proven; SCRAM needs a binary built with `--features kafka-tls`",
    ),
    key("user", "text", "-", "needed with the protocols with `sasl`"),
    key("password", "{ env } or { file }", "-", "needed with `user`"),
    key(
        "ca",
        "path",
        "the system's",
        "PEM file of the authorities that may have signed the brokers' certificates; with `ssl` only",
    ),
    key(
        "certificate",
        "path",
        "-",
        "PEM file of a certificate that firedamp shows to brokers; needs `key`, with `ssl` only",
    ),
    key("key", "path", "-", "PEM file of the key of `certificate`"),
];

/// Keys that the chosen protocol has no use for.
fn refuse_unused(s: &Section<'_>, keys: &[&'static str], protocols: &str) {
    if let Some(unused) = keys.iter().find(|key| s.has(key)) {
        s.error(format!("`{unused}` is used by the protocols with `{protocols}` only"), "set `protocol`");
    }
}

impl KafkaConfig {
    /// Reads the section; mistakes are told at their place.
    pub fn read(path: &Path, s: &Section<'_>) -> Self {
        let brokers = s.strs("brokers").unwrap_or_default();
        if brokers.is_empty() {
            s.missing("brokers", "[\"127.0.0.1:9092\"]");
        }
        let protocol = s.one_of("protocol", &PROTOCOLS);
        let mechanism = s.one_of("mechanism", &MECHANISMS);
        let needs_tls = [
            protocol.as_ref().filter(|p| p.value.ends_with("ssl")),
            mechanism.as_ref().filter(|m| m.value != MECHANISMS[0]),
        ];
        for word in needs_tls.into_iter().flatten().filter(|_| !TLS) {
            s.file().error_at(
                word.at,
                format!("this firedamp was built without TLS for Kafka, which `{}` needs", word.value),
                BUILD,
            );
        }
        let protocol = protocol.map_or(PROTOCOLS[0], |p| p.value);
        let user = s.str("user").map(|u| u.value.to_owned());
        let password = s.has("password").then(|| read_secret(s, "password")).flatten();
        if protocol.starts_with("sasl") {
            if user.is_none() || !s.has("password") {
                let message = format!("`protocol = \"{protocol}\"` needs `user` and `password`");
                s.error(message, "password = { env = \"KAFKA_PASSWORD\" }");
            }
        } else {
            refuse_unused(s, &["user", "password", "mechanism"], "sasl");
        }
        if !protocol.ends_with("ssl") {
            refuse_unused(s, &["ca", "certificate", "key"], "ssl");
        }
        let file = |key| s.str(key).map(|f| Config::resolve(path, f.value));
        let (certificate, key) = (file("certificate"), file("key"));
        if certificate.is_some() != key.is_some() {
            s.error("`certificate` and `key` need each other", "give both or none");
        }
        Self {
            brokers: brokers.iter().map(|b| b.value.to_owned()).collect(),
            topic: s.str("topic").map_or("firedamp", |t| t.value).to_owned(),
            protocol,
            mechanism: mechanism.map_or(MECHANISMS[0], |m| m.value),
            user: user.zip(password),
            ca: file("ca"),
            certificate: certificate.zip(key),
        }
    }

    /// What librdkafka is told beside brokers and topic, by its own names.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<String, String> {
        let mut out = BTreeMap::from([("security.protocol".to_owned(), self.protocol.to_owned())]);
        let mut set = |name: &str, value: String| drop(out.insert(name.to_owned(), value));
        if let Some((user, password)) = &self.user {
            set("sasl.mechanism", self.mechanism.to_owned());
            set("sasl.username", user.clone());
            set("sasl.password", password.expose().to_owned());
        }
        if self.protocol.ends_with("ssl") {
            if let Some(ca) = &self.ca {
                set("ssl.ca.location", ca.display().to_string());
            }
            if let Some((certificate, key)) = &self.certificate {
                set("ssl.certificate.location", certificate.display().to_string());
                set("ssl.key.location", key.display().to_string());
            }
        }
        out
    }
}
