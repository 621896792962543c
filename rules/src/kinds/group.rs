//! What kinds across points share: which points of a site belong together, and what is known of each of them.
//!
//! A group has an own point, at which its levels stand, and members whose readings it hears. A member's condition holds from where a level
//! of its own would be on until it would be off, between the two limits too. What a member said counts for three of its periods by the
//! clock of the log; then, or where its reading is bad, missing or calibrating, it is unknown, and what is unknown neither raises nor
//! clears. Late readings and those not newer than the last of their member are not looked at.
//!
//! A group is judged by one clock, since no two can be compared: by that of its own point, or while that never spoke of who does. What comes
//! by another is not looked at; where the own point begins to come by another, all begins anew.

use super::shared::may_clear;
use super::{Binding, Heard};
use crate::bytes::{In, Out};
use crate::reading::{PERIOD, Reading, Verdict};
use ahash::{AHashMap, AHashSet};
use model::catalog::Catalog;
use model::time::Micros;
use model::toml_file::Section;
use std::sync::Arc;

/// Periods that what a member said counts.
const FRESH_PERIODS: i64 = 3;

/// Most members of a group: each of its readings looks at all of them.
pub(super) const MEMBERS_MAX: usize = 256;

/// How points of one site belong together.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum By {
    /// All of a site.
    Site,
    /// Those of one place class.
    Place,
    /// Those with one value of a label.
    Label(String),
    /// Those that the catalog relates to a point, by the letters of the national format.
    Relation(String),
}

/// What `by` may be.
const BY_HELP: &str = "`by` is \"site\", \"place\", \"label:KEY\" or \"relation:LETTERS\"; a rule relates points of one site only";

impl By {
    /// Reads `by`; `None` is a mistake that was told.
    pub fn read(s: &Section<'_>, takes_relations: bool) -> Option<Self> {
        let by = s.need_str("by", "\"label:heading\"")?;
        let known = match by.value.split_once(':') {
            None if by.value == "site" => Some(Self::Site),
            None if by.value == "place" => Some(Self::Place),
            Some(("label", key)) if !key.is_empty() => Some(Self::Label(key.to_owned())),
            Some(("relation", letters)) if takes_relations && is_letters(letters) => {
                Some(Self::Relation(letters.to_owned()))
            }
            _ => None,
        };
        if known.is_none() {
            s.file().error_at(by.at, format!("`by = \"{}\"` groups no points", by.value), BY_HELP);
        }
        known
    }

    /// What points of one group have in common; `None`: the point belongs to none.
    pub fn key<'c>(&self, catalog: &'c Catalog, ix: u32) -> Option<(&'c str, &'c str)> {
        let point = catalog.point(ix);
        let common = match self {
            Self::Site => "",
            Self::Place => Some(point.place.as_str()).filter(|p| !p.is_empty())?,
            Self::Label(key) => point.labels.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())?,
            Self::Relation(_) => return None,
        };
        Some((&point.site, common))
    }
}

/// Letters of the national format: B interlock, D power cut, G linked door, H protection, K control, T adjustment, Z main and standby.
fn is_letters(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| "BDGHKTZ".contains(c))
}

/// The codes that the relations of a point name with one of these letters; each is looked up by `find`, since in the first half of a
/// group a name follows the code, and either may hold a `-`. Codes that nothing has come as they are written.
pub(super) fn related<'r>(
    relations: &'r str,
    letters: &str,
    find: impl Fn(&str) -> Option<u32>,
) -> (Vec<u32>, Vec<&'r str>) {
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for half in relations.split(['◇', '\n', ':', '：']).map(str::trim) {
        let Some((letter, rest)) = half.split_once('-') else { continue };
        if letter.chars().count() != 1 || !letters.contains(letter) {
            continue;
        }
        let ends = rest.match_indices('-').map(|(i, _)| &rest[..i]);
        let tried = std::iter::once(rest).chain(ends.rev());
        match tried.into_iter().find_map(&find) {
            Some(ix) if !found.contains(&ix) => found.push(ix),
            Some(_) => {}
            None => unknown.push(rest),
        }
    }
    (found, unknown)
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    /// By index in the catalog.
    pub ix: u32,
    /// Its id, which names it in a snapshot.
    pub id: i64,
    /// Its code, for reasons.
    pub code: String,
    /// How long what it said counts.
    fresh: Micros,
    /// Which condition it is judged by.
    pub term: usize,
    /// Its slot there.
    pub inner: usize,
}

