//! Who is told of an alarm: a tree of routes over the receivers, read from a file as a whole, or made from the receivers' own keys
//! where there is none. Pure: after reading, who is told follows from the alarm and a time alone.
//!
//! - An alarm enters at the top. Routes beside each other are asked in the order of the file: one whose keys all hold takes it, and the
//!   ones behind it are not asked, unless it says `continue = true`. A route that took it hands it to the routes below it; where none of
//!   these takes it, or there is none, those in its `to` are told. A route without `to` has that of the route above it.
//! - What no route takes goes to the `to` at the top of the file.
//! - A route is for alarms of sites; with `own = true` for firedamp's own, with `drill = true` for drills; those below it are for the same.
//! - A drill is told to receivers with `drill = true` only and they are told of nothing else, whatever the routes say; and an alarm about
//!   a receiver is not told to that receiver.
//! - While nobody acknowledges it, those whom the routes that took it press are told further ([`press`]).
//! - Times are judged at the time at which the rules decided ([`crate::life::Row::decided`]), not at that of sending: a batch that is taken again
//!   after a crash, or from a database restored from a backup, then reaches the same receivers with the same keys.
//! - What is asked of the place (region, quantity, place class, state of the site) stands in the alarm, as it was when the alarm opened.

use crate::receiver::Receiver;
use conditions::{Conditions, Kind, Subject, Unmet};
use model::{Alarm, Micros};
use press::Press;
use roster::Roster;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use when::Moment;

mod check;
mod conditions;
mod explain;
mod names;
mod press;
mod read;
mod roster;
mod when;

pub use check::{Found, check};
pub use explain::{Decision, Passed, Step, Told};
pub use press::Pressed;
pub use read::{refuse_filters, route_files, route_keys};

/// Zone of times in a file that names none, seconds east of UTC.
const ZONE_DEFAULT_S: i32 = 8 * 3600;

/// The receivers and the tree over them.
#[derive(Clone, Debug)]
pub struct Routes {
    receivers: Vec<Receiver>,
    by_name: HashMap<String, usize>,
    rosters: Vec<Roster>,
    /// Has no conditions and takes everything.
    top: Route,
    zone_offset_s: i32,
    /// The file; empty where the receivers' own keys decide.
    file: String,
}

/// One route and those below it.
#[derive(Clone, Debug)]
struct Route {
    /// Names from the top: `county > night`.
    path: String,
    /// `routes.toml:12`.
    place: String,
    /// Line and column in the file.
    at: (usize, usize),
    /// `None` for the top only, which is for all.
    kind: Option<Kind>,
    conditions: Conditions,
    to: Vec<Target>,
    presses: Vec<Press>,
    goes_on: bool,
    below: Vec<Route>,
}

/// Whom a route names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Target {
    Receiver(usize),
    Roster(usize),
}

/// What a walk through the tree meets, in its order.
enum Seen<'a> {
    /// Its conditions hold.
    Met(&'a Route),
    /// A condition does not hold.
    Unmet(&'a Route, Unmet),
    /// Not asked: the second one took the alarm.
    Behind(&'a Route, &'a Route),
    /// Its `to` is told.
    Took(&'a Route),
}

/// Who is told of an alarm.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Choice {
    /// Numbers of the receivers, in their order.
    pub receivers: BTreeSet<usize>,
    /// Numbers of rosters that have nobody on duty.
    pub holes: BTreeSet<usize>,
}

impl Route {
    fn meets(&self, s: &Subject<'_>) -> Result<(), Unmet> {
        if self.kind.is_some_and(|kind| kind != s.kind) {
            return Err(Unmet::Kind);
        }
        self.conditions.hold(s)
    }

    /// Hands an alarm down; whether it was taken.
    fn walk<'a>(&'a self, s: &Subject<'_>, seen: &mut dyn FnMut(Seen<'a>)) -> bool {
        if let Err(unmet) = self.meets(s) {
            seen(Seen::Unmet(self, unmet));
            return false;
        }
        seen(Seen::Met(self));
        let (mut taken, mut last) = (false, None);
        for below in &self.below {
            if let Some(last) = last {
                seen(Seen::Behind(below, last));
            } else if below.walk(s, seen) {
                taken = true;
                last = (!below.goes_on).then_some(below);
            }
        }
        if !taken {
            seen(Seen::Took(self));
        }
        true
    }
}

