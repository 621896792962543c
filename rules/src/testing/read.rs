//! Reads `[[test]]` tables.

use super::{Expect, RuleTest, START, Series, What};
use crate::series;
use model::catalog::{Limits, Place};
use model::problem::nearest;
use model::time::{DAY, Micros, SECOND};
use model::toml_file::{Section, TomlFile};
use model::{Catalog, Point, Problems, Site, To};
use std::sync::Arc;

/// Longest test.
pub(super) const END_MAX: Micros = 30 * DAY;
/// Most readings of a test, all its series together: 80 MB while it runs.
const READINGS_MAX: usize = 2_000_000;

/// The tests of a file, and the rules that they are about.
#[derive(Debug, Default)]
pub struct TestFile {
    /// Files and folders of rules, as written; `None` where the file does not say.
    pub rules: Option<Vec<String>>,
    /// Shipped packs.
    pub packs: Vec<String>,
    /// The tests.
    pub tests: Vec<RuleTest>,
    /// Whether the file holds rules too.
    pub has_rules: bool,
}

/// Reads the tests of a file; those with mistakes are left out and told. Rules in the file are not looked at.
pub fn read(file_name: &str, text: &str, problems: &mut Problems) -> TestFile {
    let file = TomlFile::parse(file_name, text);
    let root = file.root();
    let mut this = TestFile { has_rules: root.has("rule"), ..TestFile::default() };
    let words = |key| root.strs(key).map(|all| all.into_iter().map(|w| w.value.to_owned()).collect());
    this.rules = words("rules");
    this.packs = words("packs").unwrap_or_default();
    for section in root.tables("test") {
        let before = file.error_count();
        let test = read_test(&section);
        section.finish();
        if file.error_count() == before {
            this.tests.extend(test);
        }
    }
    root.finish();
    problems.extend(file.into_problems());
    this
}

fn read_test(s: &Section<'_>) -> Option<RuleTest> {
    let name = s.need_str("name", "\"alarm at exactly 1.0\"");
    let catalog = Arc::new(read_catalog(s));
    let (mut all, mut readings, mut end) = (Vec::new(), 0, START);
    for section in s.tables("series") {
        if let Some((series, steps)) = read_series(&section, &catalog) {
            // When the last one comes.
            let last = (steps as i64 - 1).max(0) * series.step;
            end = end.max(series.start + last + series.delay);
            readings += steps;
            all.push(series);
        }
        section.finish();
    }
    let mut people = Vec::new();
    for section in s.tables("people") {
        if let Some((series, steps)) = super::people::read(&section, &catalog) {
            end = end.max(series.last(steps));
            readings += steps * series.cards();
            people.push(series);
        }
        section.finish();
    }
    if readings > READINGS_MAX {
        s.error(
            format!("the test has {readings} readings, more than {READINGS_MAX}"),
            "use longer steps, or make several tests of it",
        );
    }
    let expect: Vec<Expect> = s
        .tables("expect")
        .into_iter()
        .filter_map(|e| {
            let expect = read_expect(&e, &catalog);
            e.finish();
            expect
        })
        .collect();
    let place = |at| {
        let (_, line, column) = s.file().place(at);
        (line, column)
    };
    let also = s.strs("rules").into_iter().flatten().map(|r| (r.value.to_owned(), place(r.at))).collect();
    for last in [s.duration("until").map(|d| START + d.value), expect.iter().map(|e| e.at).max()] {
        end = end.max(last.unwrap_or(START));
    }
    if end - START > END_MAX {
        s.error("the test is longer than 30 days", "use longer steps, or say `until`");
    }
    let (name, place) = (name?.value.to_owned(), s.file().place(s.at()));
    Some(RuleTest { name, place, catalog, series: all, people, expect, also, end })
}

/// The points of a test, at mines unless `sites` says otherwise.
fn read_catalog(s: &Section<'_>) -> Catalog {
    let mut sites: Vec<Site> = s.tables("sites").iter().filter_map(read_site).collect();
    let points = s.tables("points");
    if points.is_empty() {
        s.missing(
            "points",
            "[{ site = \"M1\", point = \"T1\", quantity = \"ch4\", unit = \"%\", place = \"T1\" }]",
        );
    }
    let points: Vec<(Point, usize)> = points.iter().filter_map(|p| Some((read_point(p)?, p.at()))).collect();
    for (point, _) in &points {
        if !sites.iter().any(|site| site.code == point.site) {
            sites.push(mine(&point.site));
        }
    }
    let mut found = Problems::default();
    let file: Arc<str> = s.file().place(0).0.into();
    let place = |at| Place { file: file.clone(), line: s.file().place(at).1 };
    let sites = sites.into_iter().map(|site| (site, place(s.at()))).collect();
    let points = points.into_iter().map(|(point, at)| (point, place(at))).collect();
    let catalog = Catalog::build(sites, points, 1, &mut found);
    for problem in found.0 {
        s.error(problem.message, problem.help);
    }
    catalog
}

fn mine(code: &str) -> Site {
    let (kind, state) = ("mine".to_owned(), "operating".to_owned());
    Site { code: code.to_owned(), kind, state, region: "000000".to_owned(), ..Site::default() }
}

fn read_site(s: &Section<'_>) -> Option<Site> {
    let text = |key| s.str(key).map(|t| t.value.to_owned());
    let code = s.need_str("site", "\"M1\"").map(|t| t.value.to_owned());
    let mut site = mine("");
    site.kind = s.one_of("kind", &["mine", "plant"]).map_or(site.kind, |k| k.value.to_owned());
    let states = ["operating", "idle", "maintenance", "starting"];
    site.state = s.one_of("state", &states).map_or(site.state, |k| k.value.to_owned());
    site.region = text("region").unwrap_or(site.region);
    site.gas_class = text("gas_class").unwrap_or_default();
    s.finish_ref();
    Some(Site { code: code?, ..site })
}