/// All groups of a rule, by their own points.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// The own point first.
    pub of: Vec<Vec<Member>>,
    /// For each condition the points it is bound to, a slot each.
    pub terms: Vec<Vec<u32>>,
    /// Whether a point stands in the group more than once.
    twice: Vec<bool>,
}

impl Groups {
    /// From each group's members by condition, the own point first; ascending by that.
    pub fn new(all: Vec<Vec<(u32, usize)>>, terms: usize, catalog: &Catalog) -> Self {
        let mut this = Self { terms: vec![Vec::new(); terms], ..Self::default() };
        for group in all {
            let mut there = AHashSet::new();
            this.twice.push(!group.iter().all(|(ix, _)| there.insert(*ix)));
            let member = |(ix, term): (u32, usize)| {
                let point = catalog.point(ix);
                this.terms[term].push(ix);
                Member {
                    ix,
                    id: catalog.ids()[ix as usize].0,
                    code: point.code.clone(),
                    fresh: point.period.unwrap_or(PERIOD).saturating_mul(FRESH_PERIODS),
                    term,
                    inner: this.terms[term].len() - 1,
                }
            };
            this.of.push(group.into_iter().map(member).collect());
        }
        this
    }

    /// The selected points by what they have in common; a group that is too large is told and left out.
    pub fn alike(by: &By, points: &[u32], b: &mut Binding<'_>) -> Self {
        let mut groups = alike(by, points, b.catalog);
        groups.retain(|g| !is_too_large(g[0], g.len(), b));
        let of_one = |group: Vec<u32>| group.into_iter().map(|ix| (ix, 0)).collect();
        Self::new(groups.into_iter().map(of_one).collect(), 1, b.catalog)
    }

    /// The groups by index in the catalog.
    pub fn points(&self) -> Vec<Vec<u32>> {
        self.of.iter().map(|g| g.iter().map(|m| m.ix).collect()).collect()
    }

    /// How far back a member may have spoken last.
    pub fn remembers(&self) -> Micros {
        self.of.iter().flatten().map(|m| m.fresh).max().unwrap_or_default()
    }

    /// Codes of some members, for a person.
    pub fn codes(&self, slot: usize, which: impl Fn(usize) -> bool) -> String {
        const SHOWN_MAX: usize = 5;
        let all: Vec<&str> = (self.of[slot].iter().enumerate())
            .filter(|(i, _)| which(*i))
            .map(|(_, m)| m.code.as_str())
            .collect();
        let rest = all.len().saturating_sub(SHOWN_MAX);
        let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        format!("{}{more}", all[..all.len().min(SHOWN_MAX)].join(", "))
    }
}

/// Whether a group has more members than a reading may look at; that is told.
pub(super) fn is_too_large(own: u32, members: usize, b: &mut Binding<'_>) -> bool {
    let own = b.catalog.point(own);
    if members > MEMBERS_MAX {
        let message = format!(
            "rule `{}`: the group of point `{}` of site `{}` has more than {MEMBERS_MAX} points",
            b.rule, own.code, own.site
        );
        b.error(message, "select fewer points, or group them by a label");
    }
    members > MEMBERS_MAX
}

/// Points by what they have in common. First in each group, where its levels stand, is the point whose code comes first, whatever the
/// order of the catalog; the groups are in the order of these.
pub(super) fn alike(by: &By, points: &[u32], catalog: &Catalog) -> Vec<Vec<u32>> {
    let mut groups = by_key(by, catalog, points.iter().copied()).into_values().collect::<Vec<_>>();
    for group in &mut groups {
        group.sort_by_key(|ix| &catalog.point(*ix).code);
    }
    groups.sort_by_key(|g| g[0]);
    groups
}

