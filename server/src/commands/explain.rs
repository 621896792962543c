//! `firedamp explain`: why an alarm or a transition was decided: the rule and its version, the limit and where it came from, the
//! delays, the steps of the alarm, and the readings that led to it.

use super::client::Client;
use super::{ConfigArg, Form, Stop, check, offline, rules as rule_commands, subject};
use crate::config::{Config, Loaded};
use anyhow::anyhow;
use clap::Args;
use heard::Heard;
use model::time::{DAY, Micros, parse, rfc3339};
use reqwest::Method;
use rules::RuleAtPoint;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use storage::output::{self, Format};
use storage::{Limits, Storage};

mod heard;

/// Readings shown up to the decision, and after it.
const READINGS: (usize, usize) = (25, 3);
/// Of each related point of a rule across points, and of how many of them.
const RELATED: (usize, usize) = (3, 1);
const RELATED_MAX: usize = 16;
/// Steps of an alarm are looked for so long before and after.
const AROUND: Micros = 60 * DAY;
/// Fewest digits of an id.
const DIGITS_MIN: usize = 6;

#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// Id of an alarm or a transition, or its first digits
    id: String,
    #[command(flatten)]
    config: ConfigArg,
    /// Form of the answer
    #[arg(long, value_enum, default_value = "table")]
    format: Form,
}

/// Finds it and says why.
pub async fn explain(args: ExplainArgs) -> Result<(), Stop> {
    let id = args.id.to_lowercase();
    if id.len() < DIGITS_MIN || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Stop::Input(format!(
            "`{}` is not an id: give at least {DIGITS_MIN} of its hex digits",
            args.id
        )));
    }
    let (config, loaded) = check::load(&args.config.config)?;
    let ask = Ask::of(config).await?;
    let event = find(&ask, &id).await?;
    let steps = steps(&ask, &event).await?;
    let mut why = Why { event, steps, readings: Vec::new(), group: None, loaded: &loaded };
    let members = why.members();
    let own = text(&why.event, "point");
    if members.is_empty() {
        why.readings = readings(&ask, &why.event, own, By::Time, READINGS).await?;
    } else {
        let heard = Heard::of(&ask, &why.event, &members).await?;
        why.readings = readings(&ask, &why.event, own, By::Log(&heard), READINGS).await?;
        why.group = Some(group(&ask, &why.event, members, &heard).await?);
    }
    match args.format {
        Form::Json => println!("{}", why.json()),
        Form::Table => why.tell(),
    }
    Ok(())
}

/// Where the tables are asked: the running server, or the folder when none runs.
enum Ask {
    Server(Client),
    Table(Storage),
}

impl Ask {
    async fn of(config: Config) -> Result<Self, Stop> {
        Ok(match Client::find(&config).await? {
            Some(client) => Self::Server(client),
            None => Self::Table(offline::table(&config).await?),
        })
    }

    async fn rows(&self, sql: String) -> Result<Vec<Value>, Stop> {
        let bytes = match self {
            Self::Server(client) => {
                client.ask(Method::POST, "/api/v1/sql", "application/json", sql, "text/plain").await?
            }
            Self::Table(table) => {
                let limits = Limits { time: Duration::from_secs(600), ..Limits::default() };
                let rows = table.query(&sql, limits).await.map_err(|e| anyhow!(e))?;
                let mut bytes = Vec::new();
                output::write(rows, Format::Json, &mut bytes).await.map_err(|e| anyhow!("{e:?}"))?;
                bytes
            }
        };
        serde_json::from_slice(&bytes).map_err(|e| anyhow!(e).into())
    }
}

const COLUMNS: &str = "id, site, point, time, decided, rule, version, level, \"to\", value, severity, reason, marks, decided_offset";

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}

async fn find(ask: &Ask, id: &str) -> Result<Value, Stop> {
    let sql = format!(
        "SELECT {COLUMNS} FROM events WHERE id LIKE {} ORDER BY id LIMIT 10",
        quoted(&format!("{id}%"))
    );
    let mut found = ask.rows(sql).await?;
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => {
            let message = "no alarm or transition of a rule has this id; it may be older than `storage.retain.events`, or firedamp's own";
            Err(Stop::Input(format!("{id}: {message}")))
        }
        n => {
            let ids: Vec<&str> = found.iter().map(|e| text(e, "id")).collect();
            Err(Stop::Input(format!("{n} or more ids begin with {id}: {}", ids.join(", "))))
        }
    }
}

