//! Subject and text of an e-mail, Chinese and English, in the terms of the project's glossary. Times are shown in UTC+8, with the
//! offset.

use crate::notifiers::Notice;
use chrono::{DateTime, FixedOffset};
use model::{Alarm, AlarmState, Micros};
use std::fmt::Write;

/// Code, Chinese, English.
const TERMS: [(&str, &str, &str); 21] = [
    ("raised", "报警", "alarm"),
    ("changed", "报警变化", "alarm changed"),
    ("cleared", "解除报警", "alarm cleared"),
    ("withdrawn", "报警撤销", "alarm withdrawn"),
    ("escalated", "报警升级", "alarm escalated, not acknowledged"),
    ("reminded", "报警未确认", "alarm not acknowledged"),
    ("list", "报警列表", "alarm list"),
    ("digest", "补报汇总", "late digest"),
    ("checkpoint", "日志校验点", "checkpoint"),
    ("red", "红色预警", "red warning (level 1)"),
    ("orange", "橙色预警", "orange warning (level 2)"),
    ("yellow", "黄色预警", "yellow warning (level 3)"),
    ("blue", "蓝色预警", "blue warning (level 4)"),
    ("ch4", "甲烷", "methane"),
    ("co", "一氧化碳", "carbon monoxide"),
    ("o2", "氧气", "oxygen"),
    ("temperature", "温度", "temperature"),
    ("wind", "风速", "air velocity"),
    ("level", "液位", "level"),
    ("pressure", "压力", "pressure"),
    ("feed", "馈电状态", "feed state"),
];

/// Both words of a code; an unknown code stands for itself.
fn term(code: &str) -> (&str, &str) {
    TERMS.iter().find(|(c, ..)| *c == code).map_or((code, code), |(_, zh, en)| (*zh, *en))
}

/// Alarms of a digest whose names stand in the text; of more it says how many.
const LISTED_MAX: usize = 100;

/// What a notice says in one line.
pub(in crate::notifiers) fn subject(n: &Notice<'_>) -> String {
    let withdrawn = n.event == "cleared" && n.alarms.first().is_some_and(|a| a.withdrawn);
    let (zh, en) = term(if withdrawn { "withdrawn" } else { n.event });
    let drill = n.alarms.first().is_some_and(|a| a.marks.simulated);
    let (drill_zh, drill_en) = if drill { ("【演练】", "DRILL: ") } else { ("", "") };
    let what = match n.alarms {
        [] => "/ signed entry of the journal, to be kept".to_owned(),
        [one] => {
            let severity = term(one.severity.as_str());
            format!("{} {} / {drill_en}{en}, {}", severity.0, place(one), severity.1)
        }
        many => format!("{} 条 / {drill_en}{en}, {} alarms", many.len(), many.len()),
    };
    plain(&format!("{drill_zh}{zh} {what}"))
}

/// Subject and text of a notice.
pub(super) fn words(n: &Notice<'_>) -> (String, String) {
    let mut out = String::new();
    if n.event == "digest" {
        let _ = writeln!(out, "以下报警已发生并结束，补报备查，无需应急处置。");
        let _ = writeln!(
            out,
            "The following alarms rose and ended before they could be told; for the record, no emergency.\n"
        );
    }
    if n.event == "list" {
        let active = n.alarms.iter().filter(|a| a.state == AlarmState::Active).count();
        let (over, all) = (n.alarms.len() - active, n.alarms.len());
        let _ = writeln!(out, "报警过多，合并为一条：共 {all} 条，{active} 条未解除，{over} 条已解除。");
        let _ = writeln!(
            out,
            "Too many alarms, told as one: {all}, of which {active} are on and {over} are over.\n"
        );
    }
    if n.alarms.is_empty() {
        let _ = writeln!(out, "{}", n.json);
    }
    for alarm in n.alarms.iter().take(LISTED_MAX) {
        one(&mut out, alarm);
    }
    if n.alarms.len() > LISTED_MAX {
        let rest = n.alarms.len() - LISTED_MAX;
        let _ = writeln!(out, "另有 {rest} 条，见报警列表。 {rest} more stand in the alarm list.\n");
    }
    let _ = writeln!(out, "时间 time: {}\n编号 key: {}", local(n.time), n.key);
    (subject(n), out)
}

