//! What kinds across points share: which points of a site belong together, and what is known of each of them.
//!
//! A group has an own point, at which its levels stand, and members whose readings it hears. What a member said holds for three of its
//! periods by the clock of the log; then, or where its reading is bad, missing or calibrating, it is unknown, and what is unknown
//! neither raises nor clears. Late readings and those not newer than the last of their member are not looked at.

use super::Binding;
use crate::bytes::{In, Out};
use crate::reading::{PERIOD, Reading, Verdict};
use ahash::AHashMap;
use model::catalog::Catalog;
use model::time::Micros;
use model::toml_file::Section;
use std::sync::Arc;

/// Periods that what a member said holds.
const FRESH_PERIODS: i64 = 3;

/// Most members of a group: each of its readings looks at all of them.
const MEMBERS_MAX: usize = 256;

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
    /// Its number in the group.
    pub number: usize,
    /// Its id, which names it in a snapshot.
    id: i64,
    /// Its code, for reasons.
    pub code: String,
    /// How long what it said holds.
    fresh: Micros,
    /// Which condition it is judged by.
    pub term: usize,
    /// Its slot there.
    pub inner: usize,
}

impl Member {
    /// Its id, which names it in a snapshot.
    pub fn id(&self) -> i64 {
        self.id
    }
}

/// All groups of a rule, by their own points.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// The own point first.
    pub of: Vec<Vec<Member>>,
    /// The same by index in the catalog.
    pub points: Vec<Vec<u32>>,
    /// For each condition the points it is bound to, a slot each.
    pub terms: Vec<Vec<u32>>,
}

impl Groups {
    /// From each group's members by condition, the own point first; sorted by own point.
    pub fn new(mut all: Vec<Vec<(u32, usize)>>, terms: usize, b: &mut Binding<'_>) -> Self {
        all.sort_by_key(|g| g[0].0);
        let mut this = Self { terms: vec![Vec::new(); terms], ..Self::default() };
        for group in all {
            if group.len() > MEMBERS_MAX {
                let own = b.catalog.point(group[0].0);
                let message = format!(
                    "rule `{}`: the group of point `{}` of site `{}` has {} points, more than {MEMBERS_MAX}",
                    b.rule,
                    own.code,
                    own.site,
                    group.len()
                );
                b.error(message, "select fewer points, or group them by a label");
                continue;
            }
            let member = |(number, (ix, term)): (usize, (u32, usize))| {
                let point = b.catalog.point(ix);
                this.terms[term].push(ix);
                Member {
                    ix,
                    number,
                    id: b.catalog.ids()[ix as usize].0,
                    code: point.code.clone(),
                    fresh: point.period.unwrap_or(PERIOD).saturating_mul(FRESH_PERIODS),
                    term,
                    inner: this.terms[term].len() - 1,
                }
            };
            this.points.push(group.iter().map(|(ix, _)| *ix).collect());
            this.of.push(group.into_iter().enumerate().map(member).collect());
        }
        this
    }

    /// The selected points by what they have in common.
    pub fn alike(by: &By, points: &[u32], b: &mut Binding<'_>) -> Self {
        let groups = alike(by, points, b.catalog);
        let of_one = |group: Vec<u32>| group.into_iter().map(|ix| (ix, 0)).collect();
        Self::new(groups.into_iter().map(of_one).collect(), 1, b)
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
        let more = if all.len() > SHOWN_MAX {
            format!(" and {} more", all.len() - SHOWN_MAX)
        } else {
            String::new()
        };
        format!("{}{more}", all[..all.len().min(SHOWN_MAX)].join(", "))
    }
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
pub(super) struct Seen {
    /// Event time of its newest reading; `MIN` where it never spoke.
    last: Micros,
    /// The clock when that came.
    heard: Micros,
    /// What it said.
    said: Verdict,
    /// The clock when it was over last; `MIN` where it never was.
    over: Micros,
    /// The number it said so by.
    number: f64,
}

const NEVER: Seen =
    Seen { last: Micros::MIN, heard: Micros::MIN, said: Verdict::Hold, over: Micros::MIN, number: f64::NAN };

/// What is known of the members of all groups of a rule.
pub(super) struct Members {
    groups: Arc<Groups>,
    seen: Vec<Vec<Seen>>,
}

impl Members {
    /// Nobody spoke yet.
    pub fn new(groups: Arc<Groups>) -> Self {
        let seen = groups.of.iter().map(|g| vec![NEVER; g.len()]).collect();
        Self { groups, seen }
    }

    /// Takes a reading for all that its point is in the group; `judge` says what it means to a member, and the number for that. False
    /// where it is not newer than the last of its point: then nothing is to be decided.
    pub fn take(
        &mut self,
        slot: usize,
        r: &Reading,
        mut judge: impl FnMut(&Member, &Reading) -> (Verdict, f64),
    ) -> bool {
        let members = &self.groups.of[slot];
        let first = r.member as usize;
        if r.time <= self.seen[slot][first].last {
            return false;
        }
        let r = Reading { newer: true, ..*r };
        for (member, seen) in members.iter().zip(&mut self.seen[slot]) {
            if member.ix == members[first].ix {
                let (said, number) = judge(member, &r);
                let over = if said == Verdict::Over { r.heard } else { seen.over };
                *seen = Seen { last: r.time, heard: r.heard, said, over, number };
            }
        }
        true
    }

