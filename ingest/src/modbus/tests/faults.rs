//! What a misbehaving device can and cannot do.

use super::device::{Device, Mood};
use super::setup::{rows, start, start_at, values};
use model::{PointId, status};

const FAULT: i32 = status::MISSING | status::STATION_FAULT | status::NO_DEVICE_TIME;

fn two_units(timeout: &str) -> String {
    format!(
        "site = \"M1\"\nevery = \"20ms\"\ntimeout = \"{timeout}\"\nregister = [\n\
         {{ point = \"T1\", unit = 1, address = 0 }},\n{{ point = \"T2\", unit = 2, address = 0 }},\n\
         {{ point = \"T3\", unit = 3, address = 0 }} ]"
    )
}

async fn three_units(links_max: usize) -> Device {
    let device = Device::start(links_max).await;
    for unit in 1..=3 {
        device.set(unit, 3, 0, &[u16::from(unit)]);
    }
    device
}

/// A device in this mood costs the link, its point is at fault, no wrong value is ever taken, and it comes back.
async fn check_mood(mood: Mood, word_in_health: &str) {
    let device = Device::start(9).await;
    device.set(1, 3, 0, &[11, 22]);
    let keys = "site = \"M1\"\nevery = \"20ms\"\ntimeout = \"100ms\"\nregister = [\n\
                { point = \"T1\", address = 0 }, { point = \"T2\", address = 1 } ]";
    let running = start(&device, &["T1", "T2"], keys);
    running.wait_reading("T1", |value, _| value == 11.0).await;
    let before = device.links();
    device.mood(1, mood);
    running.wait_reading("T1", |value, bits| value.is_nan() && bits == FAULT).await;
    let said = running.fixture.health();
    assert!(!said.up && said.message.contains(word_in_health), "{mood:?}: {said:?}");
    device.set(1, 3, 0, &[33, 44]);
    device.mood(1, Mood::Answer);
    running.wait_reading("T1", |value, _| value == 33.0).await;
    running.wait_reading("T2", |value, _| value == 44.0).await;
    assert!(device.links() > before, "{mood:?}: the link was kept");
    let taken = running.stop().await.sink.taken();
    for (point, allowed) in [("T1", [11.0, 33.0]), ("T2", [22.0, 44.0])] {
        for value in values(&taken, point) {
            assert!(value.is_nan() || allowed.contains(&value), "{mood:?}: {point} = {value}");
        }
    }
    device.stop().await;
}

#[tokio::test]
async fn a_device_that_does_not_answer() {
    check_mood(Mood::Silent, "no reply within 100ms").await;
}

#[tokio::test]
async fn a_device_that_answers_late() {
    check_mood(Mood::OneLate, "no reply within 100ms").await;
}

#[tokio::test]
async fn a_device_that_answers_with_anothers_transaction_id() {
    check_mood(Mood::WrongTransaction, "not to this request").await;
}

#[tokio::test]
async fn a_device_that_answers_for_another_unit() {
    check_mood(Mood::WrongUnit, "not to this request").await;
}

#[tokio::test]
async fn a_device_that_sends_a_register_too_few() {
    check_mood(Mood::Short, "1 places instead of 2").await;
}

#[tokio::test]
async fn a_device_that_sends_half_a_frame() {
    check_mood(Mood::Truncated, "no reply within 100ms").await;
}

#[tokio::test]
async fn a_device_that_hangs_up() {
    check_mood(Mood::Close, "closed the link").await;
}

#[tokio::test]
async fn a_device_that_speaks_another_protocol() {
    check_mood(Mood::Garbage, "not to this request").await;
}

