//! Kinds of alarms that a catalog can bring, as far as the routes tell them apart.

use super::{Kind, TEXTS, wanted};
use crate::own;
use crate::route::Routes;
use crate::route::conditions::{LEVEL, PLACE, QUANTITY, REGION, RULE, SITE, STATE};
use model::catalog::fits;
use model::transition::Marks;
use model::{Alarm, AlarmState, Catalog, Place, Severity};
use std::collections::{BTreeSet, HashMap};

/// Ends a name that no route gives.
pub(super) const OTHER: char = '\u{1}';
/// firedamp's own rules begin so.
const OWN_RULES: &str = "firedamp/";

/// Alarms that no route tells apart, but for severity, rule, level and time.
pub(super) struct Cell {
    pub kind: Kind,
    /// Numbers of the sites that have them.
    pub sites: BTreeSet<u32>,
    /// In words; empty where it needs none.
    pub what: String,
    site: String,
    point: String,
    place: Place,
    rules: Vec<String>,
    levels: Vec<String>,
    reported: bool,
}

impl Cell {
    /// An alarm about a receiver.
    pub fn about_receiver(receiver: &str) -> Self {
        Self {
            kind: Kind::Own,
            sites: BTreeSet::new(),
            what: String::new(),
            site: own::SITE.to_owned(),
            point: receiver.to_owned(),
            place: Place::default(),
            rules: own::ABOUT_RECEIVERS.map(|what| format!("{OWN_RULES}{what}")).to_vec(),
            levels: vec!["on".to_owned()],
            reported: true,
        }
    }

    /// Each rule with each level.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rules
            .iter()
            .flat_map(|rule| self.levels.iter().map(move |level| (rule.as_str(), level.as_str())))
    }

    /// Whether it is a hole when nobody is told.
    pub fn is_reported(&self) -> bool {
        self.reported
    }

    /// One of them.
    pub fn alarm(&self, severity: Severity, rule: &str, level: &str) -> Alarm {
        Alarm {
            id: String::new(),
            site: self.site.clone(),
            point: self.point.clone(),
            place: self.place.clone(),
            rule: rule.to_owned(),
            level: level.to_owned(),
            state: AlarmState::Active,
            acked: false,
            severity,
            opened: 0,
            closed: None,
            changed: 0,
            peak: None,
            withdrawn: false,
            acked_by: None,
            acked_at: None,
            reason: String::new(),
            marks: Marks { simulated: self.kind == Kind::Drill, ..Marks::default() },
            shelved: None,
            case: None,
        }
    }
}

/// All of a catalog.
pub(super) struct Cells(Vec<Cell>);

/// Which wanted texts a value fits, for each key that the catalog gives.
type Fits = [u32; 5];

/// Of the points of one such kind.
#[derive(Default)]
struct Points {
    sites: BTreeSet<u32>,
    quantities: BTreeSet<String>,
    classes: BTreeSet<String>,
    site: String,
    place: Place,
}

impl Cells {
    pub fn of(routes: &Routes, catalog: &Catalog) -> Self {
        let wanted = wanted(routes);
        let levels = names(&wanted[LEVEL], "");
        let of_sites: Vec<String> =
            names(&wanted[RULE], "").into_iter().filter(|r| !r.starts_with(OWN_RULES)).collect();
        let has_drills = routes.receivers().iter().any(|r| r.drill);
        let mut out = vec![Cell {
            rules: names(&wanted[RULE], OWN_RULES).into_iter().filter(|r| r.starts_with(OWN_RULES)).collect(),
            // One line for all of them, at no site.
            sites: BTreeSet::from([0]),
            ..Cell::about_receiver("")
        }];
        for points in kinds(catalog, &wanted).into_values() {
            for (kind, reported) in [(Kind::Site, true), (Kind::Drill, has_drills)] {
                out.push(Cell {
                    kind,
                    sites: points.sites.clone(),
                    what: points.what(&wanted),
                    site: points.site.clone(),
                    point: String::new(),
                    place: points.place.clone(),
                    rules: of_sites.clone(),
                    levels: levels.clone(),
                    reported,
                });
            }
        }
        Self(out)
    }

