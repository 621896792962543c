//! What `backtest` prints: one transition a line (fixed keys), figures for people, differences of two versions.

use super::curves::Curve;
use super::summary::{CHATTER, Summary, lasting};
use super::word;
use model::time::{Micros, rfc3339, show_duration};
use model::{Transition, TransitionId};
use rules::episodes::{Change, Episode};
use serde::Serialize;
use serde_json::{Value, json};
use std::io::Write;

/// Readings printed of a difference.
const READINGS_MAX: usize = 12;
/// Differences printed for people; all of them in JSON lines.
const CHANGES_MAX: usize = 50;

/// The fixed keys of `--format jsonl`, in their order.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    site: &'a str,
    point: &'a str,
    rule: &'a str,
    level: &'a str,
    to: &'a str,
    value: Option<f64>,
    reason: &'a str,
    id: TransitionId,
    severity: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    marks: Vec<&'static str>,
}

/// One transition as a line of JSON.
///
/// # Errors
/// When it cannot be written.
pub fn line(to: &mut impl Write, t: &Transition) -> std::io::Result<()> {
    let line = Line {
        time: rfc3339(t.time),
        site: &t.site,
        point: &t.point,
        rule: &t.rule,
        level: &t.level,
        to: t.to.as_str(),
        value: t.value,
        reason: &t.reason,
        id: t.id,
        severity: t.severity.as_str(),
        marks: rules::marks(t),
    };
    serde_json::to_writer(&mut *to, &line)?;
    to.write_all(b"\n")
}

/// Figures for people.
pub fn table(s: &Summary) {
    println!(
        "{:<26} {:<12} {:<7} {:>9} {:>7} {:>9} {:>12} {:>12}",
        "rule", "level", "severity", "episodes", "points", "still on", "on in all", "longest"
    );
    for l in &s.levels {
        println!(
            "{:<26} {:<12} {:<8} {:>9} {:>7} {:>9} {:>12} {:>12}",
            l.rule,
            l.level,
            l.severity.as_str(),
            l.episodes,
            l.points,
            l.open,
            lasting(l.lasted),
            lasting(l.longest)
        );
    }
    if s.episodes == 0 {
        println!("no level went on");
        return;
    }
    println!("\nthe longest:");
    s.longest.iter().for_each(|e| println!("  {}", episode(e, s.end)));
    if !s.chattering.is_empty() {
        println!("\nchattering ({} times within {} or more):", CHATTER.0, show_duration(CHATTER.1));
    }
    for c in &s.chattering {
        let k = &c.key;
        println!(
            "  {:>4} times of {:>6}  {} {}  {} {}",
            c.most, c.episodes, k.site, k.point, k.rule, k.level
        );
    }
}

/// One line for an episode.
fn episode(e: &Episode, end: Micros) -> String {
    let k = &e.key;
    let peak = e.peak.map(|p| format!(", peak {p}")).unwrap_or_default();
    let late = if k.late { ", found late" } else { "" };
    let until = match e.to {
        Some(to) => format!("to {}", rfc3339(to)),
        None => "still on".to_owned(),
    };
    let lasted = lasting(e.lasted(end));
    format!(
        "{} {until} ({lasted})  {} {}  {} {}{peak}{late}",
        rfc3339(e.from),
        k.site,
        k.point,
        k.rule,
        k.level
    )
}

/// What the other version decides differently, for people.
pub fn compared(changes: &[Change], same: usize, drawn: &[Curve]) {
    let count = |w: &str| changes.iter().filter(|c| word(c) == w).count();
    println!(
        "{same} episodes are the same; {} gained, {} lost, {} moved",
        count("gained"),
        count("lost"),
        count("moved")
    );
    for change in changes.iter().take(CHANGES_MAX) {
        match change {
            Change::Gained(e) | Change::Lost(e) => println!("\n{:<6} {}", word(change), episode(e, e.from)),
            Change::Moved(a, b) => {
                println!("\n{:<6} {}\n    to {}", word(change), episode(a, a.from), episode(b, b.from));
            }
        }
        for (time, value, status) in readings(change, drawn) {
            let value = if value.is_nan() { "missing".to_owned() } else { value.to_string() };
            let bits = if *status == 0 { String::new() } else { format!("  status {status}") };
            println!("         {}  {value}{bits}", rfc3339(*time));
        }
    }
    if changes.len() > CHANGES_MAX {
        println!("\nand {} more; --format jsonl prints all", changes.len() - CHANGES_MAX);
    }
}

/// The readings around the beginning of a difference.
fn readings<'a>(change: &Change, drawn: &'a [Curve]) -> &'a [(Micros, f64, i32)] {
    let id = change.episode().id;
    let Some(curve) = drawn.iter().find(|c| c.wanted.episode.id == id) else { return &[] };
    let at = curve.readings.partition_point(|r| r.0 < change.from());
    let first = at.saturating_sub(READINGS_MAX / 3);
    &curve.readings[first..curve.readings.len().min(first + READINGS_MAX)]
}

/// The same, one difference a line.
pub fn compared_lines(changes: &[Change], drawn: &[Curve]) {
    let json = |e: &Episode| json!({ "from": rfc3339(e.from), "to": e.to.map(rfc3339), "peak": e.peak, "id": e.id, "reason": e.reason });
    for change in changes {
        let k = &change.episode().key;
        let (this, other) = match change {
            Change::Gained(e) => (Value::Null, json(e)),
            Change::Lost(e) => (json(e), Value::Null),
            Change::Moved(a, b) => (json(a), json(b)),
        };
        let number = |v: f64| if v.is_nan() { Value::Null } else { json!(v) };
        let readings: Vec<Value> = readings(change, drawn)
            .iter()
            .map(|(t, v, s)| json!({ "time": rfc3339(*t), "value": number(*v), "status": s }))
            .collect();
        println!(
            "{}",
            json!({ "change": word(change), "site": k.site, "point": k.point, "rule": k.rule, "level": k.level,
                    "this": this, "other": other, "readings": readings })
        );
    }
}