/// Points by what they have in common.
pub(super) fn by_key<'c>(
    by: &By,
    catalog: &'c Catalog,
    points: impl IntoIterator<Item = u32>,
) -> AHashMap<(&'c str, &'c str), Vec<u32>> {
    let mut map: AHashMap<_, Vec<u32>> = AHashMap::new();
    for ix in points {
        if let Some(key) = by.key(catalog, ix) {
            map.entry(key).or_default().push(ix);
        }
    }
    map
}

/// What is known of a member.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Event time of its newest reading; `MIN` where it never spoke.
    last: Micros,
    /// When that came; `MIN` where it did not by the group's clock.
    heard: Micros,
    /// When its condition held last; `MIN` where it never did.
    over: Micros,
    /// When its condition began to hold last; `MIN` where it never did.
    began: Micros,
    /// The number it was judged by last.
    number: f64,
    /// Its condition holds, as last judged.
    holds: bool,
    /// It was judged once.
    judged: bool,
    /// Its newest reading says something of it: that it is as before, at least.
    known: bool,
}

const NEVER: Seen = Seen {
    last: Micros::MIN,
    heard: Micros::MIN,
    over: Micros::MIN,
    began: Micros::MIN,
    number: f64::NAN,
    holds: false,
    judged: false,
    known: false,
};

impl Seen {
    /// Takes what its kind says at a reading.
    fn take(&mut self, r: &Reading, verdict: Verdict, number: f64) {
        let held = self.holds;
        (self.last, self.heard) = (r.time, r.heard);
        match verdict {
            Verdict::Over => (self.holds, self.judged, self.known) = (true, true, true),
            Verdict::Below => (self.holds, self.judged, self.known) = (false, true, true),
            // Between the limits, and where a kind has nothing to say of a good reading, a level of its own would stay as it is.
            Verdict::Band => self.known = true,
            Verdict::Hold => self.known = may_clear(r) && r.value.is_finite(),
        }
        if verdict != Verdict::Hold {
            self.number = number;
        }
        if self.holds && self.known {
            self.over = r.heard;
        }
        if self.holds && !held {
            self.began = r.clock;
        }
    }

    fn says(&self) -> Verdict {
        match (self.judged && self.known, self.holds) {
            (false, _) => Verdict::Hold,
            (true, true) => Verdict::Over,
            (true, false) => Verdict::Below,
        }
    }
}

/// What is known of the members of all groups of a rule.
pub(super) struct Members {
    groups: Arc<Groups>,
    seen: Vec<Vec<Seen>>,
    /// By which clock each group is judged, by its number, and when a member spoke last by that; `MIN` where none did.
    clock: Vec<(u32, Micros)>,
}

impl Members {
    /// Nobody spoke yet.
    pub fn new(groups: Arc<Groups>) -> Self {
        let seen: Vec<_> = groups.of.iter().map(|g| vec![NEVER; g.len()]).collect();
        Self { clock: vec![(0, Micros::MIN); seen.len()], groups, seen }
    }

    /// Takes a reading for all that its point is in the group; `judge` says what it means to a member, and the number for that.
    pub fn hear(
        &mut self,
        slot: usize,
        r: &Reading,
        mut judge: impl FnMut(usize, &Member, &Reading) -> (Verdict, f64),
    ) -> Heard {
        let first = r.member as usize;
        let (seen, members) = (&mut self.seen[slot], &self.groups.of[slot]);
        let (clock, newest) = self.clock[slot];
        let other = newest != Micros::MIN && clock != r.source;
        let own_spoke = seen[0].heard != Micros::MIN;
        if r.time <= seen[first].last || (other && own_spoke && members[first].ix != members[0].ix) {
            return Heard::Nothing;
        }
        if other {
            seen.iter_mut().for_each(|s| *s = Seen { last: s.last, ..NEVER });
        }
        self.clock[slot] = (r.source, if other { r.heard } else { newest.max(r.heard) });
        let r = Reading { newer: true, ..*r };
        // Most points stand in a group once.
        let last = if self.groups.twice[slot] { members.len() } else { first + 1 };
        for m in (first..last).filter(|m| members[*m].ix == members[first].ix) {
            let (verdict, number) = judge(m, &members[m], &r);
            seen[m].take(&r, verdict, number);
        }
        if other { Heard::Anew } else { Heard::Something }
    }

