//! What people do with alarms, as API and command line are told of it: one reading of it for both, with what each action must say.

use ::alerts::What;
use model::time::{Micros, parse_duration};
use serde::{Deserialize, Serialize};

/// Most characters of each text: the journal keeps them forever, once an alarm.
const TEXT_MAX: usize = 2_000;

/// What is said with an action.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// What the person says.
    pub note: String,
    /// How long it is shelved.
    pub r#for: Option<String>,
    /// Shelved only as long as this alarm lasts.
    pub one_shot: bool,
    /// How it is urged.
    pub way: String,
    /// Who was called.
    pub called: String,
    /// Why it came to the alarm.
    pub cause: String,
    /// What was done.
    pub measure: String,
}

impl Asked {
    /// What an action asks for; `shelve_max` is the longest time on the shelf.
    ///
    /// # Errors
    /// What is missing, a sentence.
    pub fn what(&self, action: &str, shelve_max: Micros, now: Micros) -> Result<What, String> {
        let texts = [&self.note, &self.way, &self.called, &self.cause, &self.measure];
        if texts.iter().any(|text| text.chars().count() > TEXT_MAX) {
            return Err(format!("a text of `{action}` has more than {TEXT_MAX} characters"));
        }
        if texts.iter().any(|text| text.contains('\0')) {
            return Err(format!("a text of `{action}` holds the character NUL"));
        }
        let said = |key: &str, value: &str| match value.trim() {
            "" => Err(format!("`{action}` needs `{key}`")),
            value => Ok(value.to_owned()),
        };
        Ok(match action {
            "ack" => What::Acknowledge,
            "comment" => said("note", &self.note).map(|_| What::Comment)?,
            "shelve" => {
                said("note", &self.note)?;
                What::Shelve { until: now + self.time(shelve_max)?, one_shot: self.one_shot }
            }
            "unshelve" => What::Unshelve,
            "urge" => What::Urge { way: said("way", &self.way)?, called: said("called", &self.called)? },
            "dispose" => {
                What::Dispose { cause: said("cause", &self.cause)?, measure: said("measure", &self.measure)? }
            }
            "close" => What::CloseOut,
            "return" => said("note", &self.note).map(|_| What::Return)?,
            "clear" => What::Clear,
            other => return Err(format!("`{other}` is nothing that is done with alarms")),
        })
    }

    fn time(&self, most: Micros) -> Result<Micros, String> {
        let longest = most / model::time::MINUTE;
        let text = match &self.r#for {
            Some(text) => text,
            None if self.one_shot => return Ok(most),
            None => return Err("`shelve` needs `for`, as `30min`, or `one_shot`".to_owned()),
        };
        match parse_duration(text) {
            Ok(time) if time > 0 && time <= most => Ok(time),
            Ok(_) => Err(format!(
                "`{text}` is not more than nothing and at most {longest} min (`alerts.shelve_max`)"
            )),
            Err(e) => Err(format!("`{text}`: {e}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::time::MINUTE;

    #[test]
    fn each_action_says_what_it_needs() {
        let read = |action: &str, asked: &Asked| asked.what(action, 60 * MINUTE, 5);
        let nothing = Asked::default();
        for (action, missing) in [
            ("comment", "note"),
            ("shelve", "note"),
            ("urge", "way"),
            ("dispose", "cause"),
            ("return", "note"),
        ] {
            let error = read(action, &nothing).unwrap_err();
            assert_eq!(error, format!("`{action}` needs `{missing}`"));
        }
        for action in ["ack", "unshelve", "close", "clear"] {
            assert!(read(action, &nothing).is_ok(), "{action}");
        }
        let long = Asked { note: "x".repeat(TEXT_MAX + 1), ..Asked::default() };
        assert!(read("ack", &long).unwrap_err().contains("more than 2000 characters"));
        assert!(read("forget", &nothing).unwrap_err().contains("`forget` is nothing"));
        let shelve = |time: Option<&str>, one_shot| {
            let time = time.map(str::to_owned);
            read("shelve", &Asked { note: "why".into(), r#for: time, one_shot, ..Asked::default() })
        };
        let until = |until| Ok(What::Shelve { until, one_shot: false });
        assert_eq!(shelve(Some("60min"), false), until(5 + 60 * MINUTE));
        assert_eq!(shelve(None, true), Ok(What::Shelve { until: 5 + 60 * MINUTE, one_shot: true }));
        for (time, says) in [
            (Some("61min"), "at most 60 min"),
            (Some("0s"), "more than nothing"),
            (None, "needs `for`"),
            (Some("x"), "`x`"),
        ] {
            let error = shelve(time, false).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
