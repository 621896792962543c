//! Episodes: one latch going on and off again, folded from its transitions; and what two versions of rules decide differently.

use model::time::Micros;
use model::{PointId, Severity, To, Transition, TransitionId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// One level of a rule at a point, from on to off.
#[derive(Clone, PartialEq, Debug)]
pub struct Episode {
    /// Whose.
    pub key: Arc<Key>,
    /// Id of the transition that opened it.
    pub id: TransitionId,
    /// When it went on.
    pub from: Micros,
    /// When it ended; `None` while on. A late-found one ends where it begins.
    pub to: Option<Micros>,
    /// Whether it ended because its rule or point is gone.
    pub withdrawn: bool,
    /// The value farthest over.
    pub peak: Option<f64>,
    /// Severity.
    pub severity: Severity,
    /// Why it went on.
    pub reason: String,
    /// Transitions of it, the first and the last included.
    pub steps: u32,
}

/// What an episode is of. Late-found episodes, and those of a drill, are apart from live ones.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Key {
    /// Rule.
    pub rule: String,
    /// Site code.
    pub site: String,
    /// Point code.
    pub point: String,
    /// Point id.
    pub point_id: PointId,
    /// Level.
    pub level: String,
    /// Found in late readings.
    pub late: bool,
    /// Of a drill.
    pub simulated: bool,
}

impl Key {
    fn of(t: &Transition) -> Self {
        Self {
            rule: t.rule.clone(),
            site: t.site.clone(),
            point: t.point.clone(),
            point_id: t.point_id,
            level: t.level.clone(),
            late: t.marks.late,
            simulated: t.marks.simulated,
        }
    }
}

impl Episode {
    /// How long it lasted, counted to `end` where it is still on.
    pub fn lasted(&self, end: Micros) -> Micros {
        (self.to.unwrap_or(end) - self.from).max(0)
    }
}

/// Folds transitions into episodes.
#[derive(Default)]
pub struct Fold {
    open: HashMap<Arc<Key>, usize>,
    episodes: Vec<Episode>,
}

impl Fold {
    /// Takes the next transition of its latch.
    pub fn push(&mut self, t: &Transition) {
        let key = Key::of(t);
        // What is found late is told once, as over: nothing ends it, and how long it lasted is not known.
        if t.marks.late {
            return self.episodes.push(begun(Arc::new(key), t, Some(t.time)));
        }
        match (self.open.get(&key).copied(), t.to) {
            (Some(i), to) => {
                let episode = &mut self.episodes[i];
                episode.steps += 1;
                episode.peak = t.peak.or(episode.peak);
                if to != To::On {
                    episode.to = Some(t.time);
                    episode.withdrawn = to == To::Withdrawn;
                    self.open.remove(&key);
                }
            }
            (None, To::On) => {
                let key = Arc::new(key);
                self.open.insert(key.clone(), self.episodes.len());
                self.episodes.push(begun(key, t, None));
            }
            // The end of an episode that began before the first transition.
            (None, _) => {}
        }
    }

    /// All episodes, in the order in which they began to be known.
    pub fn finish(self) -> Vec<Episode> {
        self.episodes
    }
}

fn begun(key: Arc<Key>, t: &Transition, to: Option<Micros>) -> Episode {
    Episode {
        key,
        id: t.id,
        from: t.time,
        to,
        withdrawn: false,
        peak: t.peak.or(t.value),
        severity: t.severity,
        reason: t.reason.clone(),
        steps: 1,
    }
}

/// How an episode differs between two versions.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// Only the other version has it.
    Gained(Episode),
    /// Only this version has it.
    Lost(Episode),
    /// Both have it, with another beginning or end: this version's and the other's.
    Moved(Episode, Episode),
}

impl Change {
    /// When the earlier of its episodes begins.
    pub fn from(&self) -> Micros {
        match self {
            Change::Gained(e) | Change::Lost(e) => e.from,
            Change::Moved(a, b) => a.from.min(b.from),
        }
    }

    /// The episode to name it by.
    pub fn episode(&self) -> &Episode {
        match self {
            Change::Gained(e) | Change::Lost(e) | Change::Moved(e, _) => e,
        }
    }
}

/// What the other version decides differently, by time; and how many episodes are the same in both. Episodes of one rule, point and
/// level that overlap are one: where one was cut into several, the first stands for it and the others are gained.
pub fn differences(this: &[Episode], other: &[Episode]) -> (Vec<Change>, usize) {
    let mut by_key: BTreeMap<&Key, [Vec<&Episode>; 2]> = BTreeMap::new();
    for (side, episodes) in [this, other].into_iter().enumerate() {
        for episode in episodes {
            by_key.entry(&*episode.key).or_default()[side].push(episode);
        }
    }
    let (mut changes, mut same) = (Vec::new(), 0);
    for [mut left, mut right] in by_key.into_values() {
        left.sort_by_key(|e| e.from);
        right.sort_by_key(|e| e.from);
        let (mut l, mut r) = (left.into_iter().peekable(), right.into_iter().peekable());
        loop {
            match (l.peek().copied(), r.peek().copied()) {
                (Some(a), Some(b)) if overlap(a, b) => {
                    if (a.from, a.to) == (b.from, b.to) {
                        same += 1;
                    } else {
                        changes.push(Change::Moved(a.clone(), b.clone()));
                    }
                    l.next();
                    r.next();
                }
                (Some(a), Some(b)) if a.from < b.from => {
                    changes.push(Change::Lost(a.clone()));
                    l.next();
                }
                (_, Some(b)) => {
                    changes.push(Change::Gained(b.clone()));
                    r.next();
                }
                (Some(a), None) => {
                    changes.push(Change::Lost(a.clone()));
                    l.next();
                }
                (None, None) => break,
            }
        }
    }
    changes.sort_by(|a, b| (a.from(), &a.episode().key).cmp(&(b.from(), &b.episode().key)));
    (changes, same)
}

fn overlap(a: &Episode, b: &Episode) -> bool {
    let end = |e: &Episode| e.to.unwrap_or(Micros::MAX);
    a.from == b.from || (a.from < end(b) && b.from < end(a))
}