#[tokio::test]
async fn a_late_reply_never_answers_the_next_request() {
    // Each link answers one request late: were it kept, unit 2 would get the register of unit 1.
    let device = three_units(9).await;
    let running = start(&device, &["T1", "T2", "T3"], &two_units("100ms"));
    running.wait_reading("T3", |value, _| value == 3.0).await;
    device.mood(1, Mood::OneLate);
    device.mood(2, Mood::OneLate);
    running.wait_reading("T2", |value, bits| value.is_nan() && bits == FAULT).await;
    device.mood(2, Mood::Answer);
    let mut answered = 0;
    running
        .wait(|taken| {
            answered = values(taken, "T2").iter().filter(|v| !v.is_nan()).count();
            (answered > 50).then_some(())
        })
        .await;
    let taken = running.stop().await.sink.taken();
    for (point, right) in [("T1", 1.0), ("T2", 2.0), ("T3", 3.0)] {
        assert!(
            values(&taken, point).iter().all(|v| v.is_nan() || *v == right),
            "{point} got another's value"
        );
    }
    device.stop().await;
}

#[tokio::test]
async fn one_dead_unit_costs_the_others_nothing_and_comes_back() {
    let device = three_units(9).await;
    // A time-out so long that a single further one on the main link would end the test.
    let running = start(&device, &["T1", "T2", "T3"], &two_units("1s"));
    running.wait_reading("T3", |value, _| value == 3.0).await;
    device.mood(2, Mood::Silent);
    running.wait_reading("T2", |value, bits| value.is_nan() && bits == FAULT).await;
    let after = device.wait_unit(2, device.requests().len()).await;
    let after = device.wait_unit(2, after).await;
    let requests = device.requests();
    let main = requests[..after].iter().rev().find(|r| r.unit == 3).unwrap().link;
    let asked = requests[after - 1];
    assert_ne!(asked.link, main, "the dead unit is asked on another link");
    let missing =
        |taken: &[crate::Delivery], point: &str| values(taken, point).iter().filter(|v| v.is_nan()).count();
    let taken = running.fixture.sink.taken();
    assert_eq!((missing(&taken, "T1"), missing(&taken, "T3")), (0, 0), "the others lost no poll");
    assert!(missing(&taken, "T2") > 5, "it is told at each poll");
    assert!(running.fixture.health().message.contains("unit 2: no reply"), "{:?}", running.fixture.health());
    device.mood(2, Mood::Answer);
    let polls = values(&taken, "T2").len();
    running.wait(|taken| values(taken, "T2")[polls..].contains(&2.0).then_some(())).await;
    running.wait(|_| running.fixture.health().message.is_empty().then_some(())).await;
    running.stop().await;
    device.stop().await;
}

#[tokio::test]
async fn a_device_with_room_for_one_link_gets_its_dead_unit_back_too() {
    let device = three_units(1).await;
    let running = start(&device, &["T1", "T2", "T3"], &two_units("100ms"));
    running.wait_reading("T3", |value, _| value == 3.0).await;
    device.mood(2, Mood::Silent);
    running.wait_reading("T2", |value, bits| value.is_nan() && bits == FAULT).await;
    let polls = values(&running.fixture.sink.taken(), "T2").len();
    device.mood(2, Mood::Answer);
    running.wait(|taken| values(taken, "T2")[polls..].contains(&2.0).then_some(())).await;
    running.stop().await;
    device.stop().await;
}

#[tokio::test]
async fn a_refused_register_is_named_and_its_neighbours_go_on() {
    let device = Device::start(1).await;
    device.set(1, 3, 0, &[10, 11]);
    device.set(1, 3, 3, &[13, 14]);
    let register = |n: u16| format!("{{ point = \"R{n}\", address = {n} }}");
    let list: Vec<_> = (0..5).map(register).collect();
    let keys = format!("site = \"M1\"\nevery = \"20ms\"\ntimeout = \"10s\"\nregister = [{}]", list.join(","));
    let running = start(&device, &["R0", "R1", "R2", "R3", "R4"], &keys);
    let first = running.wait(|taken| taken.first().cloned()).await;
    for (n, value) in [(0, 10.0), (1, 11.0), (3, 13.0), (4, 14.0)] {
        assert_eq!(values(std::slice::from_ref(&first), &format!("R{n}")), [value]);
    }
    let refused = rows(&[first]).into_iter().find(|r| r.0 == PointId::of("M1", "R2")).unwrap();
    assert_eq!(refused.3, status::MISSING | status::NOT_INSPECTED | status::NO_DEVICE_TIME);
    running.wait(|taken| (taken.len() > 5).then_some(())).await;
    let health = running.fixture.health();
    assert!(health.up, "an exception is an answer: {health:?}");
    assert!(
        health.message.contains("R2: holding 2 of unit 1: exception 2, illegal data address"),
        "{health:?}"
    );
    let asked: Vec<_> = device.requests().iter().rev().take(4).map(|r| (r.address, r.count)).collect();
    assert!(!asked.iter().any(|(address, count)| (*address..address + count).contains(&2)), "{asked:?}");
    running.stop().await;
    assert_eq!(device.links(), 1);
    device.stop().await;
}

