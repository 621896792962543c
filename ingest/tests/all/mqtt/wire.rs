//! Against a scripted broker: what exactly goes over the wire, and when.

use super::*;
use ingest::testing::Mood;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CONNECT: u8 = 1;
const PUBACK: u8 = 4;
const SUBSCRIBE: u8 = 8;
const PINGREQ: u8 = 12;
const DISCONNECT: u8 = 14;

/// One connection of the source, seen from the broker.
struct Peer {
    stream: TcpStream,
    v5: bool,
}

impl Peer {
    /// Accepts a connection, its CONNECT and its SUBSCRIBE of the topics, which is answered with `code`.
    async fn accept(listener: &TcpListener, v5: bool, session_present: bool, code: u8) -> Self {
        let (stream, _) = patiently("a connection", listener.accept()).await.expect("loopback");
        let mut peer = Self { stream, v5 };
        let (kind, body) = peer.read().await;
        assert_eq!(kind, CONNECT);
        let clean = body[7] & 2 != 0;
        assert!(!clean, "the session must be a persistent one");
        peer.write(0x20, &[&[u8::from(session_present), 0][..], peer.no_properties()].concat()).await;
        peer.answer_subscribe(code).await;
        peer
    }

    async fn answer_subscribe(&mut self, code: u8) {
        loop {
            let (kind, body) = self.read().await;
            assert_eq!(kind, SUBSCRIBE);
            let system = body.windows(4).any(|w| w == b"$SYS");
            let code = if system { 0x80 } else { code };
            self.write(0x90, &[&body[..2], self.no_properties(), &[code]].concat()).await;
            if system {
                return;
            }
        }
    }

    fn no_properties(&self) -> &'static [u8] {
        if self.v5 { &[0] } else { &[] }
    }

    /// The next packet: its kind and what follows its length.
    async fn read(&mut self) -> (u8, Vec<u8>) {
        patiently("a packet", async {
            let first = self.stream.read_u8().await.expect("the source is there");
            let (mut len, mut shift) = (0usize, 0);
            loop {
                let byte = self.stream.read_u8().await.expect("a length");
                len |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let mut body = vec![0; len];
            self.stream.read_exact(&mut body).await.expect("the rest of the packet");
            (first >> 4, body)
        })
        .await
    }

    /// The next packet that is not a ping; pings are answered.
    async fn read_answering_pings(&mut self) -> (u8, Vec<u8>) {
        loop {
            match self.read().await {
                (PINGREQ, _) => self.write(0xd0, &[]).await,
                other => return other,
            }
        }
    }

    async fn write(&mut self, first: u8, body: &[u8]) {
        assert!(body.len() < 128, "one byte of length is enough for these tests");
        let packet = [&[first, body.len() as u8][..], body].concat();
        self.stream.write_all(&packet).await.expect("the source reads");
    }

    /// Sends a reading with QoS 1.
    async fn publish(&mut self, id: u16, value: usize) {
        let topic = b"mine/M1/gas/T1";
        let payload = reading(value);
        let body =
            [&[0, topic.len() as u8][..], topic, &id.to_be_bytes(), self.no_properties(), payload.as_bytes()]
                .concat();
        self.write(0x32, &body).await;
    }

    /// Sends a reading with QoS 0.
    async fn publish_unsafe(&mut self, value: usize) {
        let topic = b"mine/M1/gas/T1";
        let payload = reading(value);
        let body = [&[0, topic.len() as u8][..], topic, self.no_properties(), payload.as_bytes()].concat();
        self.write(0x30, &body).await;
    }

    /// Whether the source has hung up.
    async fn gone(&mut self) -> bool {
        patiently("the source to hang up", self.stream.read_u8()).await.is_err()
    }

    async fn expect_puback(&mut self, id: u16) {
        let (kind, body) = self.read_answering_pings().await;
        assert_eq!((kind, &body[..2]), (PUBACK, &id.to_be_bytes()[..]));
    }
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    (listener, port)
}

