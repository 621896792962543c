//! How the brokers of Apache Kafka are spoken to: protocol, proof of who firedamp is, certificates. One reading of these keys for
//! the log and for receivers; it knows no client of Kafka, only the names that librdkafka gives its settings.

use crate::keys::{KeyDoc, key};
use crate::secret::{Secret, read_secret};
use crate::toml_file::Section;
use std::collections::BTreeMap;
use std::path::PathBuf;

const PROTOCOLS: [&str; 4] = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];
const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
const BUILD: &str = "build it with `--features kafka-tls`, which needs OpenSSL's headers";

/// Protocol, sign-on and certificates.
#[derive(Clone, Debug)]
pub struct KafkaAccess {
    protocol: &'static str,
    mechanism: &'static str,
    user: Option<(String, Secret)>,
    ca: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
}

/// The keys.
pub const KEYS: [KeyDoc; 7] = [
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

impl KafkaAccess {
    /// Reads the keys of a section; mistakes are told at their place. `tls`: whether this binary speaks TLS to Kafka; without
    /// the feature it needs no OpenSSL.
    pub fn read(s: &Section<'_>, tls: bool) -> Self {
        let protocol = s.one_of("protocol", &PROTOCOLS);
        let mechanism = s.one_of("mechanism", &MECHANISMS);
        let needs_tls = [
            protocol.as_ref().filter(|p| p.value.ends_with("ssl")),
            mechanism.as_ref().filter(|m| m.value != MECHANISMS[0]),
        ];
        for word in needs_tls.into_iter().flatten().filter(|_| !tls) {
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
        let file = |key| s.path(key).map(|f| f.value);
        let (certificate, key) = (file("certificate"), file("key"));
        if certificate.is_some() != key.is_some() {
            s.error("`certificate` and `key` need each other", "give both or none");
        }
        Self {
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