#[tokio::test]
async fn exceptions_are_not_link_failures() {
    for (code, bits) in [(1, status::NOT_INSPECTED), (4, status::SENSOR_FAULT), (6, status::NOT_INSPECTED)] {
        let device = three_units(1).await;
        device.mood(2, Mood::Exception(code));
        let running = start(&device, &["T1", "T2", "T3"], &two_units("10s"));
        let wanted = bits | status::MISSING | status::NO_DEVICE_TIME;
        running.wait_reading("T2", |value, bits| value.is_nan() && bits == wanted).await;
        running.wait_reading("T3", |value, _| value == 3.0).await;
        assert!(running.fixture.health().up);
        running.stop().await;
        assert_eq!(device.links(), 1, "exception {code}");
        device.stop().await;
    }
}

#[tokio::test]
async fn a_unit_missing_behind_its_gateway_is_away_and_the_link_stays() {
    let device = three_units(1).await;
    device.mood(2, Mood::Exception(11));
    let running = start(&device, &["T1", "T2", "T3"], &two_units("500ms"));
    running.wait_reading("T2", |value, bits| value.is_nan() && bits == FAULT).await;
    running.wait(|taken| (values(taken, "T3").len() > 10).then_some(())).await;
    let asked = device.requests().iter().filter(|r| r.unit == 2).count();
    assert!(asked < 8, "asked {asked} times although it is away");
    device.mood(2, Mood::Answer);
    running.wait_reading("T2", |value, _| value == 2.0).await;
    running.stop().await;
    device.stop().await;
}

#[tokio::test]
async fn no_device_at_all_is_told_at_each_poll_and_stopping_does_not_wait() {
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let running = start_at(&format!("tcp://127.0.0.1:{port}"), &["T1", "T2", "T3"], &two_units("30s"));
    running.wait(|taken| (taken.len() > 6).then_some(())).await;
    let taken = running.fixture.sink.taken();
    assert!(rows(&taken).iter().all(|r| r.3 == FAULT));
    let health = running.fixture.health();
    assert!(!health.up && health.message.contains("cannot connect to 127.0.0.1"), "{health:?}");
    running.stop().await;
}

#[tokio::test]
async fn polls_that_come_due_during_a_poll_are_skipped_and_counted() {
    let device = Device::start(1).await;
    device.set(1, 3, 0, &[1]);
    let keys =
        "site = \"M1\"\nevery = \"10ms\"\ntimeout = \"200ms\"\nregister = [{ point = \"T1\", address = 0 }]";
    let running = start(&device, &["T1"], keys);
    running.wait_reading("T1", |value, _| value == 1.0).await;
    device.mood(1, Mood::Silent);
    running.wait_reading("T1", |value, _| value.is_nan()).await;
    let skipped = running.fixture.context.metrics.source("plc").event("poll_skipped");
    let timeouts = running.fixture.context.metrics.source("plc").event("timeout");
    running.wait(|_| (skipped.get() >= 10).then_some(())).await;
    assert!(timeouts.get() >= 1);
    running.stop().await;
    device.stop().await;
}