    /// What a member says at a time.
    pub fn says(&self, slot: usize, member: usize, now: Micros) -> Verdict {
        let seen = &self.seen[slot][member];
        // Heard after `now` where it came by another clock.
        let is_fresh = seen.last != Micros::MIN
            && (0..=self.groups.of[slot][member].fresh).contains(&now.saturating_sub(seen.heard));
        if is_fresh { seen.said } else { Verdict::Hold }
    }

    /// Whether a member was over at most `within` before a time.
    pub fn was_over(&self, slot: usize, member: usize, now: Micros, within: Micros) -> bool {
        let over = self.seen[slot][member].over;
        over != Micros::MIN && (0..=within).contains(&now.saturating_sub(over))
    }

    /// What a member said last, however long ago: what a level went by.
    pub fn last_said(&self, slot: usize, member: usize) -> Verdict {
        self.seen[slot][member].said
    }

    /// The number a member said last.
    pub fn number(&self, slot: usize, member: usize) -> f64 {
        self.seen[slot][member].number
    }

    /// The clock when a member spoke last.
    pub fn newest(&self, slot: usize) -> Micros {
        self.seen[slot].iter().map(|s| s.heard).max().unwrap_or(Micros::MIN)
    }

    /// Whether no member spoke: there is nothing to save.
    pub fn is_silent(&self, slot: usize) -> bool {
        self.seen[slot].iter().all(|s| s.last == Micros::MIN)
    }

    /// For a snapshot, by id: a member that another catalog has too keeps what it said. `inner` writes what its condition remembers.
    pub fn save(&self, slot: usize, out: &mut Out, inner: impl Fn(&Member) -> Vec<u8>) {
        let spoke =
            || self.groups.of[slot].iter().zip(&self.seen[slot]).filter(|(_, s)| s.last != Micros::MIN);
        out.u32(spoke().count() as u32);
        for (member, seen) in spoke() {
            out.u64(member.id as u64);
            out.u32(member.term as u32);
            out.u64(seen.last as u64);
            out.u64(seen.heard as u64);
            out.u32(seen.said as u32);
            out.u64(seen.over as u64);
            out.u64(seen.number.to_bits());
            out.bytes(&inner(member));
        }
    }

    /// Takes back what [`Members::save`] wrote; `None` when it is not that. What `inner` does not understand begins anew.
    pub fn load(
        &mut self,
        slot: usize,
        all: &mut In<'_>,
        mut inner: impl FnMut(&Member, &[u8]),
    ) -> Option<()> {
        const SAID: [Verdict; 4] = [Verdict::Over, Verdict::Band, Verdict::Below, Verdict::Hold];
        for _ in 0..all.u32()? {
            let (id, term) = (all.u64()? as i64, all.u32()? as usize);
            let (last, heard) = (all.u64()? as i64, all.u64()? as i64);
            let said = *SAID.get(all.u32()? as usize)?;
            let seen =
                Seen { last, heard, said, over: all.u64()? as i64, number: f64::from_bits(all.u64()?) };
            let state = all.bytes()?;
            let members = self.groups.of[slot].iter().zip(&mut self.seen[slot]);
            for (member, place) in members.filter(|(m, _)| m.id == id && m.term == term) {
                *place = seen;
                inner(member, state);
            }
        }
        Some(())
    }
}

/// All conditions at once: one that is known not to hold ends it, whatever the others are.
pub(super) fn all_of(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    let rank = |v: &Verdict| match v {
        Verdict::Below => 3,
        Verdict::Hold => 2,
        Verdict::Band => 1,
        Verdict::Over => 0,
    };
    verdicts.into_iter().max_by_key(rank).unwrap_or(Verdict::Hold)
}

/// One condition of many: one that holds is enough, whatever the others are.
pub(super) fn any_of(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    let rank = |v: &Verdict| match v {
        Verdict::Over => 3,
        Verdict::Hold => 2,
        Verdict::Band => 1,
        Verdict::Below => 0,
    };
    verdicts.into_iter().max_by_key(rank).unwrap_or(Verdict::Hold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Band, Below, Hold, Over};

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
        assert_eq!(all_of([Band, Hold]), Hold);
        assert_eq!(all_of([Over, Band]), Band);
        assert_eq!(all_of([Hold, Below, Over]), Below);
        assert_eq!(any_of([Below, Over, Hold]), Over);
        assert_eq!(any_of([Below, Hold, Band]), Hold);
        assert_eq!(any_of([Below, Band]), Band);
        assert_eq!(any_of([Below, Below]), Below);
        assert_eq!((all_of([]), any_of([])), (Hold, Hold));
    }
}