    /// What a member says at a time: that its condition holds, that it does not, or nothing.
    pub fn says(&self, slot: usize, member: usize, now: Micros) -> Verdict {
        let seen = &self.seen[slot][member];
        // Beyond a jump of the clock that is not confirmed yet it was heard after now.
        let is_fresh = now.saturating_sub(seen.heard) <= self.groups.of[slot][member].fresh;
        if is_fresh { seen.says() } else { Verdict::Hold }
    }

    /// What a member says at the time of the newest reading.
    pub fn said(&self, slot: usize, member: usize) -> Verdict {
        self.says(slot, member, self.newest(slot))
    }

    /// Takes what is found of a member when all of a time has come.
    pub fn tell(&mut self, slot: usize, member: usize, holds: bool) {
        let seen = &mut self.seen[slot][member];
        (seen.holds, seen.judged) = (holds, true);
    }

    /// What a member's condition was when it was judged last, however long ago; `None`: it never was.
    pub fn held(&self, slot: usize, member: usize) -> Option<bool> {
        let seen = &self.seen[slot][member];
        seen.judged.then_some(seen.holds)
    }

    /// Whether a member's condition held at most `within` before a time.
    pub fn was_over(&self, slot: usize, member: usize, now: Micros, within: Micros) -> bool {
        let over = self.seen[slot][member].over;
        over != Micros::MIN && now.saturating_sub(over) <= within
    }

    /// The clock when a member's condition began to hold last; `MIN` where it never did.
    pub fn began(&self, slot: usize, member: usize) -> Micros {
        self.seen[slot][member].began
    }

    /// The number a member was judged by last.
    pub fn number(&self, slot: usize, member: usize) -> f64 {
        self.seen[slot][member].number
    }

    /// When a member spoke last; `MIN` where none did.
    pub fn newest(&self, slot: usize) -> Micros {
        self.clock[slot].1
    }

    /// By which clock a group is judged, once somebody spoke.
    pub fn clock(&self, slot: usize) -> Option<u32> {
        let (clock, newest) = self.clock[slot];
        (newest != Micros::MIN).then_some(clock)
    }

    /// For a snapshot, by id: a member that another catalog has too keeps what it said. `inner` writes what its condition remembers.
    pub fn save(&self, slot: usize, out: &mut Out, inner: impl Fn(usize, &Member) -> Vec<u8>) {
        let spoke = || {
            let all = self.groups.of[slot].iter().zip(&self.seen[slot]).enumerate();
            all.filter(|(_, (_, s))| s.last != Micros::MIN)
        };
        out.u32(self.clock[slot].0);
        out.u32(spoke().count() as u32);
        for (m, (member, seen)) in spoke() {
            out.u64(member.id as u64);
            out.u32(member.term as u32);
            [seen.last, seen.heard, seen.over, seen.began].iter().for_each(|t| out.u64(*t as u64));
            out.u64(seen.number.to_bits());
            out.u32(u32::from(seen.holds) | u32::from(seen.judged) << 1 | u32::from(seen.known) << 2);
            out.bytes(&inner(m, member));
        }
    }

