//! Gateways through the embedded broker, received by rumqttc.

use crate::support::{PATIENCE, Subscriber, mines, options, start};
use simulator::{Broker, Plan, Scenario, Transport, World};
use std::collections::{BTreeSet, HashMap};
use std::net::TcpStream;
use std::time::Duration;
use tokio::time::timeout;

#[tokio::test]
async fn messages_carry_the_values_of_the_world_at_their_times() {
    let broker = Broker::start().await.unwrap();
    let mut subscriber = Subscriber::to(&broker.url(), "#").await;
    let plan = Plan { plants: 1, ..mines(2, Scenario::Surge) };
    let mut options = options(Some(broker.url()));
    options.modbus = false;
    let running = start(&plan, options).await;
    assert_eq!(running.transports(), [Transport::Mqtt; 3]);
    let world = World::new(&plan);
    let value = |site: &str, point: &str, t_ms: i64| {
        let since = Duration::from_millis((t_ms - running.started / 1000).try_into().unwrap());
        let (s, p) = world.find(site, point).unwrap_or_else(|| panic!("{site} {point}"));
        world.site_at(s, since).samples[p]
    };
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut points = BTreeSet::new();
    let kinds = ["gas", "mine batch", "plant batch", "people"];
    while kinds.iter().any(|k| seen.get(k).is_none_or(|n| *n < 30)) {
        let (topic, body) = subscriber.next().await;
        let part: Vec<&str> = topic.split('/').collect();
        let kind = match part[..] {
            ["mine", site, "gas", point] => {
                let sample = value(site, point, body["t"].as_i64().unwrap());
                assert_eq!(
                    (body["v"].as_f64(), body["q"].as_i64()),
                    (sample.value, Some(sample.status.into()))
                );
                points.insert(point.to_owned());
                "gas"
            }
            [kind, site, "batch"] => {
                for r in body["readings"].as_array().unwrap() {
                    let point = r["p"].as_str().unwrap();
                    let sample = value(site, point, r["t"].as_i64().unwrap());
                    assert_eq!(
                        (r["v"].as_f64(), r["q"].as_i64()),
                        (sample.value, Some(sample.status.into()))
                    );
                    points.insert(point.to_owned());
                }
                if kind == "mine" { "mine batch" } else { "plant batch" }
            }
            ["mine", site, "people"] => {
                let place = &world.sites()[world.sites().iter().position(|s| s.code == site).unwrap()];
                assert!(place.people.iter().any(|p| p.card == body["card"] && p.name == body["name"]));
                let area = place.areas.iter().find(|a| a.code == body["area"]).unwrap();
                assert!(
                    body["station"].as_str().unwrap().starts_with(&area.code) && body["out"].is_boolean()
                );
                assert!(body["time"].as_i64().unwrap() >= running.started / 1000);
                "people"
            }
            _ => panic!("topic {topic}"),
        };
        *seen.entry(kind).or_default() += 1;
    }
    let all: BTreeSet<String> =
        world.sites().iter().flat_map(|s| s.points.iter().map(|p| p.code.clone())).collect();
    assert_eq!(points, all, "every point is told");
    assert!(running.counts().readings >= 64 && running.counts().given_up == 0);
    running.stop().await;
    broker.stop().await;
}

#[tokio::test]
async fn the_broker_is_on_loopback_only_and_gone_when_stopped() {
    let running = start(&mines(1, Scenario::Quiet), options(None)).await;
    let addr = running.broker_addr().unwrap();
    assert!(addr.ip().is_loopback());
    assert_eq!(running.mqtt_url, Some(format!("mqtt://{addr}")));
    let second = Broker::start().await.unwrap();
    assert_ne!(second.addr(), addr);
    let mut open = TcpStream::connect(addr).unwrap();
    running.stop().await;
    assert!(TcpStream::connect(addr).is_err(), "the port is closed");
    open.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(!matches!(std::io::Read::read(&mut open, &mut [0; 1]), Ok(1..)), "connections are closed");
    second.stop().await;
}

#[tokio::test]
async fn a_gateway_outlives_its_broker_and_stops_without_one() {
    let broker = Broker::start().await.unwrap();
    let url = broker.url();
    let running = start(&mines(1, Scenario::Quiet), options(Some(url))).await;
    broker.stop().await;
    timeout(PATIENCE, running.stop()).await.expect("it stops while it cannot send");
}

#[tokio::test]
async fn a_wrong_clock_is_seven_minutes_ahead_and_only_the_stages() {
    let broker = Broker::start().await.unwrap();
    let mut subscriber = Subscriber::to(&broker.url(), "mine/+/batch").await;
    let running = start(&mines(2, Scenario::WrongClock), options(Some(broker.url()))).await;
    let codes: Vec<String> = running.world.sites().iter().map(|s| s.code.clone()).collect();
    let mut first: HashMap<String, i64> = HashMap::new();
    while first.len() < 2 {
        let (topic, body) = subscriber.next().await;
        let site = topic.split('/').nth(1).unwrap().to_owned();
        first.entry(site).or_insert(body["readings"][0]["t"].as_i64().unwrap() - running.started / 1000);
    }
    assert_eq!((first[&codes[0]], first[&codes[1]]), (420_000, 0));
    running.stop().await;
    broker.stop().await;
}