fn read_point(s: &Section<'_>) -> Option<Point> {
    let text = |key| s.str(key).map(|t| t.value.to_owned()).unwrap_or_default();
    let number = |key| s.f64(key).map(|n| n.value);
    let (site, code) = (s.need_str("site", "\"M1\""), s.need_str("point", "\"T1\""));
    let quantity = s.need_str("quantity", "\"ch4\"");
    let point = Point {
        name: text("name"),
        unit: text("unit"),
        low: number("low"),
        high: number("high"),
        place: text("place"),
        period: s.duration("period").map(|d| d.value),
        region: text("region"),
        hazard_level: text("hazard_level"),
        type_code: text("type_code"),
        value_type: text("value_type"),
        relations: text("relations"),
        labels: s
            .table("labels")
            .map_or_else(Vec::new, |l| l.rest_as_text().into_iter().map(|(k, v)| (k, v.value)).collect()),
        limits: Limits {
            alarm_on: number("alarm_on"),
            alarm_off: number("alarm_off"),
            cut_on: number("cut_on"),
            cut_off: number("cut_off"),
            low_alarm_on: number("low_alarm_on"),
            low_alarm_off: number("low_alarm_off"),
            low_cut_on: number("low_cut_on"),
            low_cut_off: number("low_cut_off"),
        },
        ..Point::default()
    };
    s.finish_ref();
    let (site, code) = (site?.value.to_owned(), code?.value.to_owned());
    Some(Point { site, code, quantity: quantity?.value.to_owned(), ..point })
}

/// Reads a series; gives the number of its steps too.
fn read_series(s: &Section<'_>, catalog: &Catalog) -> Option<(Series, usize)> {
    let (site, point) = (s.need_str("site", "\"M1\""), s.need_str("point", "\"T1\""));
    let step = s.duration("step").map_or(SECOND, |d| d.value);
    let start = s.duration("start").map_or(0, |d| d.value);
    let delay = s.duration("delay").map_or(0, |d| d.value);
    let values = s.need_str("values", "\"0.4x10 0.4..1.0/6 1.0x5\"")?;
    if step < 1000 {
        s.error("`step` is shorter than a millisecond", "write for example `step = \"1s\"`");
        return None;
    }
    let (site, point) = (site?, point?);
    let Some(ix) = catalog.find(site.value, point.value) else {
        let near = nearest(point.value, catalog.points().iter().map(|p| p.code.as_str()));
        let help = near.map_or("add it to `points`".to_owned(), |n| format!("did you mean `{n}`?"));
        let message = format!("point `{}` of site `{}` is not among `points`", point.value, site.value);
        s.file().error_at(point.at, message, help);
        return None;
    };
    let steps = match series::parse(values.value) {
        Ok(steps) => steps.len(),
        Err(wrong) => {
            // Behind the opening quote.
            s.file().error_at(values.at + 1 + wrong.at, wrong.message, "");
            return None;
        }
    };
    let long = (steps as i64).saturating_mul(step).saturating_add(start).saturating_add(delay);
    if long > END_MAX {
        s.error("the series is longer than 30 days", "use fewer or shorter steps");
        return None;
    }
    let (point, start, values) = (catalog.ids()[ix as usize], START + start, values.value.to_owned());
    Some((Series { point, start, step, delay, values }, steps))
}

fn read_expect(s: &Section<'_>, catalog: &Catalog) -> Option<Expect> {
    let at = s.duration("at").map(|d| START + d.value);
    if !s.has("at") {
        s.missing("at", "\"15s\"");
    }
    let (rule, level) = (s.need_str("rule", "\"ch4-face\""), s.need_str("level", "\"alarm\""));
    let text = |key| s.str(key).map(|t| t.value.to_owned());
    let (site, point) = (text("site"), text("point"));
    let known =
        |p: &Point| site.as_ref().is_none_or(|s| *s == p.site) && point.as_ref().is_none_or(|c| *c == p.code);
    if !catalog.points().iter().any(|p| known(p)) {
        s.error("no point of the test is that of `expect`", "look for a mistyped site or point");
    }
    let to = s.one_of("to", &["on", "off", "withdrawn"]).map(|w| match w.value {
        "on" => To::On,
        "off" => To::Off,
        _ => To::Withdrawn,
    });
    let is = s.one_of("is", &["on", "off"]).map(|w| w.value == "on");
    let value = s.f64("value").map(|v| v.value);
    let marks = s.strs("marks").map(|all| all.into_iter().map(|m| m.value.to_owned()).collect());
    let what = match (to, is) {
        (Some(to), None) => What::Becomes { to, value, marks },
        (None, Some(on)) => {
            if value.is_some() || marks.is_some() {
                s.error("`value` and `marks` belong to `to`", "`is` asks for the live level only");
                return None;
            }
            What::Is { on }
        }
        _ => {
            s.error(
                "`expect` needs either `to` or `is`",
                "`to = \"on\"`: it becomes so; `is = \"on\"`: it is so then",
            );
            return None;
        }
    };
    let (_, line, column) = s.file().place(s.at());
    let (rule, level) = (rule?.value.to_owned(), level?.value.to_owned());
    Some(Expect { at: at?, rule, level, site, point, what, place: (line, column) })
}
