//! `relation`: a condition at a point while conditions at related points hold: over the cut level and the feed of its area still on,
//! the fan stopped and methane rising, the local fan stopped and people in the heading.
//!
//! Related points come from the catalog: by place, by a label, or by what the national format relates. One condition that is known not
//! to hold ends it; one that is unknown neither raises nor clears.

use super::group::{By, Groups, MEMBERS_MAX, all_of, any_of, by_key, is_too_large, related};
use super::shared::{read_levels, refuse_unit};
use super::term::{Term, TermMachines, Terms};
use super::{Binding, Bound, Heard, Machine, Read, Spec};
use crate::reading::{Reading, Verdict};
use crate::select::Select;
use model::time::Micros;
use model::toml_file::Section;
use std::borrow::Cow;
use std::sync::Arc;

/// How many of the related points must hold.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Need {
    Any,
    All,
}

impl Need {
    fn word(self) -> &'static str {
        if self == Self::Any { "any" } else { "all" }
    }
}

/// A condition at related points.
#[derive(Clone, Debug)]
pub(super) struct With {
    by: By,
    select: Option<Select>,
    need: Need,
    term: Term,
}

#[derive(Clone, Debug)]
struct RelationSpec {
    when: Term,
    with: Vec<With>,
}

/// Reads `when`, and `with` once or more.
pub fn read(s: &Section<'_>) -> Option<Read> {
    refuse_unit(s, "each condition has its own");
    let when = read_when(s, "when");
    let sections = s.tables("with");
    if sections.is_empty() {
        s.missing(
            "with",
            "[{ by = \"label:heading\", select = { quantity = \"feed\" }, kind = \"state\", danger = 1 }]",
        );
    }
    let with: Vec<Option<With>> = sections.iter().map(With::read).collect();
    let (levels, _) = read_levels(s, "relation", |_| Some(()))?;
    let with = with.into_iter().collect::<Option<Vec<_>>>().filter(|w| !w.is_empty())?;
    Some((levels, Arc::new(RelationSpec { when: when?, with })))
}

/// Reads the condition of the own point.
pub(super) fn read_when(s: &Section<'_>, key: &'static str) -> Option<Term> {
    let Some(section) = s.table(key) else {
        s.missing(
            key,
            "{ kind = \"limit\", level = [{ name = \"cut\", on = \">= 1.5\", off = \"< 1.0\" }] }",
        );
        return None;
    };
    let term = Term::read(&section);
    section.finish();
    term
}

impl With {
    /// The condition itself.
    pub fn term(&self) -> &Term {
        &self.term
    }

    /// Reads a condition with the points it is for.
    pub fn read(s: &Section<'_>) -> Option<Self> {
        let by = By::read(s, true);
        let need = s.one_of("need", &["any", "all"]).map_or(Need::Any, |n| match n.value {
            "all" => Need::All,
            _ => Need::Any,
        });
        // What the catalog relates is enough to find it.
        let is_related = matches!(by, Some(By::Relation(_)));
        let select = if s.has("select") || !is_related { Some(Select::read(s)) } else { None };
        let term = Term::read(s);
        s.finish_ref();
        Some(Self { by: by?, select, need, term: term? })
    }
}

/// Groups of an own point and those that `with` relates to it, a condition each; own points without any are told and left out.
pub(super) fn groups(with: &[With], points: &[u32], b: &mut Binding<'_>) -> Groups {
    let catalog = b.catalog;
    let selects = |w: &With, ix| w.select.as_ref().is_none_or(|s| s.selects(catalog, ix));
    let every = 0..catalog.points().len() as u32;
    let keyed = with.iter().map(|w| by_key(&w.by, catalog, every.clone().filter(|ix| selects(w, *ix))));
    let keyed: Vec<_> = keyed.collect();
    // What every group of many is told for is not looked for in all of them.
    const LARGE_MAX: usize = 10;
    let (mut all, mut large) = (Vec::new(), 0);
    for &own in points {
        if large == LARGE_MAX {
            break;
        }
        let mut group = vec![(own, 0)];
        let mut is_whole = true;
        for (i, (w, keyed)) in with.iter().zip(&keyed).enumerate() {
            let found = match &w.by {
                By::Relation(letters) => Cow::from(named(own, letters, b)),
                by => Cow::from(by.key(catalog, own).and_then(|key| keyed.get(&key)).map_or(&[][..], |k| k)),
            };
            let before = group.len();
            let others = found.iter().filter(|ix| **ix != own && selects(w, **ix));
            // One more than fits is enough to refuse it: a label that half a province shares must not cost its square.
            group.extend(others.map(|ix| (*ix, i + 1)).take(MEMBERS_MAX + 1));
            is_whole &= group.len() > before;
        }
        if is_too_large(own, group.len(), b) {
            large += 1;
        } else if is_whole {
            all.push(group);
        } else if !b.place.0.starts_with("pack:") {
            let point = catalog.point(own);
            let message = format!(
                "rule `{}`: nothing is related to point `{}` of site `{}`, which is not judged",
                b.rule, point.code, point.site
            );
            b.warning(message, "give both the label or the relation, or select fewer points");
        }
    }
    Groups::new(all, 1 + with.len(), catalog)
}

