//! Runs a test and says how what came differs from what was expected.

use super::{Expect, RuleTest, START, What, shown};
use crate::compile::{Program, Rule, RuleFile};
use crate::paced::Paced;
use crate::series::{self, Sample};
use crate::show;
use model::problem::nearest;
use model::{Micros, ReadingsBuilder, To, Transition};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// What came of a test.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Name of the test.
    pub name: String,
    /// Where it stands.
    pub place: (String, usize, usize),
    /// How it differs, for a person; empty: it passed.
    pub difference: String,
    /// All transitions, of rules not looked at too.
    pub transitions: Vec<Transition>,
}

/// Which levels were raised by some test.
#[derive(Clone, Default, Debug)]
pub struct Coverage(BTreeMap<(String, String), bool>);

impl Coverage {
    /// Levels that no test raised, as (rule, level).
    pub fn missed(&self) -> Vec<(&str, &str)> {
        self.0
            .iter()
            .filter(|(_, hit)| !**hit)
            .map(|((rule, level), _)| (rule.as_str(), level.as_str()))
            .collect()
    }

    /// All levels.
    pub fn levels(&self) -> usize {
        self.0.len()
    }
}

/// Runs a test against rules, and notes which levels it raised.
pub fn run(test: &RuleTest, rules: &[RuleFile], coverage: &mut Coverage) -> Outcome {
    let (program, problems) = Program::compile(rules, &test.catalog);
    let outcome = |difference, transitions| Outcome {
        name: test.name.clone(),
        place: test.place.clone(),
        difference,
        transitions,
    };
    if problems.errors() > 0 {
        return outcome(format!("the rules do not fit the points of the test:\n{problems}"), Vec::new());
    }
    for rule in program.bound_rules() {
        for level in &rule.levels {
            coverage.0.entry((rule.name.clone(), level.name.clone())).or_default();
        }
    }
    let mut out = Vec::new();
    let mut paced = Paced::new(program.clone(), test.catalog.clone(), "test");
    paced.pass(START, &mut out);
    let mut people = super::people::records(&test.people).into_iter().peekable();
    for group in arrivals(test).chunk_by(|a, b| a.came == b.came) {
        while let Some((came, positions)) = people.next_if(|(came, _)| *came < group[0].came) {
            paced.positions(came, &positions, &mut out);
        }
        let mut rows = ReadingsBuilder::default();
        for Arrival { came, series, sample } in group {
            let (series, value) = (&test.series[*series as usize], sample.value.unwrap_or(f64::NAN));
            rows.push(series.point, came - series.delay, value, sample.status);
        }
        paced.readings(group[0].came, &rows.finish(), &mut out);
    }
    people.for_each(|(came, positions)| paced.positions(came, &positions, &mut out));
    paced.pass(test.end, &mut out);
    for t in out.iter().filter(|t| t.to == To::On) {
        coverage.0.insert((t.rule.clone(), t.level.clone()), true);
    }
    outcome(difference(test, &program, &out), out)
}

/// A reading of a test, when it comes.
struct Arrival {
    came: Micros,
    /// Place among the series of the test.
    series: u32,
    sample: Sample,
}

/// The readings of a test in the order in which they come; at one time in the order of the series.
fn arrivals(test: &RuleTest) -> Vec<Arrival> {
    let mut all = Vec::new();
    for (number, series) in (0..).zip(&test.series) {
        // It was read without a mistake before.
        let steps = series::parse(&series.values).unwrap_or_default();
        let came = |i: i64| series.start + i * series.step + series.delay;
        let sent = (0..).zip(steps).filter_map(|(i, sample)| Some((i, sample?)));
        all.extend(sent.map(|(i, sample)| Arrival { came: came(i), series: number, sample }));
    }
    all.sort_by_key(|a| a.came);
    all
}

fn difference(test: &RuleTest, program: &Program, came: &[Transition]) -> String {
    let mut text = String::new();
    for expect in &test.expect {
        unknown(expect, program, &mut text);
    }
    for (rule, place) in &test.also {
        bound(rule, *place, program, &mut text);
    }
    let named: BTreeSet<&str> = test
        .expect
        .iter()
        .filter(|e| matches!(e.what, What::Becomes { .. }))
        .map(|e| e.rule.as_str())
        .chain(test.also.iter().map(|(name, _)| name.as_str()))
        .collect();
    // Where nothing says which rules it is about, it is about all.
    let all = named.is_empty() && test.expect.is_empty();
    let looked_at: Vec<&Transition> =
        came.iter().filter(|t| all || named.contains(t.rule.as_str())).collect();
    let mut used = vec![false; looked_at.len()];
    let mut lines: Vec<(Micros, char, String)> = Vec::new();
    for expect in &test.expect {
        let What::Becomes { to, .. } = &expect.what else { continue };
        let found = (0..looked_at.len()).find(|i| !used[*i] && matches(expect, looked_at[*i]));
        match found {
            Some(i) => used[i] = true,
            None => lines.push((expect.at, '-', expected_line(expect, *to))),
        }
    }
    let remarks = remarks(&looked_at);
    for ((t, used), remark) in looked_at.iter().zip(&used).zip(remarks) {
        let sign = match (used, remark) {
            (true, _) => '=',
            (false, true) => ' ',
            (false, false) => '+',
        };
        lines.push((t.time, sign, line(t)));
    }
    if lines.iter().any(|(_, sign, _)| matches!(sign, '+' | '-')) {
        lines.sort_by_key(|a| (a.0, a.1));
        text += "  = came as expected   - expected, did not come   + came, not expected\n";
        for (at, sign, line) in lines {
            let _ = writeln!(text, "  {sign} {:>8}  {line}", shown(at));
        }
    }
    for expect in &test.expect {
        states(expect, test, came, &mut text);
    }
    text
}

