//! Series of readings as a person writes them in a test: `0.4x10 0.4..1.0/6 1.0!4x2 _x3 -x60 0.99`.
//!
//! | written | stands for |
//! |---|---|
//! | `1.2` | a reading |
//! | `0.4..1.0/6` | a ramp of 6 readings, from 0.4 to 1.0, both included |
//! | `_` | a reading without a value |
//! | `-` | nothing is sent at this step |
//! | `!n` behind one of them | with these status bits (a sum of 1 alarm, 2 cut, 4 calibration, 8 over range, 16, 32, 64, 128 bad, ...) |
//! | `xn` at the end | n times |

/// Most steps of a series: a week of one-second readings.
pub const STEPS_MAX: usize = 700_000;

/// What is sent at one step.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sample {
    /// The value; `None` where the device gave none.
    pub value: Option<f64>,
    /// Status bits.
    pub status: i32,
}

/// A mistake in a series.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrong {
    /// Byte position in the text.
    pub at: usize,
    /// What is wrong and what to write.
    pub message: String,
}

/// One entry a step; `None` where nothing is sent.
///
/// # Errors
/// The first mistake, and where it stands.
pub fn parse(text: &str) -> Result<Vec<Option<Sample>>, Wrong> {
    let mut steps = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find(|c: char| !c.is_whitespace()) {
        let at = text.len() - rest.len() + begin;
        let item = &rest[begin..];
        let item = &item[..item.find(char::is_whitespace).unwrap_or(item.len())];
        rest = &text[at + item.len()..];
        let wrong = |message| Wrong { at, message };
        let (each, times) = parse_item(item).map_err(wrong)?;
        if each.len().saturating_mul(times) > STEPS_MAX - steps.len() {
            return Err(wrong(format!("the series has more than {STEPS_MAX} steps")));
        }
        (0..times).for_each(|_| steps.extend_from_slice(&each));
    }
    Ok(steps)
}

type Item = (Vec<Option<Sample>>, usize);

fn parse_item(item: &str) -> Result<Item, String> {
    let whole = |what: &str, text: &str| {
        text.parse::<usize>().map_err(|_| format!("`{text}` in `{item}` is not {what}"))
    };
    let (values, times) = match item.rsplit_once('x') {
        Some((values, times)) => (values, whole("a number of times", times)?),
        None => (item, 1),
    };
    let (values, status) = match values.split_once('!') {
        Some((values, bits)) => (values, whole("a sum of status bits", bits)?),
        None => (values, 0),
    };
    let status = i32::try_from(status).map_err(|_| format!("the status bits in `{item}` are too large"))?;
    let sample = |value| Some(Sample { value, status });
    let each = match values {
        "_" => vec![sample(None)],
        "-" if status == 0 => vec![None],
        "-" => {
            return Err(format!(
                "`{item}`: where nothing is sent there are no bits; write `_` for a missing value"
            ));
        }
        _ => ramp(values)?.into_iter().map(|v| sample(Some(v))).collect(),
    };
    Ok((each, times))
}

fn ramp(text: &str) -> Result<Vec<f64>, String> {
    let number = |text: &str| match text.parse::<f64>() {
        Ok(v) if v.is_finite() => Ok(v),
        _ => Err(format!("`{text}` is not a number; a missing value is `_`, a ramp `0.4..1.0/6`")),
    };
    let Some((from, rest)) = text.split_once("..") else { return Ok(vec![number(text)?]) };
    let Some((to, count)) = rest.split_once('/') else {
        return Err(format!("the ramp `{text}` does not say how many readings; write `{text}/6`"));
    };
    let (from, to) = (number(from)?, number(to)?);
    let count = count.parse::<usize>().ok().filter(|n| (2..=STEPS_MAX).contains(n));
    let count = count.ok_or_else(|| format!("the ramp `{text}` needs 2 to {STEPS_MAX} readings"))?;
    let last = (count - 1) as f64;
    // As its decimals say it, so that a ramp that should touch a limit does; the ends are what is written.
    let between = |i: usize| crate::kinds::decimal(from + (to - from) * (i as f64 / last));
    let at = |i| match i {
        0 => from,
        i if i == count - 1 => to,
        i => between(i),
    };
    Ok((0..count).map(at).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let one = |s: &Option<Sample>| match s {
            None => "-".to_owned(),
            Some(Sample { value, status }) => {
                let value = value.map_or("_".to_owned(), |v| v.to_string());
                if *status == 0 { value } else { format!("{value}!{status}") }
            }
        };
        match parse(text) {
            Ok(steps) => steps.iter().map(one).collect::<Vec<_>>().join(" "),
            Err(wrong) => format!("{}: {}", wrong.at, wrong.message),
        }
    }

    #[test]
    fn what_is_written_is_what_is_sent() {
        for (text, expected) in [
            ("", ""),
            ("0.4x3 1", "0.4 0.4 0.4 1"),
            ("0.4..1.0/6", "0.4 0.52 0.64 0.76 0.88 1"),
            ("1..0/3!4x2", "1!4 0.5!4 0!4 1!4 0.5!4 0!4"),
            ("_x2 -x2 _!8 -5", "_ _ - - _!8 -5"),
            (" 1.0!4x2\n\t0.99x0 2e-3", "1!4 1!4 0.002"),
            ("-1..-2/2", "-1 -2"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        assert_eq!(parse("0.3..0.9/13").unwrap()[7].unwrap().value, Some(0.65), "no dust in the last digits");
    }

    #[test]
    fn mistakes_are_named_where_they_stand() {
        for (text, at, part) in [
            ("1.0 abc", 4, "`abc` is not a number"),
            ("1.0 NaN", 4, "`_`"),
            ("1 1..2", 2, "write `1..2/6`"),
            ("1..2/1", 0, "needs 2 to"),
            ("1x-3", 0, "number of times"),
            ("1!x", 0, "number of times"),
            ("1!a", 0, "status bits"),
            ("1!99999999999", 0, "too large"),
            ("-!4", 0, "no bits"),
            ("0 1x999999999", 2, "more than 700000 steps"),
            ("1x99999999999999999999999", 0, "number of times"),
            ("1..b/3", 0, "not a number"),
        ] {
            let wrong = parse(text).unwrap_err();
            assert!(wrong.at == at && wrong.message.contains(part), "{text}: {wrong:?}");
        }
    }

    proptest::proptest! {
        /// Whatever is written, the parser answers; and it never gives more than its limit.
        #[test]
        fn nothing_written_breaks_it(text in "[-0-9.x!/_ a\u{77ff}]{0,24}") {
            if let Ok(steps) = parse(&text) {
                proptest::prop_assert!(steps.len() <= STEPS_MAX);
            }
        }
    }
}