fn one(out: &mut String, a: &Alarm) {
    let severity = term(a.severity.as_str());
    let quantity = term(&a.place.quantity);
    let mut line = |zh: &str, en: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(out, "{zh} {en}: {}", plain(&value));
        }
    };
    line("级别", "severity", format!("{} {}", severity.0, severity.1));
    line("单位", "site", named(&a.place.site_name, &a.site));
    line("测点", "point", named(&a.place.point_name, &a.point));
    if !quantity.0.is_empty() {
        line("类型", "quantity", format!("{} {}", quantity.0, quantity.1));
    }
    line("规则", "rule", format!("{} / {}", a.rule, a.level));
    line("原因", "reason", a.reason.clone());
    line("峰值", "peak", a.peak.map(|p| format!("{p} {}", a.place.unit)).unwrap_or_default());
    line("开始", "opened", local(a.opened));
    line("结束", "closed", a.closed.map(local).unwrap_or_default());
    if a.marks.unconfirmed {
        line("标记", "mark", "煤矿上报，未经核实 reported by the mine, unconfirmed".to_owned());
    }
    if a.marks.simulated {
        line("标记", "mark", "演练 drill".to_owned());
    }
    line("报警编号", "alarm", a.id.clone());
    let _ = writeln!(out);
}

fn place(a: &Alarm) -> String {
    let or = |name: &str, code: &str| if name.is_empty() { code.to_owned() } else { name.to_owned() };
    format!("{} {}", or(&a.place.site_name, &a.site), or(&a.place.point_name, &a.point))
}

fn named(name: &str, code: &str) -> String {
    if name.is_empty() { code.to_owned() } else { format!("{name} ({code})") }
}

/// What came from outside must not end a line of a header.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn local(t: Micros) -> String {
    let zone = FixedOffset::east_opt(8 * 3600).expect("UTC+8 is a valid offset");
    match DateTime::from_timestamp_micros(t) {
        Some(d) => d.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S %:z").to_string(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::transition;
    use crate::life::{Step, step};
    use model::{Place, To};

    fn alarm() -> Alarm {
        let Step::Event(changed) = step(None, &transition(1_764_000_000, "alarm", To::On, 1.62)) else {
            unreachable!()
        };
        let mut alarm = changed.row.alarm;
        alarm.place = Place {
            region: "140100".into(),
            site_name: "东矿".into(),
            point_name: "1301回风隅角".into(),
            quantity: "ch4".into(),
            unit: "%".into(),
            ..Place::default()
        };
        alarm
    }

    #[test]
    fn both_languages_names_and_the_offset() {
        let alarm = alarm();
        let notice = Notice {
            key: "k",
            event: "raised",
            alarms: &[&alarm],
            time: alarm.opened,
            before: None,
            json: "",
        };
        let (subject, text) = words(&notice);
        assert_eq!(subject, "报警 黄色预警 东矿 1301回风隅角 / alarm, yellow warning (level 3)");
        for line in [
            "单位 site: 东矿 (M1)",
            "类型 quantity: 甲烷 methane",
            "峰值 peak: 1.62 %",
            "开始 opened: 2025-11-25 00:00:00 +08:00",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }

    #[test]
    fn a_name_cannot_add_a_header() {
        let mut alarm = alarm();
        alarm.place.point_name = "x\r\nBcc: all@example.org".into();
        let notice =
            Notice { key: "k", event: "cleared", alarms: &[&alarm], time: 0, before: None, json: "" };
        let (subject, text) = words(&notice);
        assert!(!subject.contains(['\r', '\n']), "{subject}");
        assert!(!text.lines().any(|l| l.starts_with("Bcc")), "{text}");
    }
}
