//! Topics made of what an alarm is about. A value fills one level, whatever it holds: what would be another level or a wildcard, or
//! what a topic must not have, is escaped so that it can be read back.

use crate::notifiers::common;
use model::Alarm;
use std::fmt::Write;

/// A topic with places for what an alarm is about.
#[derive(Clone, Debug)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Field(Field),
}

/// What stands for it, of one alarm.
type Field = fn(&Alarm) -> &str;

/// What can stand in braces.
const FIELDS: [(&str, Field); 4] = [
    ("site", |a| &a.site),
    ("region", |a| &a.place.region),
    ("severity", |a| a.severity.as_str()),
    ("rule", |a| &a.rule),
];

impl Template {
    /// Reads it.
    ///
    /// # Errors
    /// A part of a sentence that says what cannot be in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("it is empty".to_owned());
        }
        if text.starts_with('$') {
            return Err("topics that begin with `$` are the broker's own".to_owned());
        }
        if let Some(c) = text.chars().find(|c| matches!(c, '+' | '#') || c.is_control()) {
            return Err(format!("it holds {c:?}, which is for filters or not allowed"));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}').ok_or("a brace is not closed")?;
            let field = FIELDS.iter().find(|(known, _)| *known == name);
            let (_, of) = field.ok_or_else(|| {
                let known: Vec<String> = FIELDS.iter().map(|(known, _)| format!("{{{known}}}")).collect();
                format!("there is no `{{{name}}}`, only {}", known.join(", "))
            })?;
            parts.extend([Part::Text(before.to_owned()), Part::Field(*of)]);
            rest = behind;
        }
        if rest.contains('}') {
            return Err("a brace is not opened".to_owned());
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// The topic of a message about these alarms.
    pub fn fill(&self, alarms: &[&Alarm]) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field(of) => escape(&mut out, common(alarms, |a| of(a))),
            }
        }
        out
    }
}

fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        if matches!(c, '/' | '+' | '#' | '$' | '%') || c.is_control() {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(out, "%{byte:02X}");
            }
        } else {
            out.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::transition;
    use crate::life::{Step, step};
    use model::To;

    fn alarm(site: &str) -> Alarm {
        let Step::Event(changed) = step(None, &transition(1, "alarm", To::On, 1.1)) else { unreachable!() };
        Alarm { site: site.to_owned(), ..changed.row.alarm }
    }

    #[test]
    fn a_value_fills_one_level_and_can_be_read_back() {
        let template = Template::parse("mine/{site}/{region}/{severity}/{rule}/x").unwrap();
        for (site, level) in [
            ("M1", "M1"),
            ("东矿", "东矿"),
            ("a/b+c#d", "a%2Fb%2Bc%23d"),
            ("$SYS", "%24SYS"),
            ("5%2F", "5%252F"),
            ("a\n\u{85}", "a%0A%C2%85"),
        ] {
            assert_eq!(template.fill(&[&alarm(site)]), format!("mine/{level}/-/yellow/ch4/x"));
        }
        let two = [alarm("M1"), alarm("M2")];
        assert_eq!(template.fill(&[&two[0], &two[1]]), "mine/-/-/yellow/ch4/x", "a digest of two sites");
    }

    #[test]
    fn what_is_no_topic_is_refused() {
        for (text, why) in [
            ("", "empty"),
            ("$SYS/x", "the broker's own"),
            ("a/+/b", "'+'"),
            ("a/#", "'#'"),
            ("a\nb", "'\\n'"),
            ("{sight}", "no `{sight}`, only {site}, {region}, {severity}, {rule}"),
            ("a{site", "not closed"),
            ("site}", "not opened"),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