    /// Takes back what [`Members::save`] wrote; `None` when it is not that. `inner` takes what a condition remembers, and says whether
    /// what the member said still is what its condition means; what it does not understand begins anew.
    pub fn load(
        &mut self,
        slot: usize,
        all: &mut In<'_>,
        inner: impl FnMut(usize, &Member, &[u8]) -> bool,
    ) -> Option<()> {
        let loaded = self.read(slot, all, inner);
        if loaded.is_none() {
            // What was read until then is not to be believed either.
            self.seen[slot].fill(NEVER);
            self.clock[slot] = (0, Micros::MIN);
        }
        loaded
    }

    fn read(
        &mut self,
        slot: usize,
        all: &mut In<'_>,
        mut inner: impl FnMut(usize, &Member, &[u8]) -> bool,
    ) -> Option<()> {
        self.seen[slot].fill(NEVER);
        self.clock[slot] = (all.u32()?, Micros::MIN);
        for _ in 0..all.u32()? {
            let (id, term) = (all.u64()? as i64, all.u32()? as usize);
            let [last, heard, over, began] =
                [all.u64()?, all.u64()?, all.u64()?, all.u64()?].map(|t| t as i64);
            let (number, flags) = (f64::from_bits(all.u64()?), all.u32()?);
            let is = |bit: u32| flags & (1 << bit) != 0;
            let seen = Seen { last, heard, over, began, number, holds: is(0), judged: is(1), known: is(2) };
            let state = all.bytes()?;
            let members = self.groups.of[slot].iter().zip(&mut self.seen[slot]).enumerate();
            for (m, (member, place)) in members.filter(|(_, (m, _))| m.id == id && m.term == term) {
                let means_the_same = inner(m, member, state);
                *place = if means_the_same { seen } else { Seen { last, heard, ..NEVER } };
                self.clock[slot].1 = self.clock[slot].1.max(heard);
            }
        }
        Some(())
    }
}

/// All conditions at once: one that is known not to hold ends it, whatever the others are. `Hold` where there is none.
pub(super) fn all_of(said: impl IntoIterator<Item = Verdict>) -> Verdict {
    worst(said, [Verdict::Below, Verdict::Hold, Verdict::Over])
}

/// One condition of many: one that holds is enough, whatever the others are. `Hold` where there is none.
pub(super) fn any_of(said: impl IntoIterator<Item = Verdict>) -> Verdict {
    worst(said, [Verdict::Over, Verdict::Hold, Verdict::Below])
}

/// The first of these that somebody says.
fn worst(said: impl IntoIterator<Item = Verdict>, order: [Verdict; 3]) -> Verdict {
    let rank = |v: &Verdict| order.iter().position(|o| o == v).unwrap_or(order.len());
    said.into_iter().min_by_key(rank).unwrap_or(Verdict::Hold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Below, Hold, Over};

    #[test]
    fn relations_are_read_as_the_national_format_writes_them() {
        let known = ["KG1", "KG-2", "D7", "D-8"];
        let find = |code: &str| known.iter().position(|k| *k == code).map(|i| i as u32);
        let text = "K-KG1-control of face:D-D7◇K-KG-2-分站:D-D-8◇B-X9:D-D7";
        assert_eq!(related(text, "D", find), (vec![2, 3], vec![]));
        assert_eq!(related(text, "K", find), (vec![0, 1], vec![]));
        assert_eq!(related(text, "B", find), (vec![], vec!["X9"]));
        assert_eq!(related(text, "KB", find).0, [0, 1]);
        assert_eq!(related("", "D", find), (vec![], vec![]));
        assert_eq!(related("D-:D--:D", "D", find), (vec![], vec!["", "-"]));
    }

    #[test]
    fn what_is_unknown_decides_nothing_that_another_does_not() {
        assert_eq!(all_of([Over, Over]), Over);
        assert_eq!(all_of([Over, Hold]), Hold);
        assert_eq!(all_of([Hold, Below, Over]), Below);
        assert_eq!(any_of([Below, Over, Hold]), Over);
        assert_eq!(any_of([Below, Hold]), Hold);
        assert_eq!(any_of([Below, Below]), Below);
        assert_eq!((all_of([]), any_of([])), (Hold, Hold));
    }
}