impl Routes {
    /// Without a file: a route for each receiver from its own keys, all of them asked.
    pub fn of_receivers(receivers: Vec<Receiver>) -> Self {
        let mut below = Vec::new();
        for (i, r) in receivers.iter().enumerate() {
            let route = |kind, conditions| Route {
                path: r.name.clone(),
                place: r.place.clone(),
                at: (0, 0),
                kind: Some(kind),
                conditions,
                to: vec![Target::Receiver(i)],
                presses: Vec::new(),
                goes_on: true,
                below: Vec::new(),
            };
            let of_sites = Conditions::of_receiver(r.severity, &r.sites, &r.regions);
            below.push(route(if r.drill { Kind::Drill } else { Kind::Site }, of_sites));
            if r.own && !r.drill {
                below.push(route(Kind::Own, Conditions::of_receiver(r.severity, &[], &[])));
            }
        }
        Self::new(receivers, Vec::new(), Route { below, ..Route::top() }, ZONE_DEFAULT_S, String::new())
    }

    fn new(
        receivers: Vec<Receiver>,
        rosters: Vec<Roster>,
        top: Route,
        zone_offset_s: i32,
        file: String,
    ) -> Self {
        let by_name = receivers.iter().enumerate().map(|(i, r)| (r.name.clone(), i)).collect();
        Self { receivers, by_name, rosters, top, zone_offset_s, file }
    }

    /// All receivers.
    pub fn receivers(&self) -> &[Receiver] {
        &self.receivers
    }

    /// The number of a receiver.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The name of a roster.
    pub fn roster_name(&self, number: usize) -> &str {
        self.rosters.get(number).map_or("", |r| &r.name)
    }

    /// The names of all rosters.
    pub fn roster_names(&self) -> impl Iterator<Item = &str> {
        self.rosters.iter().map(|r| r.name.as_str())
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        fn below(route: &Route) -> usize {
            route.below.iter().map(|r| 1 + below(r)).sum()
        }
        below(&self.top)
    }

    /// Whether there is no route.
    pub fn is_empty(&self) -> bool {
        self.top.below.is_empty()
    }

    /// Whether they come from a file.
    pub fn are_given(&self) -> bool {
        !self.file.is_empty()
    }

    /// Who is told of an alarm that stands as it is, decided at a time.
    pub fn choose(&self, alarm: &Alarm, at: Micros) -> Choice {
        let subject = self.subject(alarm, at);
        let mut choice = Choice::default();
        for target in self.took(alarm, at).into_iter().flat_map(|route| &route.to) {
            let reached = self.reach(*target, &subject, at);
            choice.receivers.extend(reached.receivers.iter().map(|(receiver, _)| *receiver));
            choice.holes.extend(reached.hole);
        }
        choice
    }

    /// The routes whose `to` is told.
    fn took(&self, alarm: &Alarm, at: Micros) -> Vec<&Route> {
        let mut took = Vec::new();
        self.top.walk(&self.subject(alarm, at), &mut |seen| {
            if let Seen::Took(route) = seen {
                took.push(route);
            }
        });
        took
    }

