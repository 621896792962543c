//! What the tests of the longwall readings share: the file, its sites and points, the configuration, and what must come out.

use serde_json::Value;
use simulator::{Columns, ReplayOptions, ReplayProtocol, Speed};
use std::path::PathBuf;
use std::time::Duration;
use tests::firedamp::Firedamp;
use tests::webhook::Webhook;

pub const BINARY: &str = env!("CARGO_BIN_EXE_firedamp");
pub const SITES: &str = "site,name,kind,region\nLW,Longwall,mine,140100\n";
pub const POINTS: &str = "site,point,name,quantity,unit,low,high,place,period\nLW,MM31,entry,ch4,%,0,30,T1,30s\n\
                          LW,MM116,return,ch4,%,0,30,T1,30s\nLW,AS038,velocity,wind,m/s,0,15,,30s\nLW,BA13,pressure,pressure,hPa,,,,30s\n";
pub const RULES: &str = r#"
[[rule]]
name = "ch4"
kind = "limit"
select = { quantity = "ch4" }
level = [
  { name = "alarm", on = ">= 1.0", off = "< 1.0", severity = "yellow" },
  { name = "cut", on = ">= 1.5", off = "< 1.0", severity = "orange" },
]

[[rule]]
name = "rise"
kind = "rate"
select = { quantity = "ch4" }
window = "10min"
min_readings = 5
blank = "20s"
level = [{ name = "warning", on = ">= 0.1 /min", off = "< 0.05 /min", severity = "blue" }]
"#;

/// The columns played.
pub const COLUMNS: [&str; 4] = ["MM31", "MM116", "AS038", "BA13"];
/// Rows of the file.
pub const ROWS: i64 = 13_368;
/// Time between two of them.
pub const STEP: Duration = Duration::from_secs(30);

/// The file, where the shared folder is beside the checkout (or named by FIREDAMP_SHARED).
pub fn longwall() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("FIREDAMP_SHARED").map_or(beside, PathBuf::from);
    let file = shared.join("data/methane-longwall.csv");
    if !file.exists() {
        eprintln!("SKIPPED: the longwall readings are not here (set FIREDAMP_SHARED)");
    }
    Some(file).filter(|f| f.exists())
}

/// Five days before now, on a whole second: the file ends just before now.
pub fn start() -> i64 {
    use model::Clock;
    (model::SystemClock.now() - 5 * model::time::DAY) / 1_000_000 * 1_000_000
}

pub fn columns(start: i64) -> Columns {
    let only = COLUMNS.iter().map(|c| (*c).to_owned()).collect();
    Columns::Wide { site: "LW".to_owned(), start, step: STEP, only }
}

/// The replay of the file through a broker.
pub fn over_mqtt(url: &str, start: i64) -> ReplayOptions {
    let protocol = ReplayProtocol::Mqtt {
        url: url.to_owned(),
        topic: "replay/{site}".to_owned(),
        rows_per_message: 1,
        window: 100,
        client: "replay".to_owned(),
    };
    ReplayOptions { columns: columns(start), speed: Speed::AsAcknowledged, protocol }
}

/// Where [`prepare`] lays sites, points and rules.
pub const FILES: &str =
    "[catalog]\nsites = \"sites.csv\"\npoints = [\"points.csv\"]\n\n[rules]\npaths = [\"rules.toml\"]\n\n";

/// A configuration without sources, for what is pushed; its table is committed often.
pub fn pushed() -> String {
    format!("[log]\npartitions = 2\n\n{FILES}[storage]\nflush = \"200ms\"\n")
}

/// A configuration with these sources and a receiver.
pub fn config(log: &str, source: &str, webhook: &Webhook) -> String {
    format!(
        "[log]\n{log}\n{FILES}[storage]\nflush = \"1s\"\n\n[[receiver]]\nname = \"county\"\nkind = \"webhook\"\nurl = \"{}\"\n\
         secret = {{ env = \"COUNTY_SECRET\" }}\n\n{source}\n",
        webhook.url
    )
}

