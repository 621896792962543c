//! What several kinds need and none owns: which readings may be remembered, decimal differences, limits with their release, levels
//! with or without a list, state as words of eight bytes.

use super::Binding;
use crate::compare::{Compare, Op, parse};
use crate::level::{LevelDef, Name, read_level};
use crate::reading::{PERIOD, Reading, Verdict, range};
use model::time::{DAY, Micros};
use model::toml_file::Section;
use model::{Point, status};

/// Longest window, plateau or gap of a rule: longer than any shift pattern, short enough that no sum of times overflows.
const SPAN_MAX: Micros = 366 * DAY;

/// Periods between two readings that are still neighbours, unless said otherwise.
const GAP_PERIODS: i64 = 3;

/// Whether a reading may clear: it is good, and not known to be old when it was sent.
pub(super) fn may_clear(r: &Reading) -> bool {
    status::is_good(r.status) && r.status & status::STALE == 0
}

/// The value of a reading that kinds with a memory may remember: one that may clear, a finite number, newer than all before it.
pub(super) fn next_good(r: &Reading) -> Option<f64> {
    (r.newer && !r.late && may_clear(r) && r.value.is_finite()).then_some(r.value)
}

/// A computed number as its decimals say it: 0.3 - 0.2 is 0.1, so that a limit of 0.1 means what it says. Nine decimals.
pub(crate) fn decimal(computed: f64) -> f64 {
    const SCALE: f64 = 1e9;
    let scaled = computed * SCALE;
    if scaled.is_finite() { scaled.round() / SCALE } else { computed }
}

/// Any value: what a kind is calm at that does not look at it.
pub(super) const ANY: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

/// The values at which both are calm.
pub(crate) fn both_calm(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    (a.0.max(b.0), a.1.min(b.1))
}

/// A limit and its release.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Rung {
    pub on: Compare,
    pub off: Compare,
}

impl Rung {
    /// Both in another unit.
    pub fn converted(self, by: (f64, f64)) -> Self {
        Self { on: self.on.converted(by), off: self.off.converted(by) }
    }

    /// The stricter of each side, and whether the limit is the other's. Both look the same way. At the same limit the inclusive one is
    /// the stricter; the stricter release keeps the level on longer.
    pub fn stricter(self, other: Self) -> (Self, bool) {
        let others = !self.on.covers(other.on);
        let on = if others { other.on } else { self.on };
        let off = if self.off.covers(other.off) { other.off } else { self.off };
        (Self { on, off }, others)
    }

    /// What a good number means.
    pub fn verdict(self, value: f64) -> Verdict {
        if self.on.holds(value) {
            Verdict::Over
        } else if self.off.holds(value) {
            Verdict::Below
        } else {
            Verdict::Band
        }
    }

    /// `>= 1 %` or its release.
    pub fn show(self, on: bool, unit: &str) -> String {
        let shown = if on { self.on } else { self.off }.show();
        if unit.is_empty() { shown } else { format!("{shown} {unit}") }
    }
}

/// Whether a release stands on the wrong side of its limit.
pub(super) fn wrong_side(Rung { on, off }: Rung) -> bool {
    on.is_up() == off.is_up() || (if on.is_up() { off.limit > on.limit } else { off.limit < on.limit })
}

/// Reads `on` and `off` of a section.
pub(super) fn read_rung(s: &Section<'_>, example: &str) -> Option<Rung> {
    let at = s.need_str("on", example)?.at;
    let on = read_compare(s, "on", example)?;
    let off = if s.has("off") { read_compare(s, "off", example)? } else { on.opposite() };
    if wrong_side(Rung { on, off }) {
        let message = format!("`off = \"{}\"` is on the wrong side of `on = \"{}\"`", off.show(), on.show());
        s.file().error_at(at, message, "what rises at a limit ends below it, what falls above it");
        return None;
    }
    Some(Rung { on, off })
}

/// Reads a comparison without a time.
pub(super) fn read_compare(s: &Section<'_>, key: &'static str, example: &str) -> Option<Compare> {
    let text = s.need_str(key, example)?;
    let help = format!("write for example `{key} = {example}`");
    match parse(text.value) {
        Ok((compare, None)) => Some(compare),
        Ok(_) => {
            s.file().error_at(text.at, format!("`{}` is a rate", text.value), help);
            None
        }
        Err(message) => {
            s.file().error_at(text.at, message, help);
            None
        }
    }
}

/// A limit of the catalog with its release, by default where the limit no longer holds; `None` where they are not sane: outside (low
/// range, high range], or the release on the wrong side.
pub(super) fn catalog_rung(point: &Point, on: f64, off: Option<f64>, is_up: bool) -> Option<Rung> {
    let (on_op, off_op) = if is_up { (Op::Ge, Op::Lt) } else { (Op::Le, Op::Gt) };
    let rung =
        Rung { on: Compare { op: on_op, limit: on }, off: Compare { op: off_op, limit: off.unwrap_or(on) } };
    let (low, high) = range(point);
    (on > low && on <= high && !wrong_side(rung)).then_some(rung)
}

/// The limit of the catalog for the mine's bit alarm or cut, upwards or downwards; `None` where there is none, or it is not sane: the
/// limit rule of the point tells of that.
pub(super) fn rung_of_bit(point: &Point, is_cut: bool, is_up: bool) -> Option<Rung> {
    let l = &point.limits;
    let (on, off) = match (is_cut, is_up) {
        (false, true) => (l.alarm_on, l.alarm_off),
        (true, true) => (l.cut_on, l.cut_off),
        (false, false) => (l.low_alarm_on, l.low_alarm_off),
        (true, false) => (l.low_cut_on, l.low_cut_off),
    };
    catalog_rung(point, on?, off, is_up)
}

