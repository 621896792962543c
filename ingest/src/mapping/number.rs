//! Scalars of a message as values, times and statuses.

use super::walk::Scalar;
use model::Micros;
use model::time;

/// How a number is read as a time; a text may always be RFC 3339 with a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TimeFormat {
    /// Seconds since 1970, UTC; fractions count.
    Seconds,
    /// Milliseconds.
    #[default]
    Millis,
    /// Microseconds.
    Micros,
}

impl TimeFormat {
    /// Words in the configuration, with the format each stands for.
    pub const WORDS: [&'static str; 3] = ["s", "ms", "us"];

    /// The format of a word of [`TimeFormat::WORDS`].
    pub fn of_word(word: &str) -> Option<Self> {
        match word {
            "s" => Some(Self::Seconds),
            "ms" => Some(Self::Millis),
            "us" => Some(Self::Micros),
            _ => None,
        }
    }

    fn scale(self) -> i64 {
        match self {
            Self::Seconds => 1_000_000,
            Self::Millis => 1_000,
            Self::Micros => 1,
        }
    }
}

/// A scalar that cannot be read as what it should be: a sentence for the sample.
pub(super) type Wrong = String;

/// The value; `None` is missing.
#[inline]
pub(super) fn value(scalar: &Scalar<'_>) -> Result<Option<f64>, Wrong> {
    Ok(match scalar {
        Scalar::Float(v) => Some(*v),
        Scalar::Unsigned(v) => Some(*v as f64),
        Scalar::Signed(v) => Some(*v as f64),
        Scalar::Null => None,
        Scalar::Bool(v) => Some(f64::from(u8::from(*v))),
        Scalar::Text(text) => {
            Some(text.trim().parse().map_err(|_| format!("value `{text}` is not a number"))?)
        }
        Scalar::Absent => return Err("there is no value where the mapping looks for it".to_owned()),
        Scalar::Wrong => return Err("the value is an array or an object".to_owned()),
    })
}

/// The time; `None` when the device sent none.
#[inline]
pub(super) fn time(scalar: &Scalar<'_>, format: TimeFormat) -> Result<Option<Micros>, Wrong> {
    let whole = |n: i64| n.checked_mul(format.scale()).ok_or_else(|| format!("time {n} is too large"));
    Ok(Some(match scalar {
        Scalar::Absent | Scalar::Null => return Ok(None),
        Scalar::Unsigned(n) => {
            i64::try_from(*n).map_err(|_| format!("time {n} is too large")).and_then(whole)?
        }
        Scalar::Signed(n) => whole(*n)?,
        Scalar::Float(n) => fraction(*n, format)?,
        Scalar::Text(text) => time_of_text(text.trim(), format)?,
        Scalar::Bool(_) | Scalar::Wrong => return Err("the time is neither a text nor a number".to_owned()),
    }))
}

fn fraction(n: f64, format: TimeFormat) -> Result<Micros, Wrong> {
    let micros = (n * format.scale() as f64).round();
    // Beyond 2^63 a cast would saturate to a time that nobody sent.
    if micros.abs() < 9e18 { Ok(micros as Micros) } else { Err(format!("time {n} is too large")) }
}

fn time_of_text(text: &str, format: TimeFormat) -> Result<Micros, Wrong> {
    match text.parse::<i64>() {
        Ok(n) => n.checked_mul(format.scale()).ok_or_else(|| format!("time {n} is too large")),
        Err(_) => time::parse(text),
    }
}

/// The status word as sent; the builder judges its range.
#[inline]
pub(super) fn status(scalar: &Scalar<'_>) -> Result<i32, Wrong> {
    let wrong = || "the status is not a whole number".to_owned();
    match scalar {
        Scalar::Absent | Scalar::Null => Ok(0),
        Scalar::Unsigned(n) => i32::try_from(*n).map_err(|_| format!("status {n} is outside 0 to 255")),
        Scalar::Signed(n) => i32::try_from(*n).map_err(|_| format!("status {n} is outside 0 to 255")),
        Scalar::Float(n) if n.fract() == 0.0 && n.abs() < 1e9 => Ok(*n as i32),
        Scalar::Text(text) => text.trim().parse().map_err(|_| wrong()),
        Scalar::Float(_) | Scalar::Bool(_) | Scalar::Wrong => Err(wrong()),
    }
}

/// Whether a flag is set; absent is no.
pub(super) fn flag(scalar: &Scalar<'_>) -> Result<bool, Wrong> {
    match scalar {
        Scalar::Absent | Scalar::Null => Ok(false),
        Scalar::Bool(v) => Ok(*v),
        Scalar::Unsigned(n) => Ok(*n != 0),
        Scalar::Signed(n) => Ok(*n != 0),
        Scalar::Text(text) if matches!(text.trim(), "1" | "true") => Ok(true),
        Scalar::Text(text) if matches!(text.trim(), "" | "0" | "false") => Ok(false),
        Scalar::Text(_) | Scalar::Float(_) | Scalar::Wrong => {
            Err("`out` is neither true nor false".to_owned())
        }
    }
}
