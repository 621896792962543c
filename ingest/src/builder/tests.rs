//! The rules of the edge, one line each.

use super::*;
use crate::testing::{Fixture, NOW};
use model::PointId;
use model::people::Presence;
use model::time::SECOND;

fn one(
    flags: u8,
    site: &str,
    point: &str,
    time: Option<Micros>,
    value: Option<f64>,
    status: i32,
) -> Delivery {
    let fixture = Fixture::new(flags);
    let mut builder = DeliveryBuilder::new(&fixture.context);
    builder.reading(site, point, time, value, status);
    let delivery = builder.finish();
    assert_eq!(delivery.received, NOW);
    delivery
}

fn row(d: &Delivery) -> (PointId, Micros, f64, i32) {
    assert_eq!((d.readings.len(), d.unknown.len(), d.refused.len()), (1, 0, 0), "{d:?}");
    d.readings.row(0)
}

#[test]
fn a_good_reading_is_kept_as_sent() {
    let d = one(0, "M1", "T1", Some(NOW - SECOND), Some(0.5), 5);
    assert_eq!(row(&d), (PointId::of("M1", "T1"), NOW - SECOND, 0.5, 5));
}

#[test]
fn time_rules() {
    assert_eq!(row(&one(0, "M1", "T1", None, Some(1.0), 0)).1, NOW);
    assert_eq!(row(&one(0, "M1", "T1", None, Some(1.0), 0)).3, status::NO_DEVICE_TIME);
    assert_eq!(row(&one(0, "M1", "T1", Some(NOW + AHEAD_MAX), Some(1.0), 0)).3, 0);
    assert_eq!(row(&one(0, "M1", "T1", Some(NOW + AHEAD_MAX + 1), Some(1.0), 0)).3, status::FUTURE);
    assert_eq!(row(&one(run_flags::REPLAY, "M1", "T1", Some(NOW + AHEAD_MAX + 1), Some(1.0), 0)).3, 0);
    for bad in [0, TIME_MIN - 1, TIME_MAX, Micros::MIN, Micros::MAX] {
        let d = one(0, "M1", "T1", Some(bad), Some(1.0), 0);
        assert_eq!((d.readings.len(), d.refused[0].reason, d.refused[0].count), (0, "time", 1), "{bad}");
    }
    assert_eq!(row(&one(0, "M1", "T1", Some(TIME_MIN), Some(1.0), 0)).1, TIME_MIN);
}

#[test]
fn receive_time_ignores_the_device() {
    let fixture = Fixture::new(0);
    let mut builder = DeliveryBuilder::new(&fixture.context).with_receive_time(true);
    builder.reading("M1", "T1", Some(0), 1.0, 0);
    assert_eq!(row(&builder.finish()), (PointId::of("M1", "T1"), NOW, 1.0, status::NO_DEVICE_TIME));
}

#[test]
fn a_value_that_is_none_is_missing_never_zero() {
    for bad in [None, Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY)] {
        let d = one(0, "M1", "T1", Some(NOW), bad, 0);
        assert!(row(&d).2.is_nan());
        assert_eq!(row(&d).3, status::MISSING);
    }
}

#[test]
fn only_the_national_byte_is_taken_from_devices() {
    for bad in [256, status::SIMULATED, status::MISSING, -1, i32::MIN] {
        let d = one(run_flags::DRILL, "M1", "T1", Some(NOW), Some(1.0), bad);
        assert_eq!((d.readings.len(), d.refused[0].reason), (0, "status"), "{bad}");
    }
    assert_eq!(row(&one(0, "M1", "T1", Some(NOW), Some(1.0), 255)).3, 255);
    assert_eq!(row(&one(run_flags::DRILL, "M1", "T1", Some(NOW), Some(1.0), 1)).3, 1 | status::SIMULATED);
}

