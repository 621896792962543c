//! What a wrong configuration is told, and what the API refuses.

use crate::stand::*;
use tests::firedamp::Firedamp;

const MISTAKES: &str = r#"
[data]
dirr = "data"

[log]
kind = "embeded"
partitions = 0
linger = "50ms"
retain = { size = "20 gigs", age = "7 days" }

[catalog]
sites = "sites.csv"
points = ["points.csv", "missing.csv"]
unknown = "ignore"

[rules]
packs = ["cole"]
paths = ["rules.toml"]

[storage]
flush = 60
zone = "Asia"

[alerts]
database = "mysql://x"

[[receiver]]
name = "county"
kind = "webhook"
url = "county.example"
secret = { env = "NO_SUCH_VARIABLE" }

[[source]]
name = "east"
kind = "mqqt"

[[source]]
name = "plc"
kind = "modbus"
url = "tcp://127.0.0.1:502"
register = [{ point = "LT", table = "holdings", address = 70000, type = "f23" }]

[nonsense]
"#;

#[tokio::test]
async fn twenty_mistakes_are_all_named_and_nothing_starts() {
    let firedamp = Firedamp::prepare(BINARY, &[("firedamp.toml", MISTAKES)]);
    let said = format!("{:#}", firedamp.run(&["check", "firedamp.toml"]).unwrap_err());
    for expected in [
        "unknown key `data.dirr`",
        "did you mean `dir`?",
        "`log.kind` is `embeded`",
        "`log.partitions` is 0",
        "`log.linger` is 50ms",
        "size `20 gigs`",
        "duration `7 days`",
        "`catalog.unknown` is `ignore`",
        "no shipped pack `cole`",
        "`storage.flush`",
        "`storage.zone` is `Asia`",
        "`mysql://x` is no alarm database",
        "`county.example` is no http or https address",
        "`NO_SUCH_VARIABLE` is not set",
        "did you mean `mqtt`?",
        "`holdings`",
        "70000",
        "`f23`",
        "unknown key `nonsense`",
        "sites.csv:0:0: error: cannot be read",
        "nothing was started",
    ] {
        assert!(said.contains(expected), "missing `{expected}` in\n{said}");
    }
    let placed = said.lines().filter(|l| l.contains("firedamp.toml:") && l.contains(": error: ")).count();
    assert!(placed >= 18, "{placed} mistakes have a place:\n{said}");
    assert!(!firedamp.folder().join("data").exists(), "a check makes nothing");
}

/// Every key that names a file which is read with the configuration.
const NAMES_FILES: &str = r#"
[[server.token]]
name = "centre"
role = "viewer"
secret = { file = "secret" }

[log]
kind = "kafka"
kafka = { brokers = ["127.0.0.1:9092"], protocol = "sasl_plaintext", user = "u", password = { file = "secret" } }

[storage.s3]
secret_key = { file = "secret" }

[alerts]
signing_key = { file = "signing.key" }

[[receiver]]
name = "county"
kind = "webhook"
url = "https://county.example/"
secret = { file = "secret" }
ca = "tls/ca.pem"

[[receiver]]
name = "duty"
kind = "email"
host = "mail.example"
from = "firedamp@mine.example"
to = "duty@mine.example"
user = "u"
password = { file = "secret" }
ca = "tls/ca.pem"

[[receiver]]
name = "city"
kind = "mqtt"
url = "mqtts://city.example"
topic = "firedamp/{site}"
user = "u"
password = { file = "secret" }
ca = "tls/ca.pem"

[[receiver]]
name = "province"
kind = "kafka"
brokers = ["127.0.0.1:9092"]
topic = "alarms"
protocol = "sasl_plaintext"
user = "u"
password = { file = "secret" }

[[receiver]]
name = "group"
kind = "alertmanager"
url = "https://group.example/"
user = "u"
password = { file = "secret" }
ca = "tls/ca.pem"

[[source]]
name = "east"
kind = "mqtt"
url = "mqtts://east.example"
topics = ["mine/+/gas/+"]
map = { site = "{1}", point = "{3}", value = "/v" }
username = "u"
password = { file = "secret" }
ca = "tls/ca.pem"
client_cert = "tls/broker.pem"
client_key = "tls/broker.key"
"#;

