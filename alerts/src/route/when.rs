//! Times of the week at which a route holds: windows of the local day and weekdays, in one zone with a fixed offset from UTC, so that
//! no local time comes twice or never.
//!
//! A window holds from its begin up to but without its end. One that ends at or before its begin crosses midnight, and belongs to the day
//! on which it begins: `fri` with `20:00-08:00` is the night from Friday to Saturday.

use model::Micros;
use model::time::{DAY, MINUTE, SECOND};
use model::toml_file::Section;

/// Minutes of a day.
pub(super) const DAY_MINUTES: u16 = 1440;
/// Weekdays as written, Monday first.
pub(super) const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const ALL_DAYS: u8 = 0x7f;

/// A minute of the local week.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Moment {
    /// 0 is Monday.
    pub day: usize,
    /// Minute of the day.
    pub minute: u16,
}

impl Moment {
    /// Of a time in a zone.
    pub fn of(at: Micros, zone_offset_s: i32) -> Self {
        let local = at.saturating_add(Micros::from(zone_offset_s) * SECOND);
        // 1970-01-01 was a Thursday.
        let day = (local.div_euclid(DAY) + 3).rem_euclid(7) as usize;
        Self { day, minute: (local.rem_euclid(DAY) / MINUTE) as u16 }
    }

    fn day_before(self) -> usize {
        (self.day + 6) % 7
    }
}

/// When a route holds; always where neither is given.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct When {
    /// Begin and end in minutes of the day; the end up to 24:00.
    windows: Vec<(u16, u16)>,
    /// A bit a day, Monday the lowest.
    days: Option<u8>,
}

impl When {
    /// Reads `time` and `weekdays`.
    pub fn read(s: &Section<'_>) -> Self {
        let mut this = Self::default();
        let windows = s.strs("time");
        if windows.as_ref().is_some_and(Vec::is_empty) {
            no_value(s, "time");
        }
        for window in windows.unwrap_or_default() {
            match parse_window(window.value) {
                Some(w) => this.windows.push(w),
                None => s.file().error_at(
                    window.at,
                    format!("`{}` is no window of the day", window.value),
                    "write \"08:00-20:00\"; \"20:00-08:00\" crosses midnight, \"00:00-24:00\" is the whole day",
                ),
            }
        }
        let Some(words) = s.strs("weekdays") else { return this };
        if words.is_empty() {
            no_value(s, "weekdays");
        }
        let mut days = 0;
        for word in words {
            match parse_days(word.value) {
                Some(more) => days |= more,
                None => s.file().error_at(
                    word.at,
                    format!("`{}` is no weekday", word.value),
                    format!("one of {}, or a range as \"mon-fri\"", DAYS.join(", ")),
                ),
            }
        }
        this.days = Some(days);
        this
    }

    pub fn holds(&self, at: Moment) -> bool {
        let on = |day: usize| self.days.is_none_or(|days| days & (1 << day) != 0);
        if self.windows.is_empty() {
            return on(at.day);
        }
        self.windows.iter().any(|&(from, to)| match from < to {
            true => (from..to).contains(&at.minute) && on(at.day),
            false => at.minute >= from && on(at.day) || at.minute < to && on(at.day_before()),
        })
    }

    pub fn is_always(&self) -> bool {
        self.windows.is_empty() && self.days.is_none_or(|d| d == ALL_DAYS)
    }

    /// Whether it holds whenever the other does.
    pub fn covers(&self, other: &Self) -> bool {
        self.is_always() || {
            let mut edges = self.edges();
            edges.extend(other.edges());
            moments(edges).into_iter().all(|(at, _)| !other.holds(at) || self.holds(at))
        }
    }

    /// Minutes of the day at which it may change.
    pub fn edges(&self) -> Vec<u16> {
        self.windows.iter().flat_map(|w| [w.0, w.1]).collect()
    }

    /// As it was written.
    pub fn text(&self) -> Vec<String> {
        let mut out = Vec::new();
        if !self.windows.is_empty() {
            let windows: Vec<String> = self.windows.iter().map(|w| span(*w)).collect();
            out.push(format!("time {}", windows.join(" or ")));
        }
        if let Some(days) = self.days {
            out.push(format!("weekdays {}", show_days(days)));
        }
        out
    }
}

/// The pieces of a week between edges: where each begins, and the minute of its day at which it ends.
pub(super) fn moments(mut edges: Vec<u16>) -> Vec<(Moment, u16)> {
    edges.extend([0, DAY_MINUTES]);
    edges.sort_unstable();
    edges.dedup();
    let of_day =
        |day| edges.windows(2).map(move |w| (Moment { day, minute: w[0] }, w[1])).collect::<Vec<_>>();
    (0..DAYS.len()).flat_map(of_day).collect()
}

/// `08:00-20:00`.
pub(super) fn span((from, to): (u16, u16)) -> String {
    format!("{}-{}", clock(from), clock(to))
}

