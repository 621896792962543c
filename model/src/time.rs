//! Times as users write and read them. Inside they are [`Micros`]: microseconds since 1970-01-01 UTC.

use chrono::{DateTime, FixedOffset, NaiveDateTime, TimeZone, Utc};

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Micros = i64;

/// One second in [`Micros`].
pub const SECOND: Micros = 1_000_000;
/// One minute in [`Micros`].
pub const MINUTE: Micros = 60 * SECOND;
/// One day in [`Micros`].
pub const DAY: Micros = 86_400 * SECOND;

/// Earliest device time that is believed (2000-01-01); older means a clock that was never set.
pub const TIME_MIN: Micros = 946_684_800 * SECOND;
/// Latest device time that can be stored (2100-01-01).
pub const TIME_MAX: Micros = 4_102_444_800 * SECOND;

/// RFC 3339 in UTC with milliseconds, as all outputs print times: `2026-11-24T08:15:58.250Z`.
pub fn rfc3339(t: Micros) -> String {
    match DateTime::<Utc>::from_timestamp_micros(t) {
        Some(d) => d.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        None => format!("invalid time {t}"),
    }
}

/// A time as users write it: RFC 3339 with a zone, or Unix milliseconds as digits.
///
/// # Errors
/// A sentence that says what is wrong; a local time without a zone is refused, not guessed.
pub fn parse(text: &str) -> Result<Micros, String> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text
            .parse::<i64>()
            .ok()
            .and_then(|ms| ms.checked_mul(1000))
            .ok_or_else(|| format!("time `{text}` is too large"));
    }
    match DateTime::parse_from_rfc3339(text) {
        Ok(d) => Ok(d.timestamp_micros()),
        Err(_)
            if NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").is_ok()
                || NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").is_ok() =>
        {
            Err(format!("time `{text}` has no zone; write it with `Z` or `+08:00`"))
        }
        Err(_) => Err(format!("time `{text}` is neither RFC 3339 nor Unix milliseconds")),
    }
}

/// A local time of the national files, `yyyy-MM-dd HH:mm:ss` in UTC+8, strict.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_national(text: &str) -> Result<Micros, String> {
    if text.len() != 19 {
        return Err(format!("time `{text}` is not yyyy-MM-dd HH:mm:ss"));
    }
    let naive = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S")
        .map_err(|_| format!("time `{text}` is not yyyy-MM-dd HH:mm:ss"))?;
    let zone = FixedOffset::east_opt(8 * 3600).expect("UTC+8 is a valid offset");
    zone.from_local_datetime(&naive)
        .single()
        .map(|d| d.timestamp_micros())
        .ok_or_else(|| format!("time `{text}` does not exist"))
}

/// A zone as an offset from UTC, `Z`, `+08:00`, `-0330`, in seconds.
pub fn parse_zone(text: &str) -> Option<i32> {
    if text == "Z" {
        return Some(0);
    }
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let digits = rest.replace(':', "");
    if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let hours: i32 = digits[..2].parse().ok()?;
    let minutes: i32 = digits[2..].parse().ok()?;
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// A time as people of one zone write it: RFC 3339, or local as `2026-12-01 08:00`, with or without seconds or a `T`.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_local(text: &str, zone_offset_s: i32) -> Result<Micros, String> {
    let text = text.trim();
    if let Ok(d) = DateTime::parse_from_rfc3339(text) {
        return Ok(d.timestamp_micros());
    }
    let forms = ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"];
    let naive = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let utc = naive.map(|n| n.and_utc().timestamp_micros() - Micros::from(zone_offset_s) * SECOND);
    utc.ok_or_else(|| format!("time `{text}` is neither RFC 3339 nor local as `2026-12-01 08:00`"))
}

/// A time as people of one zone read it: `2026-12-01 08:00`.
pub fn show_local(t: Micros, zone_offset_s: i32) -> String {
    match DateTime::<Utc>::from_timestamp_micros(t.saturating_add(Micros::from(zone_offset_s) * SECOND)) {
        Some(d) => d.format("%Y-%m-%d %H:%M").to_string(),
        None => format!("invalid time {t}"),
    }
}

/// A duration as users write it: `500ms`, `60s`, `5min`, `2h`, `90d`, `2y`. In microseconds.
///
/// # Errors
/// A sentence naming the units.
pub fn parse_duration(text: &str) -> Result<Micros, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number
        .parse()
        .map_err(|_| format!("duration `{text}` does not start with a number; write for example \"60s\""))?;
    let scale = match unit.trim() {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "min" => 60e6,
        "h" => 3600e6,
        "d" => 86_400e6,
        "y" => 365.0 * 86_400e6,
        other => {
            return Err(format!("duration `{text}` has unit `{other}`; use one of ms, s, min, h, d, y"));
        }
    };
    let micros = number * scale;
    if micros.is_finite() && micros < 9e18 {
        Ok(micros.round() as Micros)
    } else {
        Err(format!("duration `{text}` is too long"))
    }
}

/// A duration as short as it can be said: `90d`, `5min`, `1.5s`, `20ms`.
pub fn show_duration(d: Micros) -> String {
    const UNITS: [(Micros, &str); 4] = [(DAY, "d"), (3600 * SECOND, "h"), (MINUTE, "min"), (SECOND, "s")];
    for (size, name) in UNITS {
        if d >= size && d % size == 0 {
            return format!("{}{name}", d / size);
        }
    }
    if d >= SECOND { format!("{}s", d as f64 / 1e6) } else { format!("{}ms", d as f64 / 1e3) }
}

/// A size as users write it: `512B`, `64KiB`, `256MiB`, `2GiB`, `256MB`. In bytes.
///
/// # Errors
/// A sentence naming the units.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number
        .parse()
        .map_err(|_| format!("size `{text}` does not start with a number; write for example \"2GiB\""))?;
    let scale: f64 = match unit.trim() {
        "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        "TiB" => 1024.0f64.powi(4),
        other => return Err(format!("size `{text}` has unit `{other}`; use one of B, KiB, MiB, GiB, TiB")),
    };
    Ok((number * scale).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_as_users_write_them() {
        assert_eq!(parse("2026-11-24T08:00:00Z").unwrap(), parse("2026-11-24T16:00:00+08:00").unwrap());
        assert_eq!(parse("1000").unwrap(), SECOND);
        assert!(parse("2026-11-24 08:00:00").unwrap_err().contains("no zone"));
        assert!(parse("yesterday").is_err());
        assert_eq!(rfc3339(parse_national("2026-09-23 10:13:19").unwrap()), "2026-09-23T02:13:19.000Z");
        assert!(parse_national("2026-9-23 10:13:19").is_err());
        let east = parse_zone("+08:00").unwrap();
        for same in ["2026-12-01 08:00", "2026-12-01T08:00:00", "2026-12-01T00:00:00Z"] {
            assert_eq!(show_local(parse_local(same, east).unwrap(), east), "2026-12-01 08:00", "{same}");
        }
        assert!(parse_local("1 December", east).is_err());
        assert_eq!((parse_zone("-0330"), parse_zone("Asia/Shanghai")), (Some(-12_600), None));
        assert_eq!(parse_duration("5min").unwrap(), 5 * MINUTE);
        assert_eq!(parse_duration("1.5s").unwrap(), 1_500_000);
        assert!(parse_duration("5 minutes").unwrap_err().contains("min"));
        assert_eq!(show_duration(parse_duration("90d").unwrap()), "90d");
        assert_eq!(show_duration(20_000), "20ms");
        assert_eq!(parse_size("2GiB").unwrap(), 2 << 30);
        assert!(parse_size("2").is_err());
    }
}