    /// How many alarms there are to try, at one severity and time.
    pub fn tries(&self) -> usize {
        self.0.iter().map(|c| c.rules.len() * c.levels.len()).sum()
    }

    /// Rules and levels are not told apart.
    pub fn forget_names(&mut self) {
        for cell in &mut self.0 {
            for names in [&mut cell.rules, &mut cell.levels] {
                // The first is what no route names.
                names.truncate(1);
            }
        }
    }

    pub fn all(&self) -> &[Cell] {
        &self.0
    }
}

impl Points {
    /// What tells them from others of their site, where a route asks for it.
    fn what(&self, wanted: &[BTreeSet<&str>; TEXTS.len()]) -> String {
        let words = |all: &BTreeSet<String>| {
            let shown = all.iter().map(|w| if w.is_empty() { "none" } else { w.as_str() });
            shown.collect::<Vec<_>>().join(", ")
        };
        let asked = [(QUANTITY, &self.quantities), (PLACE, &self.classes)];
        let asked = asked.into_iter().filter(|(key, _)| !wanted[*key].is_empty());
        asked.map(|(key, all)| format!("{} {}", TEXTS[key].0, words(all))).collect::<Vec<_>>().join(" at ")
    }
}

/// Names to try: those that are wanted, one that begins as is wanted, and one that is neither.
fn names(wanted: &BTreeSet<&str>, begin: &str) -> Vec<String> {
    let name = |w: &&str| w.strip_suffix('*').map_or_else(|| (*w).to_owned(), |p| format!("{p}{OTHER}"));
    let mut out = vec![format!("{begin}{OTHER}")];
    out.extend(wanted.iter().map(name));
    out
}

/// The kinds of points, and of alarms of a site that are of no point.
fn kinds(catalog: &Catalog, wanted: &[BTreeSet<&str>; TEXTS.len()]) -> HashMap<Fits, Points> {
    let mut seen = Seen { wanted, known: HashMap::new(), sets: HashMap::new() };
    let mut out: HashMap<Fits, Points> = HashMap::new();
    let mut add = |site: u32, region: &str, quantity: &str, class: &str| {
        let at = &catalog.sites()[site as usize];
        let fits = [
            seen.fits(SITE, &at.code),
            seen.fits(REGION, region),
            seen.fits(STATE, &at.state),
            seen.fits(QUANTITY, quantity),
            seen.fits(PLACE, class),
        ];
        let points = out.entry(fits).or_insert_with(|| Points {
            site: at.code.clone(),
            place: Place {
                region: region.to_owned(),
                quantity: quantity.to_owned(),
                class: class.to_owned(),
                site_state: at.state.clone(),
                ..Place::default()
            },
            ..Points::default()
        });
        points.sites.insert(site);
        for (all, word) in [(&mut points.quantities, quantity), (&mut points.classes, class)] {
            if !all.contains(word) {
                all.insert(word.to_owned());
            }
        }
    };
    for (site, at) in (0..).zip(catalog.sites()) {
        add(site, &at.region, "", "");
    }
    for ix in 0..catalog.points().len() as u32 {
        let point = catalog.point(ix);
        add(catalog.site_ix_of(ix), catalog.region_of(ix), &point.quantity, &point.place);
    }
    out
}

/// Numbers for the sets of wanted texts that values fit.
struct Seen<'a> {
    wanted: &'a [BTreeSet<&'a str>; TEXTS.len()],
    known: HashMap<(usize, String), u32>,
    sets: HashMap<(usize, Vec<bool>), u32>,
}

impl Seen<'_> {
    fn fits(&mut self, key: usize, value: &str) -> u32 {
        let wanted = &self.wanted[key];
        if wanted.is_empty() {
            return 0;
        }
        if let Some(number) = self.known.get(&(key, value.to_owned())) {
            return *number;
        }
        let next = self.sets.len() as u32;
        let set = wanted.iter().map(|w| fits(value, w)).collect();
        let number = *self.sets.entry((key, set)).or_insert(next);
        self.known.insert((key, value.to_owned()), number);
        number
    }
}
