//! Snapshots of formats before this one: each file was written by the release it is named after, and is read for good.

use crate::stand::*;
use model::status::*;
use model::{Offset, Origin, Transition};
use rules::{At, Evaluator, OpenLevels};

/// The rules that all files were written under.
const RULES: &str = r#"
[[rule]]
name = "face"
kind = "limit"
select = { quantity = "ch4" }
level = [{ name = "alarm", on = ">= 1.0", off = "< 1.0" }, { name = "cut", on = ">= 1.5", off = "< 1.0", on_delay = "1min" }]

[[rule]]
name = "rise"
kind = "rate"
select = { quantity = "ch4" }
window = "10s"
blank = "0s"
level = [{ name = "warning", on = ">= 3 /min", off = "< 1 /min" }]

[[rule]]
name = "lag"
kind = "clock"
select = { quantity = "ch4" }
measure = "offset"
window = "1h"
min_readings = 2
on = ">= 5"

[[rule]]
name = "quiet"
kind = "silent"
select = { quantity = "ch4" }
after = "30s"

[[rule]]
name = "fault"
kind = "status"
select = { quantity = "ch4" }
any = ["sensor_fault"]

[[rule]]
name = "flat"
kind = "stuck"
select = { quantity = "ch4" }
after = "20s"

[[rule]]
name = "mean"
kind = "window"
select = { quantity = "ch4" }
stat = "mean"
window = "1min"
on = ">= 1.2"

[[rule]]
name = "hidden"
kind = "masked"
select = { quantity = "ch4" }
over = ">= 0.8"
"#;

fn rows(s: i64, value: f64, status: i32) -> Event {
    let t = START + s * 1_000_000;
    Event::Rows(t, 0, vec![("T1", t - 6_000_000, value, status), ("T2", t, 0.2, 0)])
}

/// What comes before the snapshot: T1 is in alarm, its cut is pending, its rate is on, something late was found.
fn before() -> Vec<Event> {
    let mut events: Vec<Event> = (0..12).map(|s| rows(s, 0.4 + 0.1 * s as f64, 0)).collect();
    events.push(Event::Rows(START + 12_000_000, 0, vec![("T2", START - 500_000_000, 1.2, HISTORICAL)]));
    events.extend((12..16).map(|s| rows(s, 1.6, if s == 14 { CALIBRATION } else { 0 })));
    events
}

/// What goes on from a file: T1 falls and is silent then; its cut, pending in the file, is not served.
#[test]
fn a_snapshot_of_format_3_is_read() {
    let old = include_bytes!("formats/3.snapshot").to_vec();
    let (program, _) = program(RULES);
    let (restored, next) = Evaluator::restore(program, catalog(), &[old]).unwrap();
    assert_eq!(next, before().len() as u64);
    let after = [rows(16, 1.6, 0), rows(17, 0.3, 0), tick(60.)];
    let mut out = Vec::new();
    let mut e = restored;
    (next..).zip(&after).for_each(|(i, event)| apply(&mut e, i, event, &mut out));
    let of = |rule: &str| shown(&out.iter().filter(|t| t.rule == rule).cloned().collect::<Vec<_>>());
    assert_eq!(of("face"), ["alarm off 11"]);
    assert_eq!(of("quiet"), ["silent on 60", "silent on 60"]);
    let whole = judge(RULES, &[&before()[..], &after].concat());
    let id = |all: &[Transition], rule: &str| all.iter().rfind(|t| t.rule == rule).map(|t| t.id);
    assert_eq!(id(&out, "face"), id(&whole, "face"), "the episode goes on under its id");
    // What rate and clock remembered has another form now: it begins anew, and what is on stays on.
    assert_eq!((of("rise"), of("lag")), (Vec::new(), Vec::new()));
}

#[test]
fn a_snapshot_of_an_unknown_format_is_refused() {
    let mut bytes = include_bytes!("formats/3.snapshot").to_vec();
    for version in [0u8, 2, 5] {
        bytes[0] = version;
        let error = Evaluator::restore(program(RULES).0, catalog(), &[bytes.clone()]).err().unwrap();
        assert!(error.contains(&format!("format {version}, this firedamp reads 3 to 4")), "{error}");
    }
}

/// Where no snapshot can be used: what is open by the log is adopted, is not raised anew, and ends by a good reading.
#[test]
fn open_levels_are_adopted_and_end() {
    let told = judge(RULES, &before());
    let mut open = OpenLevels::default();
    told.iter().for_each(|t| open.note(t));
    assert_eq!(open.len(), 3, "alarm, warning and clock of T1; what was found late is none");
    let then = |rules: &str, read_again: usize, after: &[Event]| {
        let (mut e, mut out) = (evaluator(rules), Vec::new());
        let all = before();
        let first = all.len() - read_again;
        all[first..].iter().zip(first..).for_each(|(event, i)| apply(&mut e, i as u64, event, &mut out));
        out.clear();
        let offset = Offset { partition: 0, number: all.len() as u64 };
        let origin = Origin { collector: 0, sequence: 0 };
        e.adopt(At { offset, appended: START + 16_000_000, origin }, &open, &mut out);
        assert_eq!(e.next_offset(), all.len() as u64);
        (all.len() as u64..).zip(after).for_each(|(i, event)| apply(&mut e, i, event, &mut out));
        out
    };
    let after = [rows(16, 1.6, 0), rows(17, 0.3, 0)];
    for read_again in [0, 1, 5] {
        assert_eq!(shown(&then(RULES, read_again, &after)), ["alarm off 11"], "{read_again}");
    }
    // What nothing judges any more is withdrawn, under a new id.
    let other = RULES.replace("name = \"alarm\"", "name = \"high\"");
    let out = then(&other, 0, &[]);
    assert_eq!(shown(&out), ["alarm withdrawn 16"]);
    assert!(told.iter().all(|t| t.id != out[0].id));
    // Decided on the way and unknown to the log: raised, as it never was.
    let low = RULES.replace(">= 1.5", ">= 1.0").replace("on_delay = \"1min\"", "on_delay = \"0s\"");
    assert_eq!(shown(&then(&low, 3, &after)), ["cut on 10", "alarm off 11", "cut off 11"]);
}