/// Which steps leave the level on: a mark of it comes or goes (calibrating). They may be expected and need not be.
fn remarks(came: &[&Transition]) -> Vec<bool> {
    let mut on = BTreeSet::new();
    let remark = |t: &&Transition| {
        // Nothing ends what was found late: each is an alarm of its own.
        if t.marks.late {
            return false;
        }
        let key = (t.rule.clone(), t.level.clone(), t.point_id, t.marks.simulated);
        if t.to == To::On {
            return !on.insert(key);
        }
        on.remove(&key);
        false
    };
    came.iter().map(remark).collect()
}

/// The rule of a name; one that is not there is a mistake in the test.
fn bound<'a>(
    name: &str,
    (line, column): (usize, usize),
    program: &'a Program,
    text: &mut String,
) -> Option<&'a Rule> {
    let rules = program.bound_rules();
    let found = rules.iter().find(|r| r.name == name);
    if found.is_none() {
        let near = nearest(name, rules.iter().map(|r| r.name.as_str()));
        let help = near.map(|n| format!(", did you mean `{n}`?")).unwrap_or_default();
        let _ = writeln!(text, "  {line}:{column}: there is no rule `{name}`{help}");
    }
    found
}

/// A rule or level that is not there is a mistake in the test.
fn unknown(expect: &Expect, program: &Program, text: &mut String) {
    let (line, column) = expect.place;
    let Some(rule) = bound(&expect.rule, expect.place, program, text) else { return };
    if !rule.levels.iter().any(|l| l.name == expect.level) {
        let names: Vec<&str> = rule.levels.iter().map(|l| l.name.as_str()).collect();
        let (rule, level) = (&expect.rule, &expect.level);
        let _ = writeln!(
            text,
            "  {line}:{column}: rule `{rule}` has no level `{level}`, it has {}",
            names.join(", ")
        );
    }
}

fn is_of(expect: &Expect, t: &Transition) -> bool {
    (&t.rule, &t.level) == (&expect.rule, &expect.level)
        && expect.site.as_ref().is_none_or(|s| *s == t.site)
        && expect.point.as_ref().is_none_or(|p| *p == t.point)
}

fn matches(expect: &Expect, t: &Transition) -> bool {
    let What::Becomes { to, value, marks } = &expect.what else { return false };
    // A person writes 0.02, the rule computed 0.020000000000000004.
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(1.0);
    is_of(expect, t)
        && t.time == expect.at
        && t.to == *to
        && value.is_none_or(|v| t.value.is_some_and(|is| near(is, v)))
        && match marks {
            Some(marks) => same_words(marks, &show::marks(t)),
            // What is not said to be found late, or of a drill, is neither.
            None => is_live(t),
        }
}

fn is_live(t: &Transition) -> bool {
    !t.marks.late && !t.marks.simulated
}

fn same_words(a: &[String], b: &[&str]) -> bool {
    a.iter().map(String::as_str).collect::<BTreeSet<_>>() == b.iter().copied().collect()
}

fn line(t: &Transition) -> String {
    let value = t.value.map(|v| format!(" value {v}")).unwrap_or_default();
    let marks = show::marks(t);
    let marks = if marks.is_empty() { String::new() } else { format!(" [{}]", marks.join(", ")) };
    format!("{} {}  {} {} {}{value}{marks}  ({})", t.site, t.point, t.rule, t.level, t.to.as_str(), t.reason)
}

fn expected_line(e: &Expect, to: To) -> String {
    let What::Becomes { value, marks, .. } = &e.what else { return String::new() };
    let value = value.map(|v| format!(" value {v}")).unwrap_or_default();
    let marks = marks.as_ref().map(|m| format!(" [{}]", m.join(", "))).unwrap_or_default();
    let any = || "*".to_owned();
    let (site, point) = (e.site.clone().unwrap_or_else(any), e.point.clone().unwrap_or_else(any));
    format!("{site} {point}  {} {} {}{value}{marks}", e.rule, e.level, to.as_str())
}

fn states(e: &Expect, test: &RuleTest, came: &[Transition], text: &mut String) {
    let What::Is { on } = e.what else { return };
    let fits = |site: &str, point: &str| {
        e.site.as_ref().is_none_or(|s| s == site) && e.point.as_ref().is_none_or(|p| p == point)
    };
    for point in test.catalog.points().iter().filter(|p| fits(&p.site, &p.code)) {
        let of_point = |t: &&Transition| t.site == point.site && t.point == point.code && is_live(t);
        // What came late was decided when it came, whatever its event time.
        let last = came.iter().filter(|t| is_of(e, t) && t.decided <= e.at).rfind(of_point);
        let is = last.is_some_and(|t| t.to == To::On);
        if is != on {
            let word = |on| if on { "on" } else { "off" };
            let since = last.map(|t| format!(" since {}", shown(t.time))).unwrap_or_default();
            let (site, code) = (&point.site, &point.code);
            let _ = writeln!(
                text,
                "  ! {:>8}  {site} {code}  {} {} is {}{since}, expected {}",
                shown(e.at),
                e.rule,
                e.level,
                word(is),
                word(on)
            );
        }
    }
}