#[test]
fn marks_are_stale_and_historical_until_the_delivery_ends() {
    let fixture = Fixture::new(0);
    let mut builder = DeliveryBuilder::new(&fixture.context);
    builder.mark(status::STALE | status::SIMULATED);
    builder.reading("M1", "T1", Some(NOW), 1.0, 0);
    assert_eq!(row(&builder.finish()).3, status::STALE);
    builder.reading("M1", "T1", Some(NOW), 1.0, 0);
    assert_eq!(row(&builder.finish()).3, 0);
}

#[test]
fn unknown_points_go_to_the_policy_and_hopeless_names_are_refused() {
    let d = one(0, "M1", "T99", None, None, 4);
    let q = &d.unknown[0];
    assert_eq!((&*q.site, &*q.point, q.time, q.value), ("M1", "T99", NOW, None));
    assert_eq!((q.status, &*q.reason), (4 | status::NO_DEVICE_TIME | status::MISSING, "unknown point"));
    for (site, point) in [("", "T1"), ("M1", ""), ("M1", &*"x".repeat(NAME_LEN_MAX + 1))] {
        let d = one(0, site, point, None, Some(1.0), 0);
        assert_eq!((d.unknown.len(), d.refused[0].reason), (0, "name"));
    }
}

#[test]
fn ids_are_right_in_any_order_and_after_a_new_catalog() {
    let fixture = Fixture::new(0);
    let mut builder = DeliveryBuilder::new(&fixture.context);
    let orders: [&[&str]; 4] =
        [&["T1", "T2", "T3"], &["T1", "T2", "T3"], &["T3", "T1", "T1", "T2"], &["T2", "T9", "T3"]];
    for order in orders {
        for point in order {
            builder.reading("M1", point, Some(NOW), 1.0, 0);
        }
        let d = builder.finish();
        let want: Vec<i64> = order.iter().filter(|p| **p != "T9").map(|p| PointId::of("M1", p).0).collect();
        assert_eq!(&d.readings.point[..], want);
        assert_eq!(d.unknown.len(), order.len() - want.len());
    }
    fixture.set_catalog(&["T9"]);
    builder.reading("M1", "T9", Some(NOW), 1.0, 0);
    builder.reading("M1", "T1", Some(NOW), 1.0, 0);
    let d = builder.finish();
    assert_eq!((&d.readings.point[..], d.unknown.len()), (&[PointId::of("M1", "T9").0][..], 1));
}

#[test]
fn refusals_of_one_reason_are_summed_with_the_first_sample() {
    let fixture = Fixture::new(0);
    let mut builder = DeliveryBuilder::new(&fixture.context);
    builder.refuse("json", 1, "first\n");
    builder.refuse("json", 2, "second");
    let long = "\u{7164}".repeat(100);
    builder.refuse("topic", 1, &long);
    let d = builder.finish();
    assert_eq!((d.refused[0].count, &*d.refused[0].sample), (3, "first\u{fffd}"));
    assert!(d.refused[1].sample.len() <= SAMPLE_LEN_MAX + 3 && d.refused[1].sample.ends_with("..."));
    assert!(builder.is_empty());
}

#[test]
fn positions_of_unknown_sites_and_impossible_times_are_refused() {
    let fixture = Fixture::new(0);
    let mut builder = DeliveryBuilder::new(&fixture.context);
    let good = Position {
        site: "M1".into(),
        card: "C1".into(),
        name: String::new(),
        area: "A1".into(),
        station: "S1".into(),
        time: NOW,
        presence: Presence::Below,
        entered: None,
        state: String::new(),
    };
    builder.position(good.clone());
    builder.position(Position { site: "M9".into(), ..good.clone() });
    builder.position(Position { time: 5, ..good.clone() });
    builder.position(Position { card: String::new(), ..good.clone() });
    let d = builder.finish();
    assert_eq!(d.positions.unwrap().rows, [good]);
    let reasons: Vec<_> = d.refused.iter().map(|r| (r.reason, r.count)).collect();
    assert_eq!(reasons, [("site", 1), ("time", 1), ("name", 1)]);
}
