//! What mappings make of messages, as text: one case a line.

use super::*;
use crate::DeliveryBuilder;
use crate::testing::{Fixture, NOW};
use model::{status, time};
use proptest::prelude::*;

fn mapping(each: Option<&str>, map: &[(&str, &str)]) -> Mapping {
    let texts = Texts { each, map: map.to_vec(), time_format: TimeFormat::Millis };
    Mapping::compile(&texts).expect("the mapping of a test compiles")
}

fn gas() -> Mapping {
    mapping(None, &[("site", "{1}"), ("point", "{3}"), ("value", "/v"), ("time", "/t"), ("status", "/q")])
}

fn many() -> Mapping {
    let map = [("site", "M1"), ("point", "/p"), ("value", "/v"), ("time", "/t"), ("status", "/q")];
    mapping(Some("/readings"), &map)
}

/// What comes out, as `point@seconds after NOW=value!status`, `?point` when unknown, `-reason*count`.
fn shown(mapping: &Mapping, topic: &str, payload: &[u8]) -> String {
    let fixture = Fixture::new(0);
    let mut out = DeliveryBuilder::new(&fixture.context);
    mapping.decode(&mut Scratch::default(), topic, payload, &mut out);
    let d = out.finish();
    let catalog = fixture.context.catalog();
    let mut parts = Vec::new();
    for i in 0..d.readings.len() {
        let (id, t, value, word) = d.readings.row(i);
        let code = &catalog.point(catalog.ix(id).unwrap()).code;
        parts.push(format!("{code}@{}={value}!{word}", (t - NOW) / time::SECOND));
    }
    parts.extend(d.unknown.iter().map(|q| format!("?{}/{}", q.site, q.point)));
    parts.extend(d.positions.iter().flat_map(|p| &p.rows).map(|p| {
        let at = (p.time - NOW) / time::SECOND;
        format!("{}:{}:{}:{}:{}@{at}:{:?}", p.site, p.card, p.name, p.area, p.station, p.presence)
    }));
    parts.extend(d.refused.iter().map(|r| format!("-{}*{}", r.reason, r.count)));
    parts.join(" ")
}

fn check(mapping: &Mapping, payload: &str, want: &str) {
    let payload = payload.replace("NOW", &(NOW / 1000).to_string());
    assert_eq!(shown(mapping, "mine/M1/gas/T1", payload.as_bytes()), want, "{payload}");
}

