//! The load generator through the embedded broker.

use crate::support::Subscriber;
use model::SystemClock;
use simulator::{Broker, FloodPlan, flood, flood_up_to};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn every_reading_of_a_flood_arrives_and_is_counted() {
    let broker = Broker::start().await.unwrap();
    let mut subscriber = Subscriber::to(&broker.url(), "mine/+/batch").await;
    let plan = FloodPlan {
        points: 1000,
        points_per_site: 200,
        readings_per_message: 100,
        rate: 20_000.0,
        duration: Duration::from_millis(300),
        connections: 2,
        over_every: Some(500),
    };
    let report = flood(&broker.url(), &plan, Arc::new(SystemClock), CancellationToken::new()).await.unwrap();
    assert!(report.readings >= 3000 && report.readings <= 6400, "{report:?}");
    assert_eq!((report.acknowledged, report.repeated), (report.messages, 0));
    let mut newest: HashMap<String, i64> = HashMap::new();
    let mut readings = 0;
    for _ in 0..report.messages {
        let (_, body) = subscriber.next().await;
        for r in body["readings"].as_array().unwrap() {
            let t = r["t"].as_i64().unwrap();
            let last = newest.insert(r["p"].as_str().unwrap().to_owned(), t);
            assert!(last.is_none_or(|l| l <= t), "times of a point grow");
            readings += 1;
        }
    }
    assert_eq!((readings, newest.len()), (report.readings, 1000));
    let none = FloodPlan { points: 0, ..plan };
    assert!(flood(&broker.url(), &none, Arc::new(SystemClock), CancellationToken::new()).await.is_err());
    broker.stop().await;
}

#[tokio::test]
async fn a_flood_stays_below_its_limit_and_goes_on_when_that_is_raised() {
    let broker = Broker::start().await.unwrap();
    let plan = FloodPlan { points: 1000, rate: 0.0, connections: 2, ..FloodPlan::default() };
    let (raise, limit) = tokio::sync::watch::channel(1000u64);
    let mut subscriber = Subscriber::to(&broker.url(), "mine/+/batch").await;
    let (url, stop) = (broker.url(), CancellationToken::new());
    let flooded = {
        let stop = stop.clone();
        tokio::spawn(async move { flood_up_to(&url, &plan, Arc::new(SystemClock), stop, limit).await })
    };
    for _ in 0..10 {
        subscriber.next().await;
    }
    raise.send(2000).unwrap();
    for _ in 0..10 {
        subscriber.next().await;
    }
    stop.cancel();
    assert_eq!(flooded.await.unwrap().unwrap().readings, 2000);
    broker.stop().await;
}