/// Columns of the catalog that a limit may come from.
const COLUMNS: [&str; 4] = ["alarm_on", "cut_on", "low_alarm_on", "low_cut_on"];

/// A limit of the rule, or of the point.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Limit {
    Said(Compare),
    /// Of the point, by the place in [`COLUMNS`].
    Column(usize),
}

impl Limit {
    /// Reads a comparison, or the name of a column.
    pub fn read(s: &Section<'_>, key: &'static str, example: &str) -> Option<Self> {
        let text = s.need_str(key, example)?;
        match COLUMNS.iter().position(|column| *column == text.value) {
            Some(column) => Some(Self::Column(column)),
            None => read_compare(s, key, example).map(Self::Said),
        }
    }

    /// The limit at a point, in its unit, and where it comes from; `None` where there is none.
    pub fn of(self, ix: u32, b: &mut Binding<'_>) -> Option<(Compare, &'static str)> {
        let column = match self {
            Self::Said(compare) => return Some((compare.converted(b.conversion(ix)?), "rule")),
            Self::Column(column) => column,
        };
        let point = b.catalog.point(ix);
        let l = &point.limits;
        let limit = [l.alarm_on, l.cut_on, l.low_alarm_on, l.low_cut_on][column]?;
        if let Some(rung) = catalog_rung(point, limit, None, column < 2) {
            return Some((rung.on, "catalog"));
        }
        let message = format!(
            "rule `{}`: `{}` {limit} of point `{}` of site `{}` is refused, the point is not judged",
            b.rule, COLUMNS[column], point.code, point.site
        );
        b.warning(message, "a limit lies within the range");
        None
    }
}

/// Reads the levels: a list, or the rule itself as its one level. `Ok(None)` inside is a level with a mistake.
pub(super) fn read_levels<T>(
    s: &Section<'_>,
    name: &'static str,
    read: impl Fn(&Section<'_>) -> Option<T>,
) -> Option<(Vec<LevelDef>, Vec<T>)> {
    let sections = s.tables("level");
    if sections.is_empty() {
        let (own, level) = (read(s), read_level(s, Name::Is(name), 0));
        return Some((vec![level?], vec![own?]));
    }
    let mut read_all = Vec::new();
    for (rank, section) in sections.iter().enumerate() {
        let name = if sections.len() == 1 { Name::Default(name) } else { Name::Needed };
        let (level, own) = (read_level(section, name, rank), read(section));
        section.finish_ref();
        read_all.push(level.zip(own));
    }
    let (levels, own) = read_all.into_iter().collect::<Option<Vec<_>>>()?.into_iter().unzip();
    Some((levels, own))
}

/// Reads a duration above zero and not absurdly long; `Err` where it is wrong and told.
pub(super) fn read_span(s: &Section<'_>, key: &'static str) -> Result<Option<Micros>, ()> {
    read_time(s, key, 1)
}

/// Reads a duration of at least `least`, 0 or 1, and not absurdly long; `Err` where it is wrong and told.
pub(super) fn read_time(s: &Section<'_>, key: &'static str, least: Micros) -> Result<Option<Micros>, ()> {
    if !s.has(key) {
        return Ok(None);
    }
    let span = s.duration(key).ok_or(())?;
    let wrong = match span.value {
        value if value < least => "is not above zero",
        SPAN_MAX.. => "is a year or longer",
        value => return Ok(Some(value)),
    };
    s.file().error_at(span.at, format!("`{key}` {wrong}"), "write for example \"5min\"");
    Err(())
}

/// Reads a number that is not below zero.
pub(super) fn read_positive(s: &Section<'_>, key: &'static str) -> Result<Option<f64>, ()> {
    if !s.has(key) {
        return Ok(None);
    }
    let number = s.f64(key).ok_or(())?;
    if number.value < 0.0 {
        s.file().error_at(number.at, format!("`{key}` is below zero"), "");
        return Err(());
    }
    Ok(Some(number.value))
}

/// Refuses `unit` where a rule has nothing that has one.
pub(super) fn refuse_unit(s: &Section<'_>, why: &str) {
    if let Some(unit) = s.str("unit") {
        s.file().error_at(unit.at, format!("`unit` has no meaning here: {why}"), "leave it out");
    }
}

/// The longest time between two readings of a point that are neighbours.
pub(super) fn gap_of(said: Option<Micros>, point: &Point) -> Micros {
    said.unwrap_or_else(|| point.period.unwrap_or(PERIOD).saturating_mul(GAP_PERIODS))
}

/// What buckets or memory were made for; those of another shape are of no use after a change. The limits are not in it: new ones
/// count from the next reading.
pub(super) fn shape(said: &str, unit: &str) -> u64 {
    let hash = blake3::hash(format!("{said}\n{unit}").as_bytes());
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight bytes"))
}

/// Writes words of a snapshot.
pub(super) fn save(words: impl IntoIterator<Item = u64>, out: &mut Vec<u8>) {
    words.into_iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
}

/// What [`save`] wrote; `None` where it is not whole words.
pub(super) fn words(bytes: &[u8]) -> Option<Vec<u64>> {
    let (words, []) = bytes.as_chunks::<8>() else { return None };
    Some(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_what_their_decimals_say() {
        assert!(0.3 - 0.2 < 0.1 && decimal(0.3 - 0.2) == 0.1);
        assert!(0.31 - 0.3 > 0.01 && decimal(0.31 - 0.3) == 0.01);
        assert_eq!(decimal(1e300), 1e300);
        assert!(decimal(f64::INFINITY).is_infinite() && decimal(f64::NAN).is_nan());
        assert_eq!(decimal(123_456_789.25), 123_456_789.25);
    }
}
