//! Records of CDSS (values of points) and KGBH (changes of switches), pure.

use super::text::{RecordError, fields, place};
use model::Micros;
use model::time::parse_national;

/// What a missing analog value is written as.
const MISSING: f64 = -9999.0;

/// One value of a point.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Row<'a> {
    /// Point code.
    pub point: &'a str,
    /// Value; `None` is a missing one.
    pub value: Option<f64>,
    /// Unit as sent; empty where none is.
    pub unit: &'a str,
    /// Status bits as sent.
    pub status: i32,
    /// When it was measured.
    pub time: Micros,
}

/// Remembers the last time text: the records of a snapshot mostly carry the same.
#[derive(Default)]
pub struct Times<'a> {
    last: Option<(&'a str, Micros)>,
}

impl<'a> Times<'a> {
    fn parse(&mut self, record: &str, text: &'a str) -> Result<Micros, RecordError> {
        if let Some((last, time)) = self.last
            && last == text
        {
            return Ok(time);
        }
        let time = parse_national(text).map_err(|message| RecordError {
            reason: "time",
            message,
            at: place(record, text),
        })?;
        self.last = Some((text, time));
        Ok(time)
    }
}

fn error(record: &str, field: &str, reason: &'static str, message: String) -> RecordError {
    RecordError { reason, message, at: place(record, field) }
}

/// A number as the files write it: digits, sign, point. `None` for an empty one and for -9999.
pub(super) fn value<'a>(record: &'a str, text: &'a str) -> Result<Option<f64>, RecordError> {
    if text.is_empty() {
        return Ok(None);
    }
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    match text.parse::<f64>() {
        Ok(n) if plain && n.is_finite() => Ok((n != MISSING).then_some(n)),
        _ => Err(error(record, text, "value", format!("value `{text}` is not a number"))),
    }
}

fn point<'a>(record: &str, text: &'a str) -> Result<&'a str, RecordError> {
    if text.is_empty() {
        Err(error(record, text, "point", "the point code is empty".to_owned()))
    } else {
        Ok(text)
    }
}

/// A record of CDSS: code; sensor type name; location; value; unit; status; time.
///
/// # Errors
/// Why it is skipped.
pub fn cdss<'a>(record: &'a str, times: &mut Times<'a>) -> Result<Row<'a>, RecordError> {
    let [code, _, _, number, unit, status, time] = fields::<7>(record)?;
    let bits = status.parse::<u8>().map_err(|_| {
        error(record, status, "status", format!("status `{status}` is not a bit mask from 0 to 255"))
    })?;
    Ok(Row {
        point: point(record, code)?,
        value: value(record, number)?,
        unit,
        status: i32::from(bits),
        time: times.parse(record, time)?,
    })
}

/// A record of KGBH: code; value; time.
///
/// # Errors
/// Why it is skipped.
pub fn kgbh<'a>(record: &'a str, times: &mut Times<'a>) -> Result<Row<'a>, RecordError> {
    let [code, number, time] = fields::<3>(record)?;
    Ok(Row {
        point: point(record, code)?,
        value: value(record, number)?,
        unit: "",
        status: 0,
        time: times.parse(record, time)?,
    })
}
