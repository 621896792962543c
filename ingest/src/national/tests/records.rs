//! Records of each type, without a folder.

use super::setup::{MINE, at};
use crate::national::people::{parse_ryqy, parse_ryss, parse_ryxx};
use crate::national::readings::{Times, cdss, kgbh};
use crate::national::text::RecordError;
use model::people::Presence;
use proptest::prelude::*;

fn shown(e: RecordError) -> String {
    format!("{}: {}", e.reason, e.message)
}

#[test]
fn values_of_points() {
    let row = |value: &str, status: &str| format!("P;甲烷;T0;{value};%CH4;{status};2026-09-23 10:13:15");
    let read = |record: &str| cdss(record, &mut Times::default()).map(|r| (r.value, r.status)).map_err(shown);
    for (value, status, expected) in [
        ("1.02", "1", (Some(1.02), 1)),
        ("-0.5", "5", (Some(-0.5), 5)),
        ("+1e-3", "255", (Some(0.001), 255)),
        ("-9999", "128", (None, 128)),
        ("-9999.00", "0", (None, 0)),
        ("", "32", (None, 32)),
        ("0", "007", (Some(0.0), 7)),
    ] {
        assert_eq!(read(&row(value, status)), Ok(expected), "{value} {status}");
    }
    for (value, status, expected) in [
        ("1,02", "0", "value: value `1,02` is not a number"),
        ("NaN", "0", "value: value `NaN`"),
        ("inf", "0", "value: value `inf`"),
        ("1e999", "0", "value: value `1e999`"),
        ("0x10", "0", "value: value `0x10`"),
        ("1", "256", "status: status `256`"),
        ("1", "-1", "status: status `-1`"),
        ("1", "", "status: status ``"),
        ("1", "alarm", "status: status `alarm`"),
    ] {
        let error = read(&row(value, status)).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
    for (record, expected) in [
        ("P;甲烷;T0;1;%;0;2026-09-23", "time: time `2026-09-23`"),
        ("P;甲烷;T0;1;%;0;2026-02-30 00:00:00", "time: time `2026-02-30"),
        ("P;甲烷;T0;1;%;0;", "time: time ``"),
        (";甲烷;T0;1;%;0;2026-09-23 10:13:15", "point: the point code is empty"),
        ("P;甲烷;T0;1;%;0", "fields: 6 fields, expected 7"),
        ("P;甲烷;T0；1;%;0;2026-09-23 10:13:15", "full_width"),
        ("", "fields: 1 fields"),
    ] {
        let error = read(record).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
    let switch = kgbh("P;1;2026-09-23 10:13:15", &mut Times::default()).unwrap();
    assert_eq!((switch.value, switch.status, switch.time), (Some(1.0), 0, at("2026-09-23 10:13:15")));
}

fn ryss(changes: &[(usize, &str)]) -> String {
    let mut fields = [
        "62000000000100001",
        "张三",
        "1",
        "2026-09-23 08:00:00",
        "xxxx-xx-xx xx:xx:xx",
        "6200000000010001",
        "2026-09-23 09:00:00",
        "6200000000010001000001",
        "2026-09-23 09:30:00",
        "三八制",
        "-12.50",
        "正常",
        "0",
        "1",
        "6200000000010001000001&2026-09-23 09:30:00",
    ];
    for (i, value) in changes {
        fields[i - 1] = value;
    }
    fields.join(";")
}

#[test]
fn people_now() {
    let snapshot = at("2026-09-23 10:13:19");
    let read = |record: &str| parse_ryss(record, MINE, snapshot);
    let below = read(&ryss(&[])).unwrap();
    assert_eq!(
        (below.presence, below.time, below.entered),
        (Presence::Below, snapshot, Some(at("2026-09-23 08:00:00")))
    );
    assert_eq!((below.card.as_str(), below.area.len(), below.station.len()), ("62000000000100001", 16, 22));
    let out = read(&ryss(&[(3, "2"), (5, "2026-09-23 10:10:00")])).unwrap();
    assert_eq!((out.presence, out.time), (Presence::Out, at("2026-09-23 10:10:00")));
    for (changes, expected) in [
        (vec![(3, "0")], Presence::Uncertain),
        (vec![(3, "0"), (5, "2026-09-23 10:10:00")], Presence::Out),
        (vec![(3, "0"), (4, "")], Presence::Out),
        (vec![(5, "XXXX-XX-XX XX:XX:XX")], Presence::Below),
        (vec![(5, ""), (7, ""), (9, "xxxx-xx-xx xx:xx:xx")], Presence::Below),
    ] {
        assert_eq!(read(&ryss(&changes)).unwrap().presence, expected, "{changes:?}");
    }
    for (change, expected) in [
        ((1, ""), "card: the card code is empty"),
        ((3, "3"), "flag: in/out flag is `3`"),
        ((3, ""), "flag: in/out flag is ``"),
        ((4, "08:00"), "time: time `08:00`"),
        ((9, "2026-09-23 9:30"), "time: time `2026-09-23 9:30`"),
    ] {
        let error = shown(read(&ryss(&[change])).unwrap_err());
        assert!(error.starts_with(expected), "{error}");
    }
    assert!(shown(read("a;b;c").unwrap_err()).starts_with("fields: 3 fields, expected 15"));
}

#[test]
fn who_and_where() {
    let person = parse_ryxx("62000000000100001;张三;采煤工;未设置;综采一队;1990-01-01;;0;1").unwrap();
    assert_eq!(
        (person.name.as_str(), person.duty.as_str(), person.leader, person.special),
        ("张三", "", false, true)
    );
    for bad in [";张三;;;;;;0;1", "c;张三;;;;;;2;1", "c;张三;;;;;;0", "c;张三;;;;;;0;x"] {
        assert!(parse_ryxx(bad).is_err(), "{bad}");
    }
    let area = parse_ryqy("重点区域;6200000000010001;30;1301综采工作面").unwrap();
    assert_eq!(
        (area.kind.as_str(), area.authorised, area.name.as_str()),
        ("重点区域", Some(30), "1301综采工作面")
    );
    assert_eq!(parse_ryqy("其它区域;6200000000010002;未设置;x").unwrap().authorised, None);
    for bad in
        ["重点区域;;30;x", "重点区域;6200000000010001;-1;x", "重点区域;6200000000010001;many;x", "a;b;c"]
    {
        assert!(parse_ryqy(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_record_is_read_or_refused_never_a_panic(record in "[a-z0-9;；测x:. -]{0,80}") {
        let _ = cdss(&record, &mut Times::default()).map(|_| ());
        let _ = kgbh(&record, &mut Times::default()).map(|_| ());
        let _ = parse_ryss(&record, MINE, 0);
        let _ = parse_ryxx(&record);
        let _ = parse_ryqy(&record);
    }

    #[test]
    fn what_is_written_is_read(value in -1e6f64..1e6, status: u8, second in 0u32..60) {
        let record = format!("P;n;l;{value};%;{status};2026-09-23 10:13:{second:02}");
        let row = cdss(&record, &mut Times::default()).unwrap();
        prop_assert_eq!(row.value, (value != -9999.0).then_some(value));
        prop_assert_eq!(row.status, i32::from(status));
        prop_assert_eq!(row.time, at("2026-09-23 10:13:00") + i64::from(second) * 1_000_000);
    }
}
