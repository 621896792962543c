//! What is remembered of refusals, without a device.

use super::*;
use crate::modbus::config::Unit;
use crate::modbus::link::Target;
use crate::modbus::plan::{Shape, Table};
use crate::modbus::value::{Linear, Order, Type};

fn unit(addresses: &[u16]) -> UnitState {
    let items: Vec<_> =
        addresses.iter().map(|a| Item { table: Table::Holding, address: *a, width: 1 }).collect();
    let point = |(item, address): (usize, &u16)| PointConfig {
        site: "M1".into(),
        point: format!("R{address}"),
        item,
        ty: Type::U16,
        order: Order::Abcd,
        bit: 0,
        linear: Linear::default(),
        missing: None,
        status: None,
    };
    let points = addresses.iter().enumerate().map(point).collect();
    let config = Config {
        target: Target { host: "h".into(), port: 502 },
        every: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        shape: Shape::default(),
        replay: None,
        units: vec![Unit { unit: 1, items, points }],
        named: Vec::new(),
    };
    UnitState::new(Arc::new(config), 0)
}

/// Polls a device that knows only some addresses; the requests of the poll as (address, count).
fn poll(unit: &mut UnitState, known: &[u16], now: Instant) -> Vec<(u16, u16)> {
    let mut asked = Vec::new();
    let mut todo = unit.begin(now);
    todo.reverse();
    while let Some(block) = todo.pop() {
        asked.push((block.address, block.count));
        let places = block.address..block.address + block.count;
        if places.clone().all(|a| known.contains(&a)) {
            unit.read(&block, &places.collect::<Vec<_>>());
        } else if let Some([first, second]) = unit.excepted(&block, 2, now) {
            todo.push(second);
            todo.push(first);
        }
    }
    asked
}

#[test]
fn a_gap_that_the_device_does_not_know_is_found_once() {
    let mut unit = unit(&[0, 1, 5, 6]);
    let now = Instant::now();
    assert_eq!(poll(&mut unit, &[0, 1, 5, 6], now), [(0, 7), (0, 2), (5, 2)]);
    assert!(unit.is_whole());
    assert_eq!(poll(&mut unit, &[0, 1, 5, 6], now), [(0, 2), (5, 2)], "the cut is remembered");
}

#[test]
fn a_refused_register_is_left_alone_for_a_minute_and_then_asked_alone() {
    let mut unit = unit(&[0, 1, 2, 3]);
    let now = Instant::now();
    assert_eq!(poll(&mut unit, &[0, 1, 3], now), [(0, 4), (0, 2), (2, 2), (2, 1), (3, 1)]);
    assert_eq!(poll(&mut unit, &[0, 1, 3], now), [(0, 2), (3, 1)]);
    let points = unit.points().to_vec();
    assert_eq!(unit.value(&points[2]), (None, status::NOT_INSPECTED));
    assert_eq!(unit.value(&points[3]), (Some(3.0), 0));
    assert_eq!(unit.complaints(9), ["R2: holding 2 of unit 1: exception 2, illegal data address"]);
    let later = now + REFUSED_AGAIN;
    assert_eq!(poll(&mut unit, &[0, 1, 3], later), [(0, 2), (2, 1), (3, 1)], "again refused");
    let later = later + REFUSED_AGAIN;
    assert_eq!(poll(&mut unit, &[0, 1, 2, 3], later), [(0, 2), (2, 1), (3, 1)], "the device was changed");
    assert_eq!(poll(&mut unit, &[0, 1, 2, 3], later), [(0, 4)], "and is read whole again");
    assert!(unit.complaints(9).is_empty());
}

#[test]
fn a_device_that_refuses_all_is_asked_for_each_register_once_a_minute() {
    let mut unit = unit(&[0, 1, 2]);
    let now = Instant::now();
    poll(&mut unit, &[], now);
    assert_eq!(poll(&mut unit, &[], now), []);
    assert_eq!(unit.some_block().unwrap().address, 0);
    assert_eq!(unit.complaints(2).len(), 2);
}

#[test]
fn a_unit_that_is_away_is_asked_again_after_its_back_off() {
    let mut unit = unit(&[0]);
    let now = Instant::now();
    unit.gone(Fault::Exception(11), now);
    let until = unit.away().unwrap().until;
    assert!(until > now && until <= now + Duration::from_secs(1));
    assert_eq!(unit.value(&unit.points()[0].clone()), (None, status::STATION_FAULT));
    assert_eq!(unit.complaints(9), ["unit 1: exception 11, no answer from the device behind the gateway"]);
    unit.ask_now(now);
    assert_eq!(unit.away().unwrap().until, now);
    assert!(unit.answers() && !unit.answers());
}