/// The steps of the alarm that the event belongs to: from its first level on to its last off.
async fn steps(ask: &Ask, event: &Value) -> Result<Vec<Value>, Stop> {
    let decided = parse(text(event, "decided")).map_err(|e| anyhow!(e))?;
    let sql = format!(
        "SELECT {COLUMNS} FROM events WHERE site = {} AND point = {} AND rule = {} AND decided >= '{}' AND decided <= '{}' \
         ORDER BY decided, \"offset\", rank",
        quoted(text(event, "site")),
        quoted(text(event, "point")),
        quoted(text(event, "rule")),
        rfc3339(decided - AROUND),
        rfc3339(decided + AROUND)
    );
    Ok(steps_of(ask.rows(sql).await?, event))
}

/// Of the transitions of a rule at a point, in their order, those of the event's alarm.
fn steps_of(rows: Vec<Value>, event: &Value) -> Vec<Value> {
    // What is found late is an alarm of one step that nothing ends; a drill is another world.
    if is_marked(event, "late") {
        return vec![event.clone()];
    }
    let mut alarm = Vec::new();
    let mut on = BTreeSet::new();
    let drill = is_marked(event, "simulated");
    for row in rows.into_iter().filter(|r| !is_marked(r, "late") && is_marked(r, "simulated") == drill) {
        match text(&row, "to") {
            "on" => on.insert(text(&row, "level").to_owned()),
            _ => on.remove(text(&row, "level")),
        };
        alarm.push(row);
        if on.is_empty() {
            if alarm.iter().any(|r| r["id"] == event["id"]) {
                return alarm;
            }
            alarm.clear();
        }
    }
    alarm
}

/// Whether a transition has a mark; the table keeps its marks as JSON.
fn is_marked(row: &Value, mark: &str) -> bool {
    match &row["marks"] {
        Value::String(text) => serde_json::from_str::<Value>(text).is_ok_and(|m| m[mark] == true),
        marks => marks[mark] == true,
    }
}

/// By what readings are up to a decision or after it.
#[derive(Clone, Copy)]
enum By<'a> {
    /// By the times that the point's own device gave them.
    Time,
    /// By their place in the log, as a rule across points hears them: the clocks of two devices cannot be compared.
    Log(&'a Heard),
}

/// The readings of a point up to the decision and just after, so many of each.
async fn readings(
    ask: &Ask,
    event: &Value,
    point: &str,
    by: By<'_>,
    (before, after): (usize, usize),
) -> Result<Vec<Value>, Stop> {
    let time = text(event, "time");
    let (up_to, beyond, order) = match by {
        By::Time => (format!("time <= '{time}'"), format!("time > '{time}'"), ["time", "\"offset\""]),
        By::Log(heard) => (heard.up_to(), heard.beyond(), ["\"offset\"", "row"]),
    };
    let part = |which: &str, direction: &str, n: usize| {
        format!(
            "SELECT time, value, status, source, \"offset\", row FROM readings WHERE site = {} AND point = {} AND {which} \
             ORDER BY {} {direction}, {} {direction} LIMIT {n}",
            quoted(text(event, "site")),
            quoted(point),
            order[0],
            order[1]
        )
    };
    let mut rows = ask.rows(part(&up_to, "DESC", before)).await?;
    rows.reverse();
    rows.extend(ask.rows(part(&beyond, "ASC", after)).await?);
    Ok(rows)
}

/// What a rule across points heard.
struct Group {
    /// The record that was heard last, and the points whose readings it holds.
    record: Option<u64>,
    in_record: Vec<String>,
    /// What the other points said, those of that record first.
    related: Vec<(String, Vec<Value>)>,
    /// How many others there are.
    more: usize,
}

