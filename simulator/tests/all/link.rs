//! A link that breaks: what was not acknowledged comes again, what was measured meanwhile comes afterwards.

use crate::support::{PATIENCE, Subscriber, mines, options, start};
use simulator::mqtt::{Message, Publisher, PublisherOptions};
use simulator::{Broker, Plan, Scenario};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn the_readings_of_a_gap_come_afterwards_in_order_with_their_own_times() {
    let broker = Broker::start().await.unwrap();
    let mut subscriber = Subscriber::to(&broker.url(), "mine/+/batch").await;
    // At 60 world seconds a second the link is down from 250 to 750 ms.
    let plan = Plan { rate: 60.0, period: Duration::from_millis(25), ..mines(2, Scenario::LinkBreak) };
    let running = start(&plan, options(Some(broker.url()))).await;
    let broken = running.world.sites()[0].code.clone();
    let (mut times, mut other, mut back_filled) = (Vec::new(), 0, 0);
    while times.last().is_none_or(|t| *t < 1000) {
        assert!(other < 20_000, "the link did not come back");
        let (topic, body) = subscriber.next().await;
        let t = body["readings"][0]["t"].as_i64().unwrap() - running.started / 1000;
        if !topic.contains(&broken) {
            other = other.max(t);
            continue;
        }
        if (250..750).contains(&t) && !times.contains(&t) {
            // Both mines are paced by one timer; 100 ms is for what is under way.
            assert!(other >= 650, "the reading of {t} came while the other mine was at {other}");
            back_filled += 1;
        }
        if times.contains(&t) {
            assert!((150..250).contains(&t), "{t} came twice, and was not under way when the link broke");
        } else {
            times.push(t);
        }
    }
    assert_eq!(back_filled, 20);
    let expected: Vec<i64> = (0..times.len() as i64).map(|k| k * 25).collect();
    assert_eq!(times, expected, "none is missing, all are in order");
    running.stop().await;
    broker.stop().await;
}

/// A broker by hand: takes a connection and answers its CONNECT.
async fn welcome(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let (head, _) = packet(&mut stream).await;
    assert_eq!(head, 0x10);
    stream.write_all(&[0x20, 2, 0, 0]).await.unwrap();
    stream
}

/// First byte and rest of a packet shorter than 128 bytes.
async fn packet(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    timeout(PATIENCE, stream.read_exact(&mut head)).await.unwrap().unwrap();
    let mut rest = vec![0; usize::from(head[1])];
    stream.read_exact(&mut rest).await.unwrap();
    (head[0], rest)
}

/// Id and payload of a PUBLISH to topic `t`.
fn publish(rest: &[u8]) -> ([u8; 2], &[u8]) {
    assert_eq!(rest[..3], [0, 1, b't']);
    ([rest[3], rest[4]], &rest[5..])
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_in_order_and_marked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://user:secret@{}", listener.local_addr().unwrap());
    let options = PublisherOptions { url, client: "c".to_owned(), window: 3 };
    let mut publisher = Publisher::start(options, CancellationToken::new()).unwrap();
    for body in ["a", "b", "c", "d", "e"] {
        publisher.send(&Message { topic: "t".to_owned(), payload: body.into() }).await.unwrap();
    }
    let mut first = welcome(&listener).await;
    for expected in [b"a", b"b", b"c"] {
        let (head, rest) = packet(&mut first).await;
        assert_eq!((head, publish(&rest).1), (0x32, &expected[..]));
    }
    // The window of three is full; one acknowledgement lets one more in. Then the link breaks.
    first.write_all(&[0x40, 2, 0, 1]).await.unwrap();
    assert_eq!(publish(&packet(&mut first).await.1).1, b"d");
    drop(first);
    let mut second = welcome(&listener).await;
    for (again, expected) in [(true, b"b"), (true, b"c"), (true, b"d"), (false, b"e")] {
        let (head, rest) = packet(&mut second).await;
        let (id, payload) = publish(&rest);
        assert_eq!((head, payload), (if again { 0x3a } else { 0x32 }, &expected[..]));
        second.write_all(&[0x40, 2, id[0], id[1]]).await.unwrap();
    }
    timeout(PATIENCE, publisher.settled()).await.unwrap().unwrap();
    let progress = publisher.stop().await;
    assert_eq!(
        (progress.taken, progress.acknowledged, progress.repeated, progress.connections),
        (5, 5, 3, 2)
    );
    let (head, _) = packet(&mut second).await;
    assert_eq!(head, 0xe0, "it says goodbye");
}

#[tokio::test]
async fn a_refusal_is_told_and_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let options = PublisherOptions { url, client: "c".to_owned(), window: 1 };
    let mut publisher = Publisher::start(options, CancellationToken::new()).unwrap();
    let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    packet(&mut stream).await;
    stream.write_all(&[0x20, 2, 0, 5]).await.unwrap();
    publisher.send(&Message { topic: "t".to_owned(), payload: vec![1] }).await.unwrap();
    let mut second = welcome(&listener).await;
    assert_eq!(packet(&mut second).await.0, 0x32);
    assert!(publisher.progress().trouble.contains("return code 5"), "{:?}", publisher.progress());
    assert!(publisher.send(&Message { topic: "a/+".to_owned(), payload: vec![] }).await.is_err());
    publisher.stop().await;
    for url in ["mqtts://h", "nonsense", "http://h:1"] {
        let options = PublisherOptions { url: url.to_owned(), client: "c".to_owned(), window: 1 };
        assert!(Publisher::start(options, CancellationToken::new()).is_err(), "{url}");
    }
}
