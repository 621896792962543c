//! `firedamp backtest` over files: the longwall as its README counts it, the same from every form of file, reports, and two versions
//! compared.

use crate::rule_tools::firedamp as command;
use crate::stand::*;
use arrow::array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use tests::firedamp::Firedamp;

/// When the first row of the file is said to be.
const START: i64 = 1_767_225_600_000_000;

/// The methane of the longwall as readings: site, point, time, value.
fn readings(file: &Path) -> Vec<(&'static str, i64, f64)> {
    let text = std::fs::read_to_string(file).unwrap();
    let rows = text.lines().skip(1).enumerate().flat_map(|(n, line)| {
        let value = |column: usize| line.split(',').nth(column).unwrap().parse::<f64>().unwrap();
        let time = START + n as i64 * 30_000_000;
        [("MM31", time, value(0)), ("MM116", time, value(1))]
    });
    rows.collect()
}

fn csv(rows: &[(&str, i64, f64)]) -> String {
    let line = |(point, time, value): &(&str, i64, f64)| {
        format!("LW,{point},{},{value},0\n", model::time::rfc3339(*time))
    };
    "site,point,time,value,status\n".to_owned() + &rows.iter().map(line).collect::<String>()
}

fn batch(rows: &[(&str, i64, f64)]) -> RecordBatch {
    let columns: [(&str, ArrayRef); 5] = [
        ("site", Arc::new(StringArray::from_iter_values(rows.iter().map(|_| "LW")))),
        ("point", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.0)))),
        (
            "time",
            Arc::new(
                TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.1)).with_timezone("UTC"),
            ),
        ),
        ("value", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.2)))),
        ("status", Arc::new(Int32Array::from_iter_values(rows.iter().map(|_| 0)))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn stand() -> Firedamp {
    let files = [("firedamp.toml", ""), ("sites.csv", SITES), ("points.csv", POINTS), ("rules.toml", RULES)];
    Firedamp::prepare(BINARY, &files)
}

fn write(stand: &Firedamp, name: &str, bytes: impl AsRef<[u8]>) {
    std::fs::write(stand.folder().join(name), bytes).unwrap();
}

/// Runs it on these readings with further arguments.
fn backtest(stand: &Firedamp, readings: &str, more: &[&str]) -> (i32, String, String) {
    let about =
        ["--rules", "rules.toml", "--sites", "sites.csv", "--points", "points.csv", "--readings", readings];
    command(stand.folder(), &[&["backtest"], &about[..], more].concat())
}

fn lines(out: &str) -> Vec<Value> {
    out.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn the_longwall_has_140_and_10_episodes_in_every_form_of_file() {
    let Some(file) = longwall() else { return };
    let (stand, mut rows) = (stand(), readings(&file));
    write(&stand, "r.csv", csv(&rows));
    let (code, out, err) = backtest(&stand, "r.csv", &["--format", "jsonl"]);
    assert_eq!(code, 0, "{err}");
    assert!(
        err.contains("26736 readings from 2026-01-01T00:00:00.000Z to 2026-01-05T15:23:30.000Z"),
        "{err}"
    );
    assert!(err.contains("not as a log held them"), "{err}");
    let all = lines(&out);
    let count = |level: &str, to: &str| {
        let of =
            |l: &&Value| l["rule"] == "ch4" && l["level"] == level && l["to"] == to && l["point"] == "MM116";
        all.iter().filter(of).count()
    };
    let counts = [count("alarm", "on"), count("alarm", "off"), count("cut", "on"), count("cut", "off")];
    assert_eq!(counts, [140, 139, 10, 10]);
    let first: serde_json::Map<String, Value> = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    for key in ["time", "site", "point", "rule", "level", "to", "value", "reason", "id"] {
        assert!(first.contains_key(key), "{key} is fixed: {out:.300}");
    }
    assert_eq!(
        (&first["time"], &first["reason"]),
        (&"2026-01-01T00:00:00.000Z".into(), &"1.3 >= 1 %".into())
    );
    let ids: BTreeSet<&str> = all.iter().map(|l| l["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), all.len());

    let mut parquet = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut parquet, batch(&rows).schema(), None).unwrap();
    writer.write(&batch(&rows)).unwrap();
    writer.close().unwrap();
    write(&stand, "r.parquet", parquet);
    let mut arrow = Vec::new();
    let mut writer = arrow::ipc::writer::StreamWriter::try_new(&mut arrow, &batch(&rows).schema()).unwrap();
    rows.chunks(5000).for_each(|some| writer.write(&batch(some)).unwrap());
    writer.finish().unwrap();
    drop(writer);
    write(&stand, "r.arrow", arrow);
    // An export sensor by sensor is put in order first.
    rows.sort_by_key(|r| r.0);
    write(&stand, "sorted.csv", csv(&rows));
    for readings in ["r.parquet", "r.arrow"] {
        let (code, other, err) = backtest(&stand, readings, &["--format", "jsonl"]);
        assert!(code == 0 && other == out, "{readings}: {err}");
    }
    // Only which of two readings of one time stands first has changed, and with it the ids.
    let without_id = |l: &Value| {
        l.as_object().unwrap().iter().filter(|(k, _)| *k != "id").map(|(_, v)| v.clone()).collect()
    };
    let without_ids = |all: &[Value]| all.iter().map(without_id).collect::<Vec<Vec<Value>>>();
    let (code, other, err) = backtest(&stand, "sorted.csv", &["--format", "jsonl"]);
    assert!(code == 0 && without_ids(&lines(&other)) == without_ids(&all), "{err}");
    // Some hours alone: the episodes that begin in them, under the same ids where the whole knows them.
    let hours = ["--format", "jsonl", "--from", "2026-01-02T00:00:00Z", "--to", "2026-01-02T06:00:00Z"];
    let some = lines(&backtest(&stand, "r.csv", &hours).1);
    let time = |l: &Value| l["time"].as_str().unwrap().to_owned();
    let within = |l: &&Value| l["rule"] == "ch4" && (hours[3]..hours[5]).contains(&&*time(l));
    let [some, whole] = [some.iter().filter(within).collect::<Vec<_>>(), all.iter().filter(within).collect()];
    assert!(whole.len() > 10 && some.ends_with(&whole[whole.len() - 10..]), "{some:#?}");
}

#[test]
fn a_report_stands_by_itself() {
    let Some(file) = longwall() else { return };
    let stand = stand();
    write(&stand, "r.csv", csv(&readings(&file)));
    let (code, out, err) = backtest(&stand, "r.csv", &["--report", "r.html"]);
    assert_eq!(code, 0, "{err}");
    for part in [
        "ch4                        alarm        yellow         140       1         1",
        "the longest:",
        "chattering",
    ] {
        assert!(out.contains(part), "missing `{part}` in\n{out}");
    }
    let html = std::fs::read_to_string(stand.folder().join("r.html")).unwrap();
    assert!(
        !html.contains("<script") && !html.contains("http") && !html.contains("src="),
        "it needs nothing else"
    );
    assert_eq!(
        (html.matches("<svg").count(), html.matches("</svg>").count()),
        (12, 12),
        "four figures and the worst episodes"
    );
    assert!(!html.contains("NaN") && !html.contains("inf"));
    // A browser draws it: the numbers are where a person looks for them.
    let page = format!("file://{}", stand.folder().join("r.html").display());
    let mut shown = tests::browser::Page::open(&page, (1280, 1600)).unwrap();
    shown.wait_until("document.readyState == 'complete' && document.querySelectorAll('svg').length == 12");
    let text = shown.text().unwrap();
    assert!(text.contains("What these rules would have decided") && text.contains("140"), "{text:.500}");
}

#[test]
fn two_versions_of_rules_are_compared() {
    let Some(file) = longwall() else { return };
    let stand = stand();
    write(&stand, "r.csv", csv(&readings(&file)));
    write(&stand, "strict.toml", RULES.replace(">= 1.5", ">= 1.4"));
    let (code, out, err) = backtest(&stand, "r.csv", &["--against", "strict.toml", "--report", "r.html"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("gained 2026-01-") && out.contains("moved  2026-01-"), "{out}");
    let (_, jsonl, _) = backtest(&stand, "r.csv", &["--against", "strict.toml", "--format", "jsonl"]);
    let changes = lines(&jsonl);
    assert!(
        changes.iter().all(|c| c["level"] == "cut" && c["change"] != "lost"),
        "only the cut became stricter"
    );
    let moved = changes.iter().find(|c| c["change"] == "moved").unwrap();
    assert!(moved["this"]["from"].as_str() > moved["other"]["from"].as_str(), "it begins earlier: {moved}");
    let values: Vec<f64> = changes
        .iter()
        .flat_map(|c| c["readings"].as_array().unwrap())
        .filter_map(|r| r["value"].as_f64())
        .collect();
    assert!(changes.iter().all(|c| !c["readings"].as_array().unwrap().is_empty()) && values.contains(&1.4));
    assert!(
        std::fs::read_to_string(stand.folder().join("r.html")).unwrap().contains("gained: LW MM116: ch4 cut")
    );
    let (_, out, _) = backtest(&stand, "r.csv", &["--against", "rules.toml"]);
    assert!(out.contains("0 gained, 0 lost, 0 moved"), "{out}");
}

#[test]
fn what_cannot_be_judged_is_refused_at_its_place() {
    let stand = stand();
    let refused = |readings: &str, more: &[&str], part: &str| {
        let (code, _, err) = backtest(&stand, readings, more);
        assert!(code == 2 && err.contains(part), "{readings} {more:?}: {code} {err}");
    };
    let header = "site,point,time,value,status\n";
    for (rows, part) in [
        ("LW,MM116,2026-01-01 00:00:00,1,0\n", "r.csv:2:3: `2026-01-01 00:00:00` time"),
        ("LW,MM116,0,x,0\n", "r.csv:2:4: `x` is not a number"),
        ("LW,MM116,0,1,y\n", "r.csv:2:5: `y` is not a sum of status bits"),
        ("LW,MM116,0\n", "r.csv: CSV error"),
    ] {
        write(&stand, "r.csv", format!("{header}{rows}"));
        refused("r.csv", &[], part);
    }
    write(&stand, "r.csv", "site,point,when\n");
    refused("r.csv", &[], "r.csv:1:1: `time` is missing");
    write(&stand, "r.parquet", "no");
    refused("r.parquet", &[], "r.parquet: ");
    refused("r.txt", &[], "is none of .csv, .parquet, .arrow");
    refused(".", &[], "a folder without a table");
    write(&stand, "bad.toml", RULES.replace("kind", "knd"));
    refused("r.csv", &["--against", "bad.toml"], "bad.toml:4:1: error: unknown key");
    refused(
        "r.csv",
        &["--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z"],
        "--from is not before --to",
    );
    // Unknown points are counted, values that are none are missing; equal and turned times do no harm, nor 70 years without a reading.
    let odd = "LW,MM116,1000000001000,NaN,0\nLW,NOBODY,1000000001000,9,0\nLW,MM116,1000000001000,inf,0\nLW,MM116,1000000000500,1.2,\n\
               LW,MM116,3200000000000,0.4,0\n";
    // Times that no clock has: one second, the year 9999, and the greatest number of milliseconds.
    let wild = "LW,MM116,1000,1.9,0\nLW,MM116,9999-12-31T23:59:59Z,1.9,0\nLW,MM116,9223372036854775,1.9,0\n";
    write(&stand, "r.csv", format!("{header}{odd}{wild}"));
    let (code, out, err) = backtest(&stand, "r.csv", &["--format", "jsonl"]);
    assert!(code == 0 && err.contains("left out: 1 readings of points that are not in the catalog"), "{err}");
    assert!(err.contains("left out: 3 readings of times before 2000 or after 2100"), "{err}");
    let told: Vec<String> = lines(&out).iter().map(|l| format!("{} {}", l["level"], l["to"])).collect();
    assert_eq!(told, ["\"alarm\" \"on\"", "\"alarm\" \"off\""], "{out}");
}

/// Two readings with a column that is not as it should be.
fn odd(name: &str, column: ArrayRef) -> RecordBatch {
    let good = batch(&[("MM116", START, 0.4), ("MM116", START + 1_000_000, 1.2)]);
    let fields = good.schema();
    let columns = fields.fields().iter().zip(good.columns());
    let columns =
        columns.map(|(f, c)| (f.name().clone(), if f.name() == name { column.clone() } else { c.clone() }));
    RecordBatch::try_from_iter(columns).unwrap()
}

#[test]
fn what_does_not_fit_into_a_column_is_refused_and_wild_times_are_left_out() {
    let stand = stand();
    let judged = |batch: &RecordBatch| {
        let mut bytes = Vec::new();
        let mut writer = arrow::ipc::writer::StreamWriter::try_new(&mut bytes, &batch.schema()).unwrap();
        writer.write(batch).unwrap();
        writer.finish().unwrap();
        drop(writer);
        write(&stand, "r.arrow", bytes);
        backtest(&stand, "r.arrow", &["--format", "jsonl"])
    };
    let long = |all: [i64; 2]| Arc::new(arrow::array::Int64Array::from_iter_values(all)) as ArrayRef;
    let text = |all: [&str; 2]| Arc::new(StringArray::from_iter_values(all)) as ArrayRef;
    for (name, column, part) in [
        ("status", long([0, 1 << 40]), "r.arrow: row 2: `1099511627776` does not fit into `status`"),
        ("status", text(["", "x128"]), "r.arrow: row 2: `x128` does not fit into `status`"),
        ("value", text(["0.4", "high"]), "r.arrow: row 2: `high` does not fit into `value`"),
        ("time", text(["2026-01-01T00:00:00Z", "noon"]), "row 2: `noon` does not fit into `time`"),
    ] {
        let (code, _, err) = judged(&odd(name, column));
        assert!(code == 2 && err.contains(part), "{name}: {code} {err}");
    }
    // What says nothing is a missing value, and a good status.
    let (code, out, err) = judged(&odd("value", text(["", "1.2"])));
    assert!(code == 0 && lines(&out).len() == 1 && err.contains("2 readings"), "{out}{err}");
    for wild in [i64::MAX, i64::MIN, 1000] {
        let (code, out, err) = judged(&odd("time", long([1_767_225_600_000, wild])));
        assert!(code == 0 && out.is_empty(), "{wild}: {out}{err}");
        assert!(err.contains("left out: 1 readings of times before 2000 or after 2100"), "{wild}: {err}");
    }
}

#[test]
fn the_other_version_has_the_packs_of_the_configuration_too() {
    let rule = "[[rule]]\nname = \"own\"\nkind = \"limit\"\nselect = { site = \"LW\", point = \"MM116\" }\n\
                level = [{ name = \"alarm\", on = \">= 0.9\", off = \"< 0.9\", severity = \"yellow\" }]\n";
    let config = pushed().replace("paths = [\"rules.toml\"]", "packs = [\"coal\"]\npaths = [\"rules.toml\"]");
    let files =
        [("firedamp.toml", &*config), ("sites.csv", SITES), ("points.csv", POINTS), ("rules.toml", rule)];
    let stand = Firedamp::prepare(BINARY, &files);
    write(&stand, "new.toml", rule.replace("0.9", "0.8"));
    write(
        &stand,
        "r.csv",
        csv(&[
            ("MM116", START, 0.4),
            ("MM116", START + 30_000_000, 1.2),
            ("MM116", START + 60_000_000, 0.85),
        ]),
    );
    let arguments = [
        "backtest",
        "--config",
        "firedamp.toml",
        "--readings",
        "r.csv",
        "--against",
        "new.toml",
        "--format",
        "jsonl",
    ];
    let (code, out, err) = command(stand.folder(), &arguments);
    assert_eq!(code, 0, "{err}");
    let changed: Vec<String> = lines(&out).iter().map(|c| format!("{} {}", c["change"], c["rule"])).collect();
    assert_eq!(changed, ["\"moved\" \"own\""], "{out}");
}
