//! How an MQTT broker is reached: its address, who firedamp is to it, which authority signed its certificate. One reading of these keys
//! for sources and for receivers; it knows no client of MQTT and no TLS.

use crate::pem::read_certificates;
use crate::secret::{Login, Secret, read_login};
use crate::toml_file::{Located, Section};
use std::fmt;

/// MQTT version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// 3.1.1
    V3,
    /// 5
    V5,
}

impl Version {
    /// Reads `5` or `3.1.1`; 5 where nothing is said.
    pub fn read(s: &Section<'_>, key: &'static str) -> Self {
        match s.one_of(key, &["5", "3.1.1"]) {
            Some(word) if word.value == "3.1.1" => Version::V3,
            _ => Version::V5,
        }
    }
}

/// A broker and the way to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broker {
    /// Name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the connection is in TLS.
    pub tls: bool,
    /// Sign-on.
    pub login: Option<Login>,
    /// Certificates of authorities, PEM.
    pub ca: Option<Vec<u8>>,
}

/// Shown as people write it, without secrets.
impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, tls, .. } = self;
        write!(f, "{}://{host}:{port}", if *tls { "mqtts" } else { "mqtt" })
    }
}

impl Broker {
    /// Reads `url`, the user's name under the key `user`, `password` and `ca`. `None`: something is wrong, which is told. Keys `for_tls`
    /// are refused where there is no TLS, as `ca` is.
    pub fn read(s: &Section<'_>, user: &'static str, for_tls: &[&'static str]) -> Option<Self> {
        let url = s.need_str("url", "\"mqtt://127.0.0.1:1883\"");
        let address = url.and_then(|url| read_url(s, &url, user));
        let (login, ca) = (read_user(s, user), read_certificates(s, "ca"));
        let (host, port, tls) = address?;
        let unused = ["ca"].iter().chain(for_tls).find_map(|key| Some((key, s.at_value(key)?)));
        if let Some((key, at)) = unused.filter(|_| !tls) {
            let message = format!("`{key}` is for TLS, and `url` has none");
            s.file().error_at(at, message, "write mqtts:// in `url`");
            return None;
        }
        Some(Self { host, port, tls, login: login?, ca: ca? })
    }
}

/// MQTT knows users without a password.
fn read_user(s: &Section<'_>, user: &'static str) -> Option<Option<Login>> {
    match s.str(user) {
        Some(name) if !s.has("password") => Some(Some((name.value.to_owned(), Secret::new("")))),
        _ => read_login(s, user),
    }
}

/// Host, port and whether it is in TLS.
fn read_url(s: &Section<'_>, url: &Located<&str>, user: &str) -> Option<(String, u16, bool)> {
    let example = "write for example \"mqtt://127.0.0.1:1883\"";
    let error = |message: String, help: &str| {
        s.file().error_at(url.at, message, help);
        None
    };
    let parsed = match url::Url::parse(url.value) {
        Ok(parsed) => parsed,
        Err(e) => return error(format!("`url` is no address: {e}"), example),
    };
    // Looked for first: what stands in it is not shown.
    if !parsed.username().is_empty() || parsed.password().is_some() {
        let help = format!("use the keys `{user}` and `password`");
        return error("`url` holds a user or a password".to_owned(), &help);
    }
    let (tls, port) = match parsed.scheme() {
        "mqtt" => (false, 1883),
        "mqtts" => (true, 8883),
        _ => return error(format!("`{}` is no mqtt or mqtts address", url.value), example),
    };
    if !matches!(parsed.path(), "" | "/") || parsed.query().is_some() || parsed.fragment().is_some() {
        return error(format!("`{}` has more than host and port", url.value), example);
    }
    match parsed.host_str().filter(|host| !host.is_empty()) {
        Some(host) => Some((host.to_owned(), parsed.port().unwrap_or(port), tls)),
        None => error(format!("`{}` has no host", url.value), example),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toml_file::TomlFile;

    fn read(file: &str, text: &str) -> (Option<Broker>, String) {
        let file = TomlFile::parse(file, text);
        let root = file.root();
        let broker = Broker::read(&root, "user", &["client_key"]);
        root.finish();
        (broker, file.into_problems().to_string())
    }

    /// Under systemd a process stands in `/`, and nothing of a configuration lies there.
    #[test]
    fn files_lie_beside_the_configuration_wherever_the_process_stands() {
        let dir = tempfile::tempdir().unwrap();
        let ca = include_bytes!("../../ingest/tests/tls/ca.pem");
        std::fs::create_dir(dir.path().join("tls")).unwrap();
        std::fs::write(dir.path().join("tls/ca.pem"), ca).unwrap();
        std::fs::write(dir.path().join("broker.password"), "hush\n").unwrap();
        let config = dir.path().join("firedamp.toml").display().to_string();
        let text = "url = \"mqtts://b\"\nuser = \"u\"\npassword = { file = \"broker.password\" }\nca = \"tls/ca.pem\"\n";
        let (broker, problems) = read(&config, text);
        let broker = broker.unwrap_or_else(|| panic!("{problems}"));
        assert_eq!((broker.to_string().as_str(), problems.as_str()), ("mqtts://b:8883", ""));
        assert_eq!(broker.login, Some(("u".to_owned(), Secret::new("hush"))));
        assert_eq!(broker.ca.as_deref(), Some(&ca[..]));
        assert!(!format!("{broker:?}").contains("hush"), "a secret is never shown");
    }

    #[test]
    fn every_mistake_is_named_where_it_stands() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("firedamp.toml").display().to_string();
        std::fs::write(dir.path().join("empty.pem"), "").unwrap();
        for (text, expected) in [
            ("", ":1:1: error: `url` is missing"),
            ("url = \"b\"", ":1:7: error: `url` is no address: relative URL without a base"),
            ("url = \"http://b\"", ":1:7: error: `http://b` is no mqtt or mqtts address"),
            ("url = \"mqtt://u:p@b\"", "use the keys `user` and `password`"),
            ("url = \"mqtt://\"", ":1:7: error: `mqtt://` has no host"),
            ("url = \"mqtt://b/x\"", ":1:7: error: `mqtt://b/x` has more than host and port"),
            ("url = \"mqtt://b\"\npassword = { env = \"HOME\" }", "`user` is missing"),
            ("url = \"mqtt://b\"\nca = \"ca.pem\"", ":2:6: error: `ca` is for TLS, and `url` has none"),
            (
                "url = \"mqtt://b\"\nclient_key = \"k\"",
                ":2:14: error: `client_key` is for TLS, and `url` has none",
            ),
            ("url = \"mqtts://b\"\nca = \"ca.pem\"", ":2:6: error: certificates of"),
            ("url = \"mqtts://b\"\nca = \"empty.pem\"", "cannot be read: it holds no certificate"),
        ] {
            let (broker, problems) = read(&config, text);
            assert!(broker.is_none() && problems.contains(expected), "missing {expected} in {problems}");
        }
        let (_, problems) = read(&config, "url = \"http://u:hush@b\"");
        assert!(!problems.contains("hush"), "a secret is never shown: {problems}");
    }

    #[test]
    fn a_user_may_have_no_password() {
        let (broker, problems) = read("f.toml", "url = \"mqtt://b:2000\"\nuser = \"token\"\n");
        let expected = Broker {
            host: "b".to_owned(),
            port: 2000,
            tls: false,
            login: Some(("token".to_owned(), Secret::new(""))),
            ca: None,
        };
        assert_eq!((broker, problems.as_str()), (Some(expected), ""));
    }
}