/// `08:00`.
pub(super) fn clock(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

/// `mon-fri, sun`.
pub(super) fn show_days(days: u8) -> String {
    let on = |d: usize| d < DAYS.len() && days & (1 << d) != 0;
    let mut out = Vec::new();
    let mut first = 0;
    for (d, day) in DAYS.iter().enumerate() {
        if on(d) && (d == 0 || !on(d - 1)) {
            first = d;
        }
        if on(d) && !on(d + 1) {
            out.push(if first == d { (*day).to_owned() } else { format!("{}-{day}", DAYS[first]) });
        }
    }
    out.join(", ")
}

fn parse_window(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-')?;
    let (from, to) = (parse_clock(from)?, parse_clock(to)?);
    // The same twice could be all day or never.
    (from < DAY_MINUTES && from != to).then_some((from, to))
}

fn parse_clock(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':')?;
    let number =
        |t: &str| (t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit())).then(|| t.parse::<u16>().ok())?;
    let (hour, minute) = (number(hour)?, number(minute)?);
    let at = hour * 60 + minute;
    (minute < 60 && at <= DAY_MINUTES).then_some(at)
}

fn parse_days(text: &str) -> Option<u8> {
    let number = |word: &str| DAYS.iter().position(|d| *d == word.trim());
    let Some((from, to)) = text.split_once('-') else { return number(text).map(|d| 1 << d) };
    let (from, to) = (number(from)?, number(to)?);
    // `fri-mon` goes round the end of the week.
    let days = (from..from + (to + 7 - from) % 7 + 1).map(|d| 1 << (d % 7));
    Some(days.fold(0, |all, day| all | day))
}

/// Tells of a list of which no value can be met.
pub(super) fn no_value(s: &Section<'_>, key: &'static str) {
    let at = s.at_value(key).unwrap_or_else(|| s.at());
    s.file().error_at(at, format!("`{key}` is an empty list, which nothing meets"), "leave the key out");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn when(windows: &str, days: &str) -> When {
        let days = (!days.is_empty()).then(|| parse_days(days).unwrap());
        When { windows: vec![parse_window(windows).unwrap()], days }
    }

    fn at(day: usize, text: &str) -> Moment {
        Moment { day, minute: parse_clock(text).unwrap() }
    }

    #[test]
    fn windows_hold_at_their_begin_and_not_at_their_end() {
        let day = when("08:00-20:00", "");
        let night = when("20:00-08:00", "fri");
        for (text, by_day) in
            [("07:59", false), ("08:00", true), ("19:59", true), ("20:00", false), ("00:00", false)]
        {
            assert_eq!(day.holds(at(2, text)), by_day, "{text}");
        }
        for (weekday, text, holds) in [
            (4, "19:59", false),
            (4, "20:00", true),
            (4, "23:59", true),
            (5, "00:00", true),
            (5, "07:59", true),
            (5, "08:00", false),
            (5, "20:00", false),
            (4, "03:00", false),
        ] {
            assert_eq!(night.holds(at(weekday, text)), holds, "{} {text}", DAYS[weekday]);
        }
        assert!(when("00:00-24:00", "").holds(at(6, "23:59")));
        assert!(
            when("20:00-24:00", "sun").holds(at(6, "23:59"))
                && !when("20:00-24:00", "sun").holds(at(0, "00:00"))
        );
        // Sunday's night reaches into Monday.
        assert!(when("22:00-06:00", "sun").holds(at(0, "05:59")));
    }

    #[test]
    fn a_time_is_taken_in_the_zone() {
        let east = 8 * 3600;
        let moment = |text: &str| Moment::of(model::time::parse(text).unwrap(), east);
        // 2026-12-01 is a Tuesday.
        assert_eq!(moment("2026-11-30T15:59:59.999Z"), at(0, "23:59"));
        assert_eq!(moment("2026-11-30T16:00:00Z"), at(1, "00:00"));
        assert_eq!(moment("2026-12-01T12:00:00Z"), at(1, "20:00"));
    }

    #[test]
    fn what_is_written_is_read_and_what_is_none_is_not() {
        assert_eq!(show_days(parse_days("mon-fri").unwrap()), "mon-fri");
        assert_eq!(show_days(parse_days("sat-mon").unwrap()), "mon, sat-sun");
        assert_eq!(when("08:00-20:00", "sun").text(), ["time 08:00-20:00", "weekdays sun"]);
        for wrong in
            ["8-20", "08:00", "24:00-08:00", "08:60-09:00", "08:00-08:00", "00:00-00:00", "8:00-9:00"]
        {
            assert_eq!(parse_window(wrong), None, "{wrong}");
        }
        assert!(parse_days("mond").is_none() && parse_days("mon-").is_none());
        assert!(when("08:00-20:00", "").covers(&when("09:00-20:00", "mon")));
        assert!(!when("08:00-20:00", "").covers(&when("20:00-08:00", "")));
        assert!(!when("08:00-20:00", "mon-fri").covers(&when("08:00-20:00", "")));
    }
}