/// What the members of a rule across points said, the first of which is the event's own point.
async fn group(ask: &Ask, event: &Value, members: Vec<String>, heard: &Heard) -> Result<Group, Stop> {
    let (site, list) = (quoted(text(event, "site")), heard::listed(&members));
    let of_members = format!("FROM readings WHERE site = {site} AND point IN ({list}) AND {}", heard.up_to());
    let sql = format!(
        "SELECT DISTINCT point, \"offset\" {of_members} AND \"offset\" = (SELECT max(\"offset\") {of_members}) ORDER BY point"
    );
    let rows = ask.rows(sql).await?;
    let record = rows.first().and_then(|row| row["offset"].as_u64());
    let in_record: Vec<String> = rows.iter().map(|row| text(row, "point").to_owned()).collect();
    let others = members.into_iter().skip(1);
    let (mut others, rest): (Vec<_>, Vec<_>) = others.partition(|code| in_record.contains(code));
    others.extend(rest);
    let mut related = Vec::new();
    for point in others.iter().take(RELATED_MAX) {
        related.push((point.clone(), readings(ask, event, point, By::Log(heard), RELATED).await?));
    }
    Ok(Group { record, in_record, related, more: others.len().saturating_sub(RELATED_MAX) })
}

/// What is known of a decision.
struct Why<'a> {
    event: Value,
    steps: Vec<Value>,
    readings: Vec<Value>,
    /// Of a rule across points.
    group: Option<Group>,
    loaded: &'a Loaded,
}