    fn subject<'a>(&self, alarm: &'a Alarm, at: Micros) -> Subject<'a> {
        Subject { alarm, kind: Kind::of(alarm), moment: Moment::of(at, self.zone_offset_s) }
    }

    /// All whom a target may stand for, whoever is on duty.
    fn may_stand_for(&self, target: Target) -> BTreeSet<usize> {
        match target {
            Target::Receiver(receiver) => BTreeSet::from([receiver]),
            Target::Roster(number) => self.rosters[number].receivers(),
        }
    }

    /// Whom a target stands for at a time.
    fn reach(&self, target: Target, s: &Subject<'_>, at: Micros) -> Reached<'_> {
        let mut reached = Reached::default();
        let roster = match target {
            Target::Receiver(receiver) => {
                reached.add(receiver, Via::Named, self.bar(receiver, s));
                return reached;
            }
            Target::Roster(number) => (number, &self.rosters[number]),
        };
        let (number, roster) = roster;
        let duties = roster.on_duty(at);
        reached.hole = duties.is_empty().then_some(number);
        for duty in duties {
            reached.add(duty.receiver, Via::Duty(roster, duty), self.bar(duty.receiver, s));
        }
        if reached.receivers.is_empty() {
            let fallback = roster.fallback;
            reached.add(fallback, Via::Fallback(roster, reached.hole.is_some()), self.bar(fallback, s));
        }
        reached
    }

    /// Whether a target is told whoever is on duty: of a roster its fallback is, and of the fallback's own trouble who is on duty.
    fn always_reaches(&self, target: Target, s: &Subject<'_>) -> bool {
        let may = |receiver: usize| self.bar(receiver, s).is_none();
        match target {
            Target::Receiver(receiver) => may(receiver),
            Target::Roster(number) => {
                let roster = &self.rosters[number];
                may(roster.fallback) || s.kind == Kind::Own && roster.receivers().into_iter().any(may)
            }
        }
    }

    /// Why a receiver is never told of an alarm, whatever the routes say.
    fn bar(&self, receiver: usize, s: &Subject<'_>) -> Option<&'static str> {
        let receiver = &self.receivers[receiver];
        let about_itself = || {
            s.kind == Kind::Own
                && crate::own::is_about_receiver(&s.alarm.rule)
                && s.alarm.point == receiver.name
        };
        match (receiver.drill, s.kind) {
            (true, Kind::Site | Kind::Own) => Some("it is told of drills only"),
            (false, Kind::Drill) => Some("a drill is told to receivers with `drill = true` only"),
            _ if about_itself() => Some("the alarm is about this receiver"),
            _ => None,
        }
    }
}

impl Route {
    fn top() -> Self {
        Self {
            path: String::new(),
            place: String::new(),
            at: (1, 1),
            kind: None,
            conditions: Conditions::default(),
            to: Vec::new(),
            presses: Vec::new(),
            goes_on: false,
            below: Vec::new(),
        }
    }
}

/// Whom a target stands for.
#[derive(Default)]
struct Reached<'a> {
    receivers: Vec<(usize, Via<'a>)>,
    barred: Vec<(usize, &'static str)>,
    /// The roster, where it has nobody on duty.
    hole: Option<usize>,
}

/// How a receiver is named.
enum Via<'a> {
    Named,
    Duty(&'a Roster, roster::Duty<'a>),
    /// With whether nobody is on duty.
    Fallback(&'a Roster, bool),
}

impl<'a> Reached<'a> {
    fn add(&mut self, receiver: usize, via: Via<'a>, bar: Option<&'static str>) {
        match bar {
            None => self.receivers.push((receiver, via)),
            Some(why) => self.barred.push((receiver, why)),
        }
    }
}

/// The routes in force: clones are the same, and a reload replaces them as a whole.
#[derive(Clone, Debug)]
pub struct RoutesInForce(Arc<RwLock<Arc<Routes>>>);

impl RoutesInForce {
    /// These, from the start on.
    pub fn new(routes: Arc<Routes>) -> Self {
        Self(Arc::new(RwLock::new(routes)))
    }

    /// As they are now.
    pub fn get(&self) -> Arc<Routes> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Others, from now on.
    pub fn replace(&self, routes: Arc<Routes>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = routes;
    }
}