/// The points that the catalog relates to a point.
fn named(own: u32, letters: &str, b: &mut Binding<'_>) -> Vec<u32> {
    let point = b.catalog.point(own);
    let catalog = b.catalog;
    let (found, unknown) = related(&point.relations, letters, |code| catalog.find(&point.site, code));
    for code in unknown {
        let message = format!(
            "point `{}` of site `{}` is related to `{code}`, which is no point of that site",
            point.code, point.site
        );
        b.warning(message, "a rule relates points of one site only; add the point, or mend `relations`");
    }
    found
}

impl Spec for RelationSpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        let groups = groups(&self.with, points, b);
        let terms = std::iter::once(&self.when).chain(self.with.iter().map(|w| &w.term));
        let terms = Arc::new(Terms::bind(groups, terms, b));
        let names = b.levels.iter().map(|l| l.name.clone()).collect();
        Box::new(RelationBound { terms, need: self.with.iter().map(|w| w.need).collect(), names })
    }
}

#[derive(Debug)]
struct RelationBound {
    terms: Arc<Terms>,
    /// For each condition of related points.
    need: Vec<Need>,
    names: Vec<String>,
}

impl Bound for RelationBound {
    fn machine(self: Arc<Self>, _: usize) -> Box<dyn Machine> {
        Box::new(RelationMachine { across: self.terms.machines(), bound: self })
    }

    fn groups(&self) -> Option<Vec<Vec<u32>>> {
        Some(self.terms.groups.points())
    }

    fn is_up(&self, slot: usize, _: usize) -> bool {
        self.terms.is_up(slot)
    }

    fn judges(&self, slot: usize, _: usize) -> bool {
        self.terms.judges(slot)
    }

    fn remembers(&self) -> Micros {
        self.terms.remembers()
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let groups = &self.terms.groups;
        let mut text = format!("`{}` {}", groups.of[slot][0].code, self.terms.describe(slot, 0));
        for (term, need) in (1..).zip(&self.need) {
            let codes = groups.codes(slot, |m| groups.of[slot][m].term == term);
            text += &format!(", and {} of {codes} {}", need.word(), self.terms.describe(slot, term));
        }
        self.names.iter().map(|name| (name.clone(), text.clone(), "rule")).collect()
    }
}

struct RelationMachine {
    bound: Arc<RelationBound>,
    across: TermMachines,
}

impl Machine for RelationMachine {
    fn hear(&mut self, slot: usize, r: &Reading) -> Heard {
        self.across.hear(slot, r)
    }

    fn decide(&mut self, slot: usize, now: Micros, verdicts: &mut [Verdict]) -> f64 {
        let own = all_of(self.across.say(slot, 0, now));
        let related = (1..).zip(&self.bound.need).map(|(term, need)| match need {
            Need::Any => any_of(self.across.say(slot, term, now)),
            Need::All => all_of(self.across.say(slot, term, now)),
        });
        verdicts.fill(all_of(std::iter::once(own).chain(related)));
        self.across.members.number(slot, 0)
    }

    fn clock(&self, slot: usize) -> Option<u32> {
        self.across.members.clock(slot)
    }

    fn reason(&self, slot: usize, _: usize, _: f64, on: bool) -> String {
        const SHOWN_MAX: usize = 4;
        let members = &self.across.members;
        let wanted = if on { Verdict::Over } else { Verdict::Below };
        let terms = 0..=self.bound.need.len();
        let judged = terms.flat_map(|term| self.bound.terms.judged(slot, term));
        let said: Vec<usize> = judged.filter(|m| members.said(slot, *m) == wanted).collect();
        let shown = said.iter().take(SHOWN_MAX);
        let shown = shown.map(|m| self.across.reason(slot, *m, members.number(slot, *m), on));
        let mut text = shown.collect::<Vec<_>>().join(", and ");
        if said.len() > SHOWN_MAX {
            text += &format!(", and {} more", said.len() - SHOWN_MAX);
        }
        text
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        self.across.save(slot, out);
    }

    fn load(&mut self, slot: usize, bytes: &[u8]) -> bool {
        self.across.load(slot, bytes)
    }
}