impl Why<'_> {
    /// The rule as it is in the files now, at the point; `None` where rule or point are gone.
    fn rule(&self) -> Option<RuleAtPoint> {
        let ix = self.loaded.catalog.find(text(&self.event, "site"), text(&self.event, "point"))?;
        let is_here = |r: &RuleAtPoint| {
            r.name == text(&self.event, "rule") && r.members.first().is_none_or(|own| *own == ix)
        };
        self.loaded.program.at_point(ix).into_iter().find(is_here)
    }

    /// The points that a rule across points hears, its own first; none of another rule.
    fn members(&self) -> Vec<String> {
        let members = self.rule().map(|r| r.members).unwrap_or_default();
        members.iter().map(|ix| self.loaded.catalog.point(*ix).code.clone()).collect()
    }

    /// What decided, in a word and a sentence.
    fn decided_by(&self) -> (&'static str, String) {
        let offset = &self.event["decided_offset"];
        match &self.group {
            Some(group) => {
                if let Some(record) = group.record {
                    let (time, codes) = (text(&self.event, "time"), group.in_record.join(", "));
                    let heard = format!("heard last was record {record}, which holds readings of {codes}");
                    return ("record", format!("at offset {offset}, when the clock left {time}; {heard}"));
                }
            }
            None => {
                if let Some(r) = self.readings.iter().rfind(|r| self.decides(r)) {
                    let (point, time) = (text(&self.event, "point"), text(r, "time"));
                    let value = number(&r["value"]);
                    return (
                        "reading",
                        format!("at offset {offset}, by the reading of {point} of {time} ({value})"),
                    );
                }
            }
        }
        let time = "by the passing of time, at a tick or the next record, not by a reading of this point";
        ("time", format!("at offset {offset}, {time}"))
    }

    /// Whether it decided: of one point the reading of that time in the record that did, of several all of the record heard last.
    fn decides(&self, reading: &Value) -> bool {
        match &self.group {
            Some(group) => reading["offset"].as_u64() == group.record,
            None => {
                reading["offset"] == self.event["decided_offset"] && reading["time"] == self.event["time"]
            }
        }
    }

    fn json(&self) -> Value {
        let rule = self.rule().map(|rule| {
            let level = rule.levels.iter().find(|l| l.level == text(&self.event, "level"));
            json!({
                "at": subject::place(&rule.place), "version": rule.version, "source": rule.source,
                "same_version": rule.version == text(&self.event, "version"),
                "text": subject::text_of(&self.loaded.rules, &rule.place),
                "limit": level.map(|l| &l.limit), "from": level.map(|l| rule_commands::origin(&rule, l)),
                "on_delay": level.map(|l| model::time::show_duration(l.on_delay)),
                "off_delay": level.map(|l| model::time::show_duration(l.off_delay)),
            })
        });
        let group = self.group.as_ref();
        let related = group.iter().flat_map(|g| &g.related);
        let related: serde_json::Map<String, Value> =
            related.map(|(point, rows)| (point.clone(), json!(rows))).collect();
        json!({ "transition": self.event, "decided_by": self.decided_by().0, "rule": rule, "steps": self.steps,
                "readings": self.readings, "record": group.map(|g| g.record), "in_record": group.map(|g| &g.in_record), "related": related,
                "related_more": group.map(|g| g.more) })
    }

    fn tell(&self) {
        let e = &self.event;
        println!(
            "{} {}: {} {} {} at {}\n  because {}",
            text(e, "site"),
            text(e, "point"),
            text(e, "rule"),
            text(e, "level"),
            text(e, "to"),
            text(e, "time"),
            text(e, "reason")
        );
        println!("  id {}, severity {}, marks {}", text(e, "id"), text(e, "severity"), text(e, "marks"));
        println!("  decided when the clock stood at {}, {}", text(e, "decided"), self.decided_by().1);
        self.tell_rule();
        println!("\nsteps of this alarm:");
        for step in &self.steps {
            let here = if step["id"] == e["id"] { "->" } else { "  " };
            println!(
                "{here} {}  {:<10} {:<9}  {}",
                text(step, "time"),
                text(step, "level"),
                text(step, "to"),
                text(step, "reason")
            );
        }
        println!("\nreadings:");
        if self.readings.is_empty() {
            println!("   none is in the table any more");
        }
        self.readings.iter().for_each(|reading| self.tell_reading(reading));
        if let Some(group) = &self.group {
            for (point, rows) in &group.related {
                println!("\nreadings of {point}:");
                rows.iter().for_each(|reading| self.tell_reading(reading));
            }
            if group.more > 0 {
                println!("\nand {} more", group.more);
            }
        }
    }

    fn tell_reading(&self, reading: &Value) {
        let here = if self.decides(reading) { "->" } else { "  " };
        let status = model::status::names(reading["status"].as_i64().unwrap_or(0) as i32).join(", ");
        println!(
            "{here} {}  {:>12}  offset {} row {}  {}  {status}",
            text(reading, "time"),
            number(&reading["value"]),
            reading["offset"],
            number(&reading["row"]),
            text(reading, "source")
        );
    }

    fn tell_rule(&self) {
        let version = text(&self.event, "version");
        let Some(rule) = self.rule() else {
            return println!("\nthe rule (version {version}) or the point is no longer in the files");
        };
        println!("\nrule, version {version}, {}:", subject::place(&rule.place));
        if rule.version != version {
            println!(
                "  what follows is version {}: the files have changed since it was decided",
                rule.version
            );
        }
        for line in subject::text_of(&self.loaded.rules, &rule.place).lines() {
            println!("  {line}");
        }
        println!("at this point:");
        rule.levels.iter().for_each(|l| println!("  {}", rule_commands::level_line(&rule, l)));
    }
}

/// A number, or a dash where there is none.
fn number(value: &Value) -> String {
    if value.is_null() { "-".to_owned() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_alarms_and_drills_are_apart_from_the_live_one() {
        let row =
            |id: &str, to: &str, marks: &str| json!({ "id": id, "level": "alarm", "to": to, "marks": marks });
        let rows = [
            row("late", "on", r#"{"late":true}"#),
            row("drill", "on", r#"{"simulated":true}"#),
            row("on", "on", "{}"),
            row("drilled", "off", r#"{"simulated":true}"#),
            row("again", "on", r#"{"late":true}"#),
            row("off", "off", "{}"),
            row("next", "on", "{}"),
        ];
        let steps = |i: usize| {
            let all = steps_of(rows.to_vec(), &rows[i]);
            all.iter().map(|r| text(r, "id").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!((steps(0), steps(4)), (vec!["late".to_owned()], vec!["again".to_owned()]));
        assert_eq!((steps(1), steps(2)), (steps(3), steps(5)));
        assert_eq!(
            (steps(3), steps(5), steps(6)),
            (
                vec!["drill".to_owned(), "drilled".to_owned()],
                vec!["on".to_owned(), "off".to_owned()],
                vec!["next".to_owned()],
            )
        );
    }
}