/// Under systemd a process stands in `/`.
#[test]
fn what_a_configuration_names_lies_beside_it_wherever_the_process_stands() {
    let key = "ab".repeat(32);
    let files = [("firedamp.toml", NAMES_FILES), ("secret", "hush\n"), ("signing.key", &key)];
    let firedamp = Firedamp::prepare(BINARY, &files);
    let tls = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../ingest/tests/tls");
    std::os::unix::fs::symlink(tls.canonicalize().unwrap(), firedamp.folder().join("tls")).unwrap();
    let mut command = std::process::Command::new(BINARY);
    let checked = command.arg("check").arg(firedamp.folder().join("firedamp.toml")).current_dir("/").output();
    let checked = checked.unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
    // Each of these keys is read by the check: with the files gone each is named.
    std::fs::remove_file(firedamp.folder().join("tls")).unwrap();
    std::fs::remove_file(firedamp.folder().join("secret")).unwrap();
    let said = format!("{:#}", firedamp.run(&["check", "firedamp.toml"]).unwrap_err());
    assert_eq!(
        (said.matches("secret file").count(), said.matches("certificates of").count()),
        (9, 6),
        "{said}"
    );
    assert!(said.contains("private key of"), "{said}");
}

const TOKENS: &str = r#"
[[server.token]]
name = "eyes"
role = "viewer"
secret = { env = "VIEWER" }

[[server.token]]
name = "west"
role = "operator"
secret = { env = "WEST" }
regions = ["15"]

[catalog]
sites = "sites.csv"
points = ["points.csv"]

[rules]
paths = ["rules.toml"]
"#;

#[tokio::test]
async fn every_route_asks_for_its_role() {
    let files =
        [("firedamp.toml", TOKENS), ("sites.csv", SITES), ("points.csv", POINTS), ("rules.toml", RULES)];
    let mut firedamp = Firedamp::prepare(BINARY, &files);
    firedamp.set("VIEWER", "v");
    firedamp.set("WEST", "w");
    firedamp.start().await;
    let client = reqwest::Client::new();
    let described = firedamp.get("/api/v1/openapi.json").await.unwrap();
    let mut closed = 0;
    for (path, item) in described["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let asked = path
                .replace("{id}", "x")
                .replace("{site}", "LW")
                .replace("{sid}", "x")
                .replace("{file}", "page.js");
            let ask = |token: Option<&str>| {
                let request = client.request(method.to_uppercase().parse().unwrap(), firedamp.url(&asked));
                let request = request.header("content-type", "application/json").body("{}");
                match token {
                    Some(token) => request.bearer_auth(token),
                    None => request,
                }
                .send()
            };
            let role = operation["description"].as_str().unwrap().trim_start_matches("role: ").to_owned();
            let anonymous = ask(None).await.unwrap().status();
            if role == "anybody" {
                assert_ne!(anonymous, 403, "{method} {path}");
                continue;
            }
            closed += 1;
            assert_eq!(anonymous, 401, "{method} {path} without a token");
            assert_eq!(ask(Some("wrong")).await.unwrap().status(), 401, "{method} {path} with a wrong token");
            if role != "viewer" {
                assert_eq!(ask(Some("v")).await.unwrap().status(), 403, "{method} {path} as viewer");
            }
        }
    }
    assert!(closed >= 20, "{closed} routes are closed");
    let sites = |token: &'static str| {
        let request = client.get(firedamp.url("/api/v1/sites")).bearer_auth(token);
        async move {
            request.send().await.unwrap().json::<serde_json::Value>().await.unwrap().as_array().unwrap().len()
        }
    };
    assert_eq!((sites("v").await, sites("w").await), (1, 0), "a token sees its regions only");
    let strange = client
        .post(firedamp.url("/api/v1/alarms/ack"))
        .bearer_auth("w")
        .header("origin", "http://evil.example");
    assert_eq!(strange.json(&serde_json::json!({ "ids": ["x"] })).send().await.unwrap().status(), 403);
    firedamp.stop();
}