fn version(v5: bool) -> &'static str {
    if v5 { "5" } else { "3.1.1" }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_log_stops_acknowledgements_but_not_pings() {
    for (v5, keep_alive) in [(false, "1s"), (true, "5s")] {
        let (listener, port) = listen().await;
        let fixture = Fixture::new(0);
        fixture.sink.set(Mood::Stall);
        let more = format!("{GAS}\nkeep_alive = \"{keep_alive}\"");
        let running = Running::start(&fixture, source(port, version(v5), &more));
        let mut peer = Peer::accept(&listener, v5, false, 1).await;
        for (id, value) in [(7, 1), (3, 2), (9, 3)] {
            peer.publish(id, value).await;
        }
        patiently("a delivery under way", fixture.sink.wait_calls(1)).await;
        for _ in 0..if v5 { 1 } else { 3 } {
            let (kind, _) = peer.read().await;
            assert_eq!(kind, PINGREQ, "something was acknowledged before it was durable");
            peer.write(0xd0, &[]).await;
        }
        fixture.sink.set(Mood::Take);
        for id in [7, 3, 9] {
            peer.expect_puback(id).await;
        }
        assert_eq!(values(&fixture), [1, 2, 3]);
        running.stop.cancel();
        assert_eq!(peer.read_answering_pings().await.0, DISCONNECT);
        drop(peer);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_of_an_earlier_connection_is_thrown_away() {
    for v5 in [false, true] {
        let (listener, port) = listen().await;
        let fixture = Fixture::new(0);
        fixture.sink.set(Mood::Stall);
        let running = Running::start(&fixture, source(port, version(v5), GAS));
        let mut peer = Peer::accept(&listener, v5, false, 1).await;
        peer.publish(1, 1).await;
        patiently("the delivery", fixture.sink.wait_calls(1)).await;
        drop(peer);
        health(&fixture, "down", |h| !h.up).await;
        fixture.sink.set(Mood::Take);

        // The new connection uses the same packet id for another message: only that one may be acknowledged, when it came.
        let mut peer = Peer::accept(&listener, v5, true, 1).await;
        assert_eq!(fixture.sink.rows(), 1, "connected before the earlier connection was settled");
        fixture.sink.set(Mood::Stall);
        peer.publish(1, 2).await;
        patiently("the second delivery", fixture.sink.wait_calls(2)).await;
        peer.publish(2, 3).await;
        fixture.sink.set(Mood::Take);
        peer.expect_puback(1).await;
        peer.expect_puback(2).await;
        assert_eq!(fixture.context.metrics.source("test").stale_acks.get(), 1);
        drop(peer);
        running.stop().await;
        assert_eq!(values(&fixture), [1, 2, 3]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_subscribed_on_each_connection_and_a_refusal_is_told() {
    for (v5, refused, told) in [(false, 0x80, "not allowed"), (true, 0x87, "NotAuthorized")] {
        let (listener, port) = listen().await;
        let fixture = Fixture::new(0);
        let running = Running::start(&fixture, source(port, version(v5), GAS));
        let peer = Peer::accept(&listener, v5, false, refused).await;
        let said = format!("the broker refuses topic `mine/+/gas/+`: {told}");
        health(&fixture, "refused", |h| h.up && h.message == said).await;
        drop(peer);
        let peer = Peer::accept(&listener, v5, true, 0).await;
        health(&fixture, "granted QoS 0", |h| h.up && h.message.contains("only QoS 0")).await;
        drop(peer);
        let mut peer = Peer::accept(&listener, v5, true, 1).await;
        health(&fixture, "well", |h| h.up && h.message.is_empty()).await;
        running.stop.cancel();
        assert_eq!(peer.read_answering_pings().await.0, DISCONNECT);
        drop(peer);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_from_the_broker_is_a_lost_connection() {
    let (listener, port) = listen().await;
    let fixture = Fixture::new(0);
    let running = Running::start(&fixture, source(port, "5", GAS));
    let mut peer = Peer::accept(&listener, true, false, 1).await;
    up(&fixture).await;
    peer.stream.write_all(&[0xff; 64]).await.unwrap();
    health(&fixture, "down", |h| !h.up && h.message.contains("lost")).await;
    let mut peer = Peer::accept(&listener, true, true, 1).await;
    peer.publish(1, 1).await;
    peer.expect_puback(1).await;
    drop(peer);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_never_answers_does_not_hold_up_the_stop() {
    let (_listener, port) = listen().await;
    let fixture = Fixture::new(0);
    let running = Running::start(&fixture, source(port, "5", GAS));
    running.stop().await;
    assert!(!fixture.health().up);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_may_wait_is_left_to_the_broker_until_the_log_has_taken_the_rest() {
    let (listener, port) = listen().await;
    let fixture = Fixture::new(0);
    fixture.sink.set(Mood::Stall);
    // Room for two readings of 25 bytes.
    let more = format!("{GAS}\nunder_way_max = \"60B\"");
    let running = Running::start(&fixture, source(port, "3.1.1", &more));
    let mut peer = Peer::accept(&listener, false, false, 1).await;
    for id in 1..=3 {
        peer.publish(id, usize::from(id)).await;
    }
    assert!(peer.gone().await, "something was acknowledged that is not durable");
    health(&fixture, "hung up", |h| !h.up && h.message.contains("wait for the log: hung up")).await;
    assert_eq!(fixture.sink.rows(), 0);
    // Longer than the first back-off: what does not happen can only be waited for.
    let early = tokio::time::timeout(Duration::from_millis(600), listener.accept()).await;
    assert!(
        early.is_err(),
        "connected again while the log does not take readings: memory would grow with each connection"
    );
    fixture.sink.set(Mood::Take);
    let mut peer = Peer::accept(&listener, false, true, 1).await;
    assert_eq!(fixture.sink.rows(), 2);
    for id in 1..=3 {
        peer.publish(id, usize::from(id)).await;
        peer.expect_puback(id).await;
    }
    drop(peer);
    running.stop().await;
    assert_eq!(values(&fixture), [1, 2, 1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_qos_0_that_find_no_room_are_counted() {
    let (listener, port) = listen().await;
    let fixture = Fixture::new(0);
    fixture.sink.set(Mood::Stall);
    let more = format!("{GAS}\nqos = 0\nunder_way_max = \"60B\"");
    let running = Running::start(&fixture, source(port, "5", &more));
    let mut peer = Peer::accept(&listener, true, false, 0).await;
    let mut sent = 0;
    let later = ingest::testing::NOW + model::time::SECOND;
    for _ in 0..5 {
        sent += 1;
        peer.publish_unsafe(sent as usize).await;
    }
    patiently("a delivery under way", fixture.sink.wait_calls(1)).await;
    // The clock tells when the five have been read: the source has heard something after them.
    fixture.clock.set(later);
    let read = async {
        while fixture.health().last != Some(later) {
            sent += 1;
            peer.publish_unsafe(sent as usize).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    patiently("the first messages to be read", read).await;
    fixture.sink.set(Mood::Take);
    // One more, until one finds room: it is taken after all that came before it, and what was counted of them comes with it at the latest.
    let last_is_taken = async {
        loop {
            sent += 1;
            peer.publish_unsafe(sent as usize).await;
            for _ in 0..20 {
                if values(&fixture).last() == Some(&(sent as usize)) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    patiently("a message that finds room", last_is_taken).await;
    drop(peer);
    running.stop().await;
    let (deliveries, taken) = (fixture.sink.taken(), values(&fixture));
    let counted = || deliveries.iter().flat_map(|d| &d.refused);
    let refused: u64 = counted().map(|r| r.count).sum();
    assert!(refused >= 3, "there was room for two of the first five");
    assert!(counted().all(|r| r.reason == "overload"));
    assert!(taken.is_sorted_by(|a, b| a < b), "each is taken once: {taken:?}");
    assert_eq!(refused + taken.len() as u64, sent, "a message vanished, or was counted twice");
}
