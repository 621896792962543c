//! What bodies become, one case a line, and the line protocol against a writer of it.

use super::*;
use crate::testing::{Fixture, Mood, NOW};
use model::status;
use model::time::SECOND;
use proptest::prelude::*;

fn shown(fixture: &Fixture, d: &Delivery) -> String {
    let catalog = fixture.context.catalog();
    let mut parts = Vec::new();
    for i in 0..d.readings.len() {
        let (id, t, value, word) = d.readings.row(i);
        let code = &catalog.point(catalog.ix(id).unwrap()).code;
        parts.push(format!("{code}@{}={value}!{word}", (t - NOW) / SECOND));
    }
    parts
        .extend(d.unknown.iter().map(|q| format!("?{}/{}={}", q.site, q.point, q.value.unwrap_or(f64::NAN))));
    parts.extend(d.refused.iter().map(|r| format!("-{}*{}", r.reason, r.count)));
    parts.join(" ")
}

#[test]
fn json_arrays() {
    let fixture = Fixture::new(0);
    let push = PushSource::new(fixture.context.clone());
    let ms = NOW / 1000;
    for (body, want) in [
        (format!(r#"[{{"site":"M1","point":"T1","time":{ms},"value":0.5,"status":1}}]"#), "T1@0=0.5!1".to_owned()),
        (
            r#" [{"site":"M1","point":"T1","time":"2026-11-24T00:00:01Z","value":null},{"site":"M1","point":"T2","value":2}]"#
                .to_owned(),
            format!("T1@1=NaN!{} T2@0=2!{}", status::MISSING, status::NO_DEVICE_TIME),
        ),
        (r#"[{"site":"M1","value":1},{"site":"M1","point":"T9","value":1},7]"#.to_owned(), "?M1/T9=1 -name*1 -value*1".to_owned()),
        ("[]".to_owned(), String::new()),
    ] {
        assert_eq!(shown(&fixture, &push.decode_json(body.as_bytes()).unwrap()), want, "{body}");
    }
    for bad in ["", "{}", "7", "[{]", r#"[{"site":"M1","point":"T1","value":1}"#, "[\"\u{ff}"] {
        assert!(push.decode_json(bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(push.decode_json(b"[\"\xff\"]").unwrap_err().sample.contains("UTF-8"));
}

#[test]
fn lines_of_every_shape() {
    let fixture = Fixture::new(0);
    let push = PushSource::new(fixture.context.clone());
    let ns = NOW * 1000;
    let none = status::NO_DEVICE_TIME;
    for (body, want) in [
        (format!("gas,site=M1,point=T1 value=0.5,status=1i {ns}"), "T1@0=0.5!1".to_owned()),
        (
            format!("T1,site=M1 value=1i {ns}\r\nT2,site=M1,x=y value=2u {ns}\n"),
            "T1@0=1!0 T2@0=2!0".to_owned(),
        ),
        ("T1,site=M1 value=t".to_owned(), format!("T1@0=1!{none}")),
        ("T1,site=M1 value=\"0.5\"".to_owned(), format!("T1@0=0.5!{none}")),
        ("T1,site=M1 value=NaN".to_owned(), format!("T1@0=NaN!{}", none | status::MISSING)),
        ("# a comment\n\n  \nT1,site=M1 value=-1e-3".to_owned(), format!("T1@0=-0.001!{none}")),
        ("gas,site=M1 ch4=1,co=2".to_owned(), "?M1/gas.ch4=1 ?M1/gas.co=2".to_owned()),
        ("gas,site=M1,point=T1 value=1,temp=20".to_owned(), format!("T1@0=1!{none} ?M1/T1.temp=20")),
        (r"a\ b\,c,site=M1 value=1,k\=\ e=2".to_owned(), "?M1/a b,c=1 ?M1/a b,c.k= e=2".to_owned()),
        (r#"T1,site=M1 value="a \"b, c\" \\ d",status=0i"#.to_owned(), "-value*1".to_owned()),
        ("T1 value=1".to_owned(), "-name*1".to_owned()),
        ("T1,site=M1 status=1i".to_owned(), "-value*1".to_owned()),
        ("T1,site=M1 value=1,status=256i".to_owned(), "-status*1".to_owned()),
        ("T1,site=M1 value=1,status=\"bad\"".to_owned(), "-status*1".to_owned()),
        (format!("T1,site=M1 value=1 {}", i64::MAX), "-time*1".to_owned()),
        ("T1,site=M1 value=1 0".to_owned(), "-time*1".to_owned()),
    ] {
        assert_eq!(shown(&fixture, &push.decode_lines(body.as_bytes(), Precision::Nanos)), want, "{body}");
    }
}

#[test]
fn a_bad_line_is_named_by_its_number_and_the_good_ones_are_taken() {
    let fixture = Fixture::new(0);
    let push = PushSource::new(fixture.context.clone());
    let good = "T1,site=M1 value=1";
    for bad in [
        "T1",
        "T1,site",
        "T1,site=",
        "T1,site=M1",
        "T1,site=M1 ",
        "T1,site=M1 value",
        "T1,site=M1 value=",
        "T1,=M1 value=1",
        "T1,site=M1 value=1x",
        "T1,site=M1 value=1.5i",
        "T1,site=M1 value=\"1",
        "T1,site=M1 value=\"1\"x",
        "T1,site=M1 value=1 x",
        "T1,site=M1 value=1 1 1",
        "T1,site=M1 value=1,",
        ",site=M1 value=1",
        "T1,site=M1,value=1",
        "T1,site=M1 value=99999999999999999999i",
    ] {
        let d = push.decode_lines(format!("{good}\n{bad}\n{good}").as_bytes(), Precision::Nanos);
        assert_eq!((d.readings.len(), d.refused.len()), (2, 1), "{bad}: {d:?}");
        assert_eq!((d.refused[0].reason, d.refused[0].count), ("line", 1), "{bad}");
        assert!(d.refused[0].sample.starts_with("line 2: "), "{}", d.refused[0].sample);
    }
    let d = push.decode_lines(b"T1,site=M1 value=1\n\xff\nT2,site=M1 value=1", Precision::Nanos);
    assert_eq!((d.readings.len(), d.refused[0].reason), (2, "encoding"));
}

#[test]
fn precisions() {
    let fixture = Fixture::new(0);
    let push = PushSource::new(fixture.context.clone());
    for (word, per_second) in [
        ("ns", 1_000_000_000),
        ("us", 1_000_000),
        ("ms", 1000),
        ("s", 1),
        ("n", 1_000_000_000),
        ("u", 1_000_000),
    ] {
        let precision = Precision::of_word(word).unwrap();
        let body = format!("T1,site=M1 value=1 {}", NOW / SECOND * per_second);
        assert_eq!(push.decode_lines(body.as_bytes(), precision).readings.time[..], [NOW], "{word}");
    }
    assert_eq!(Precision::of_word("h"), None);
    assert_eq!(Precision::Nanos.micros(-1), Ok(-1));
    assert!(Precision::Seconds.micros(i64::MAX).is_err());
}

#[tokio::test]
async fn answered_when_durable() {
    let fixture = Fixture::new(0);
    let push = PushSource::new(fixture.context.clone());
    let delivery = push.decode_lines(b"T1,site=M1 value=1\nT9,site=M1 value=1\nx", Precision::Nanos);
    fixture.sink.set(Mood::Retry);
    assert!(matches!(push.accept(delivery.clone()).await, Err(SinkError::Retry(_))));
    fixture.sink.set(Mood::Take);
    let answer = push.accept(delivery).await.unwrap();
    assert_eq!((answer.accepted, answer.unknown, answer.refused[0].count), (1, 1, 1));
    assert_eq!(fixture.sink.rows(), 3);
    assert_eq!(fixture.health().last, Some(NOW));
    let nothing = push.decode_json(b"[]").unwrap();
    push.accept(nothing).await.unwrap();
    assert_eq!(fixture.sink.calls(), 2, "an empty body needs no record");
}

/// Writes a name as the protocol asks.
fn escaped(name: &str, of: &str) -> String {
    name.chars().flat_map(|c| of.contains(c).then_some('\\').into_iter().chain([c])).collect()
}

/// Names with everything that needs an escape; one that ends in a backslash cannot be written in this protocol, and one with a
/// backslash before an escaped character neither.
fn name() -> impl Strategy<Value = String> {
    "[a-z\u{7164},= \"]{1,8}"
        .prop_filter("leading and trailing spaces are trimmed", |n| n.trim() == n && !n.starts_with('#'))
}

fn field() -> impl Strategy<Value = (String, Field<'static>)> {
    prop_oneof![
        any::<i64>().prop_map(|n| (format!("{n}i"), Field::Integer(n))),
        any::<u64>().prop_map(|n| (format!("{n}u"), Field::Unsigned(n))),
        any::<bool>().prop_map(|b| (b.to_string(), Field::Bool(b))),
        any::<f64>()
            .prop_filter("NaN is not equal to itself", |n| !n.is_nan())
            .prop_map(|n| (format!("{n:?}"), Field::Float(n))),
        "[a-z\"\\\\, =]{0,8}".prop_map(|s| {
            let written = s.replace('\\', "\\\\").replace('"', "\\\"");
            (format!("\"{written}\""), Field::Text(s.into()))
        }),
    ]
}

proptest! {
    /// What a writer wrote by the rules is read as it was meant.
    #[test]
    fn what_is_written_is_read(
        measurement in name(),
        tags in proptest::collection::vec((name(), name()), 0..4),
        fields in proptest::collection::vec((name(), field()), 1..4),
        time in proptest::option::of(any::<i64>()),
    ) {
        let mut text = escaped(&measurement, ", ");
        for (key, value) in &tags {
            text += &format!(",{}={}", escaped(key, ",= "), escaped(value, ",= "));
        }
        let written: Vec<String> = fields.iter().map(|(key, (w, _))| format!("{}={w}", escaped(key, ",= "))).collect();
        text += &format!(" {}", written.join(","));
        if let Some(time) = time {
            text += &format!(" {time}");
        }
        let mut line = Line::default();
        prop_assert_eq!(line.parse(&text), Ok(()), "{}", text);
        prop_assert_eq!(&*line.measurement, &*measurement);
        let read: Vec<(String, String)> = line.tags.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        prop_assert_eq!(read, tags);
        let read: Vec<(String, Field)> = line.fields.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
        prop_assert_eq!(read, fields.into_iter().map(|(k, (_, v))| (k, v)).collect::<Vec<_>>());
        prop_assert_eq!(line.time, time);
    }

    /// Whatever comes: no panic, and each line that is not empty or a comment is counted.
    #[test]
    fn any_bytes_are_counted(body in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b','), Just(b'='), Just(b' '), Just(b'"'), Just(b'\\')], 0..300)) {
        let fixture = Fixture::new(0);
        let d = PushSource::new(fixture.context.clone()).decode_lines(&body, Precision::Nanos);
        let blank = |l: &[u8]| {
            std::str::from_utf8(l).is_ok_and(|t| { let t = t.trim_matches([' ', '\r', '\t']); t.is_empty() || t.starts_with('#') })
        };
        let lines = body.split(|b| *b == b'\n').filter(|l| !blank(l)).count();
        let refused: u64 = d.refused.iter().map(|r| r.count).sum();
        prop_assert!(refused as usize + d.readings.len() + d.unknown.len() >= lines);
        let _ = PushSource::new(fixture.context.clone()).decode_json(&body);
    }
}
