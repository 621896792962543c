//! The configuration that a running simulator gives: every point is read exactly once.

use crate::support::{options, start};
use simulator::{Plan, Scenario};
use std::collections::BTreeMap;
use std::time::Duration;

#[tokio::test]
async fn each_device_is_read_by_exactly_one_source() {
    let dir = tempfile::tempdir().unwrap();
    let plan = Plan { mines: 3, file_mines: 1, plants: 2, scenario: Scenario::Quiet, ..Plan::default() };
    let mut options = options(None);
    options.files = Some(dir.path().join("in box"));
    let running = start(&plan, options).await;
    let text = running.sources_toml();
    let parsed: toml::Table = text.parse().unwrap_or_else(|e| panic!("{e}\n{text}"));
    let sources = parsed["source"].as_array().unwrap();
    let kind = |k: &str| sources.iter().filter(|s| s["kind"].as_str() == Some(k)).collect::<Vec<_>>();
    assert_eq!((kind("mqtt").len(), kind("modbus").len(), kind("national").len()), (3, 4, 1));
    assert!(kind("national")[0]["dir"].as_str().unwrap().ends_with("in box"));
    assert!(kind("mqtt").iter().all(|s| s["url"].as_str() == running.mqtt_url.as_deref()));
    let mut read: BTreeMap<(String, String), usize> = BTreeMap::new();
    for source in kind("modbus") {
        assert_eq!(source["every"].as_str(), Some("1s"));
        for r in source["register"].as_array().unwrap() {
            let key = (source["site"].as_str().unwrap().to_owned(), r["point"].as_str().unwrap().to_owned());
            *read.entry(key).or_default() += 1;
        }
    }
    for site in running.world.sites().iter().filter(|s| s.kind == "plant") {
        for p in &site.points {
            assert_eq!(read.remove(&(site.code.clone(), p.code.clone())), Some(1), "{}", p.code);
        }
    }
    assert!(read.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_mine_on_modbus_is_described_too() {
    let plan = Plan { mines: 1, plants: 0, period: Duration::from_millis(500), ..Plan::default() };
    let mut options = options(None);
    options.mqtt = false;
    let running = start(&plan, options).await;
    let parsed: toml::Table = running.sources_toml().parse().unwrap();
    let source = &parsed["source"][0];
    assert_eq!((source["every"].as_str(), source["register"].as_array().unwrap().len()), (Some("500ms"), 20));
    running.stop().await;
}