#[test]
fn one_reading_a_message() {
    let none = status::NO_DEVICE_TIME;
    for (payload, want) in [
        (r#"{"v":0.42,"t":NOW,"q":1}"#, "T1@0=0.42!1".to_owned()),
        (r#"{"t":NOW,"other":[1,{"v":9}],"v":"0.42"}"#, "T1@0=0.42!0".to_owned()),
        (r#"{"v":true,"t":"2026-11-24T08:00:05+08:00"}"#, "T1@5=1!0".to_owned()),
        (r#"{"v":3,"t":"NOW"}"#, "T1@0=3!0".to_owned()),
        (r#"{"v":-3,"t":NOW.0,"q":"4"}"#, "T1@0=-3!4".to_owned()),
        (r#"{"v":1}"#, format!("T1@0=1!{none}")),
        (r#"{"v":1,"t":null,"q":null}"#, format!("T1@0=1!{none}")),
        (r#"{"v":null,"t":NOW}"#, format!("T1@0=NaN!{}", status::MISSING)),
        (r#"{"v":NaN,"t":NOW}"#, format!("T1@0=NaN!{}", status::MISSING)),
        (r#"{"v":"inf","t":NOW}"#, format!("T1@0=NaN!{}", status::MISSING)),
        (r#"{"v":1e999,"t":NOW}"#, format!("T1@0=NaN!{}", status::MISSING)),
        (r#"{"t":NOW}"#, "-value*1".to_owned()),
        (r#"{"v":"high","t":NOW}"#, "-value*1".to_owned()),
        (r#"{"v":[1],"t":NOW}"#, "-value*1".to_owned()),
        (r#"{"v":1,"t":"2026-11-24 08:00:00"}"#, "-time*1".to_owned()),
        (r#"{"v":1,"t":"1970-01-01T00:00:00Z"}"#, "-time*1".to_owned()),
        (r#"{"v":1,"t":18446744073709551615}"#, "-time*1".to_owned()),
        (r#"{"v":1,"t":1e300}"#, "-time*1".to_owned()),
        (r#"{"v":1,"t":NOW,"q":256}"#, "-status*1".to_owned()),
        (r#"{"v":1,"t":NOW,"q":1.5}"#, "-status*1".to_owned()),
        (r#"{"v":1,"t":NOW"#, "-json*1".to_owned()),
        (r#"{"v":1} {"v":2}"#, format!("T1@0=1!{none} -json*1")),
        ("", "-json*1".to_owned()),
        ("7", "-value*1".to_owned()),
        ("[]", "-value*1".to_owned()),
    ] {
        check(&gas(), payload, &want);
    }
}

#[test]
fn many_readings_a_message() {
    for (payload, want) in [
        (r#"{"readings":[{"p":"T1","v":1,"t":NOW},{"p":"T2","v":2,"t":NOW}]}"#, "T1@0=1!0 T2@0=2!0"),
        (
            r#"{"readings":[{"t":NOW,"p":"T1","v":1},{"v":2},{"p":"T9","v":2}],"n":2}"#,
            "T1@0=1!0 ?M1/T9 -name*1",
        ),
        (
            r#"{"readings":[{"p":"T1","v":1,"t":NOW},{"p":"T2","v":NaN,"t":NOW},{"p":"T3","v":3,"t":NOW}]}"#,
            "T1@0=1!0 T2@0=NaN!4096 T3@0=3!0",
        ),
        (r#"{"readings":[{"p":"T1","v":1,"t":NOW},{"p":"T2","v":"#, "T1@0=1!0 -json*1"),
        (
            r#"{"readings":[{"p":"T1","v":1,"t":NOW},7,"x",null,{"p":["T1"],"v":1}]}"#,
            "T1@0=1!0 -value*3 -name*1",
        ),
        (r#"{"readings":[]}"#, ""),
        (r#"{"readings":7}"#, "-type*1"),
        (r#"{"reading":[{"p":"T1","v":1}]}"#, "-type*1"),
        (r#"[{"p":"T1","v":1}]"#, "-type*1"),
    ] {
        check(&many(), payload, want);
    }
}

#[test]
fn pointers_of_every_shape() {
    let root = mapping(Some(""), &[("site", "M1"), ("point", "/0"), ("value", "/1/x~1y/~0")]);
    let none = status::NO_DEVICE_TIME;
    check(
        &root,
        r#"[["T1",{"x/y":{"~":1}}],["T2",{"x/y":{"~":2}}]]"#,
        &format!("T1@0=1!{none} T2@0=2!{none}"),
    );
    let outer = mapping(Some("/d"), &[("site", "^/s"), ("point", "{key}"), ("value", ""), ("time", "^/ts")]);
    check(&outer, r#"{"d":{"T1":1,"T2":"2"},"ts":NOW,"s":"M1"}"#, "T1@0=1!0 T2@0=2!0");
    let bare = mapping(None, &[("site", "{1}"), ("point", "{3}"), ("value", "")]);
    check(&bare, "0.5", &format!("T1@0=0.5!{none}"));
    let twice = mapping(None, &[("site", "M1"), ("point", "/p"), ("value", "/p")]);
    check(&twice, r#"{"p":7}"#, "?M1/7");
    let deep = mapping(Some("/a/1/b"), &[("site", "M1"), ("point", "T{3}"), ("value", "/v")]);
    let payload = br#"{"a":[0,{"b":[{"v":1}]}]}"#;
    assert_eq!(shown(&deep, "a/b/c/2", payload), format!("T2@0=1!{none}"));
    assert_eq!(shown(&deep, "a/b/c", payload), "-topic*1");
}

#[test]
fn positions_of_people() {
    let map = [
        ("site", "{1}"),
        ("card", "/c"),
        ("area", "/a"),
        ("station", "/s"),
        ("time", "/t"),
        ("name", "/n"),
        ("out", "/o"),
    ];
    let one = mapping(None, &map);
    check(&one, r#"{"c":"C1","a":"A1","s":12,"t":NOW,"n":"Li"}"#, "M1:C1:Li:A1:12@0:Below");
    check(&one, r#"{"c":"C1","t":NOW,"o":true}"#, "M1:C1:::@0:Out");
    check(&one, r#"{"a":"A1","t":NOW}"#, "-name*1");
    check(&one, r#"{"c":"C1","a":["A1"],"t":NOW}"#, "-name*1");
    check(&one, r#"{"c":"C1","t":5}"#, "-time*1");
    assert_eq!(shown(&one, "mine/M9", br#"{"c":"C1"}"#), "-site*1");
}

#[test]
fn other_encodings_and_escapes() {
    assert_eq!(shown(&gas(), "mine/M1/gas/T1", b"{\"v\":\"\xc3\xba\xc3\""), "-encoding*1");
    assert_eq!(shown(&gas(), "mine/M1/gas/T1", b"\xef\xbb\xbf{\"v\":1}"), "T1@0=1!8192");
    check(&many(), r#"{"readings":[{"p":"\u00541","v":"1","t":NOW}]}"#, "T1@0=1!0");
    let deep = "[".repeat(100_000);
    check(&many(), &deep, "-json*1");
}

#[test]
fn seconds_and_microseconds() {
    for (format, sent) in [(TimeFormat::Seconds, "1795478400.5"), (TimeFormat::Micros, "1795478400500000")] {
        let texts = Texts {
            each: None,
            map: vec![("site", "M1"), ("point", "T1"), ("value", "/v"), ("time", "/t")],
            time_format: format,
        };
        let fixture = Fixture::new(0);
        let mut out = DeliveryBuilder::new(&fixture.context);
        let payload = format!("{{\"v\":1,\"t\":{sent}}}");
        Mapping::compile(&texts).unwrap().decode(&mut Scratch::default(), "x", payload.as_bytes(), &mut out);
        assert_eq!(out.finish().readings.time[..], [NOW + 500_000], "{sent}");
    }
}

#[test]
fn mistakes_are_named_at_their_key() {
    let errors = |each: Option<&str>, map: &[(&str, &str)]| {
        let texts = Texts { each, map: map.to_vec(), time_format: TimeFormat::Millis };
        let errors = Mapping::compile(&texts).expect_err("the mapping is wrong");
        errors.into_iter().map(|e| format!("{}: {}", e.key, e.message)).collect::<Vec<_>>().join("\n")
    };
    for (each, map, want) in [
        (None, vec![("site", "M1"), ("point", "/p")], "map: `value` is missing"),
        (None, vec![("site", "M1"), ("point", "/p"), ("value", "v")], "value: `v` is not a JSON pointer"),
        (None, vec![("site", "{1"), ("point", "/p"), ("value", "/v")], "site: `{1`: a brace"),
        (None, vec![("site", "{one}"), ("point", "/p"), ("value", "/v")], "site: `{one}` is no part"),
        (None, vec![("site", "M1"), ("point", "/a~2"), ("value", "/v")], "point: `a~2`: `~` stands only"),
        (None, vec![("site", "M1"), ("point", "{key}"), ("value", "/v")], "point: `{key}` needs `each`"),
        (None, vec![("site", "M1"), ("card", "/c"), ("value", "/v")], "value: `value` has no meaning"),
        (
            Some("readings"),
            vec![("site", "M1"), ("point", "/p"), ("value", "/v")],
            "each: `readings` is not a JSON pointer",
        ),
    ] {
        let shown = errors(each, &map);
        assert!(shown.contains(want), "missing `{want}` in\n{shown}");
    }
}

proptest! {
    /// Whatever comes: no panic, and each element is counted exactly once.
    #[test]
    fn any_bytes_are_counted(payload in proptest::collection::vec(any::<u8>(), 0..200), topic in "[a-z/]{0,20}") {
        let fixture = Fixture::new(0);
        let mut out = DeliveryBuilder::new(&fixture.context);
        gas().decode(&mut Scratch::default(), &topic, &payload, &mut out);
        prop_assert!(out.rows() >= 1, "a message vanished");
    }

    /// JSON cut anywhere, with bytes flipped: as many rows as whole elements, and one refusal when it is cut.
    #[test]
    fn cut_messages_lose_only_what_is_cut(n in 1usize..20, cut in 0.0f64..1.0) {
        let elements: Vec<String> = (0..n).map(|i| format!(r#"{{"p":"T{}","v":{i}}}"#, i % 4)).collect();
        let text = format!(r#"{{"readings":[{}]}}"#, elements.join(","));
        let cut = (text.len() as f64 * cut) as usize;
        let fixture = Fixture::new(0);
        let mut out = DeliveryBuilder::new(&fixture.context);
        many().decode(&mut Scratch::default(), "x", &text.as_bytes()[..cut], &mut out);
        let whole = text[..cut].matches('}').count();
        prop_assert_eq!(out.rows(), whole + 1);
    }

    /// Structured but wild JSON: no panic, nothing vanishes without a count.
    #[test]
    fn wild_json_is_counted(v in wild(4)) {
        let text = format!(r#"{{"readings":[{v}]}}"#);
        let fixture = Fixture::new(0);
        let mut out = DeliveryBuilder::new(&fixture.context);
        many().decode(&mut Scratch::default(), "x", text.as_bytes(), &mut out);
        prop_assert_eq!(out.rows(), 1, "{}", text);
    }
}

fn wild(depth: u32) -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("NaN".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("JSON has no such number", |n| n.is_finite()).prop_map(|n| format!("{n:e}")),
        "[a-zT0-9]{0,4}".prop_map(|s| format!("\"{s}\"")),
    ];
    leaf.prop_recursive(depth, 32, 4, |inner| {
        let member = (prop_oneof![Just("p"), Just("v"), Just("t"), Just("q"), Just("x")], inner.clone());
        prop_oneof![
            proptest::collection::vec(inner, 0..4).prop_map(|v| format!("[{}]", v.join(","))),
            proptest::collection::vec(member, 0..5).prop_map(|v| {
                let members: Vec<String> = v.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}