/// firedamp with a configuration and the sites, points and rules of the longwall.
pub fn prepare(config: &str) -> Firedamp {
    let files =
        [("firedamp.toml", config), ("sites.csv", SITES), ("points.csv", POINTS), ("rules.toml", RULES)];
    let mut firedamp = Firedamp::prepare(BINARY, &files);
    firedamp.set("COUNTY_SECRET", "s");
    firedamp
}

/// Waits until every reading of the file is stored and every alarm told.
pub async fn settled(firedamp: &Firedamp, readings: i64) {
    tests::wait_for_async("all readings are stored and judged", Duration::from_secs(240), || async {
        let balance = firedamp.get("/api/v1/balance").await.ok()?;
        let alarms = firedamp.get("/api/v1/alarms?all=true&limit=100000").await.ok()?;
        let opened = of_rule(&alarms, "ch4").len();
        (balance["stored"].as_i64()? >= readings && balance["pending"].as_i64()? == 0 && opened >= 140)
            .then_some(())
    })
    .await;
}

pub fn of_rule<'a>(alarms: &'a Value, rule: &str) -> Vec<&'a Value> {
    alarms.as_array().map(|all| all.iter().filter(|a| a["rule"] == rule).collect()).unwrap_or_default()
}

/// What must be true of the longwall readings however they came: every reading once; 140 alarms of MM116, 139 closed, 10 that
/// reached cut; none of MM31.
pub async fn assert_longwall(firedamp: &Firedamp) -> Vec<String> {
    let count = firedamp.number("SELECT count(*) FROM readings").await.unwrap();
    let distinct = firedamp
        .number("SELECT count(*) FROM (SELECT DISTINCT site, point, time FROM readings)")
        .await
        .unwrap();
    assert_eq!((count, distinct), (ROWS * COLUMNS.len() as i64, count), "every reading is in the table once");
    let balance = firedamp.get("/api/v1/balance").await.unwrap();
    let n = |key: &str| balance[key].as_i64().unwrap();
    assert_eq!(n("received"), n("accepted") + n("refused"), "{balance}");
    assert_eq!(n("accepted"), n("stored") + n("duplicate") + n("quarantined") + n("pending"), "{balance}");
    let alarms = firedamp.get("/api/v1/alarms?all=true&limit=100000").await.unwrap();
    let ch4 = of_rule(&alarms, "ch4");
    assert!(ch4.iter().all(|a| a["point"] == "MM116"), "MM31 never reaches 1.0");
    let closed = ch4.iter().filter(|a| a["state"] == "closed").count();
    let cut = ch4.iter().filter(|a| a["level"] == "cut").count();
    assert_eq!((ch4.len(), closed, cut), (140, 139, 10));
    let ids =
        ch4.iter().map(|a| a["id"].as_str().unwrap().to_owned()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(ids.len(), 140);
    ids.into_iter().collect()
}

/// Every alarm of the rule was told once: as raised, or in the digest of what rose and fell while firedamp caught up after a
/// start; each key with one content and a right signature.
pub async fn assert_told(webhook: &Webhook) {
    use hmac::{Hmac, Mac};
    let told = tests::wait_for_async("everything is told", Duration::from_secs(60), || async {
        let told: Vec<String> = webhook.contents().values().flat_map(|body| told_by(body)).collect();
        (told.len() >= 140).then_some(told)
    })
    .await;
    let distinct = told.iter().collect::<std::collections::BTreeSet<_>>().len();
    assert_eq!((told.len(), distinct), (140, 140), "each alarm is told as new once");
    for message in webhook.received() {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"s").unwrap();
        mac.update(&message.body);
        assert_eq!(message.signature, format!("sha256={}", hex::encode(mac.finalize().into_bytes())));
    }
}

/// Alarms of the rule that this message tells of for the first time.
fn told_by(body: &[u8]) -> Vec<String> {
    let message: Value = serde_json::from_slice(body).unwrap();
    let alarms = match message["event"].as_str() {
        Some("raised") => vec![message["alarm"].clone()],
        Some("digest") => message["alarms"].as_array().unwrap().clone(),
        _ => Vec::new(),
    };
    alarms.iter().filter(|a| a["rule"] == "ch4").map(|a| a["id"].as_str().unwrap().to_owned()).collect()
}
