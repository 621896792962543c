//! What is done with unknown points by itself, every [`LOOK`]: under `catalog.unknown = "register"` each point of a known site is
//! registered, up to [`SELF_REGISTERED_MAX`] of them; and whatever came to quarantine as unknown while its point was being
//! registered (a source had looked at the catalog of before) is released.
//!
//! Storage says which points came to quarantine, so nothing is searched for while none do. All that waits is looked through at the
//! start and when files of catalog or rules that a person changed have come into force: a point or a site may be known now, or a
//! mistake mended. Where more wait than are looked at at once, those of which something can be done are looked at until none is
//! left. A reason why a point is not registered is told once.

use super::{NewPoint, Registrar};
use crate::config::{Config, Loaded, Stamps, registered_file, stamps};
use crate::runners::own::OwnAlarms;
use model::{Catalog, Stream};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use storage::STRANGERS_MAX;
use stream::Log;
use tokio_util::sync::CancellationToken;

/// How often it is looked whether there are any.
const LOOK: Duration = Duration::from_secs(2);
/// Quantity of a point of which nothing is known. No rule by quantity, place or type selects it; rules by site, region or kind do,
/// as they say: that such a point falls silent, too, is for people to know.
const UNKNOWN: &str = "unknown";
/// Points that register themselves, beyond which the others wait in quarantine: a device that makes up names must not fill the catalog.
/// A large mine has a few thousand points.
const SELF_REGISTERED_MAX: usize = 10_000;

/// Site and point.
type Key = (String, String);

/// What is waited for.
pub struct Watch {
    registrar: Arc<Registrar>,
    own: OwnAlarms,
    /// Whether points are registered, or only released.
    registers: bool,
    /// To be looked at.
    waiting: BTreeSet<Key>,
    /// The files in force when all that waits was looked through.
    looked: Option<Stamps>,
    /// That look did not show all.
    are_left: bool,
    /// Files that cannot be read, whatever is registered.
    broken: Option<Stamps>,
    /// Why points are not registered.
    told: BTreeMap<Key, String>,
    /// Those of them that are not to be tried before files change.
    failed: BTreeSet<Key>,
    /// No more may register themselves.
    full: bool,
    /// That is told.
    is_full_told: bool,
}

impl Watch {
    /// Looks at nothing yet.
    pub fn new(registrar: Arc<Registrar>, own: OwnAlarms, registers: bool) -> Self {
        Self {
            registrar,
            own,
            registers,
            waiting: BTreeSet::new(),
            looked: None,
            are_left: false,
            broken: None,
            told: BTreeMap::new(),
            failed: BTreeSet::new(),
            full: false,
            is_full_told: false,
        }
    }

    /// Looks until stopped, or until nothing is stored any more.
    pub async fn run(mut self, log: Arc<dyn Log>, stop: CancellationToken) {
        let ends = async {
            for p in 0..log.partitions() {
                while let Err(e) = self.until_stored(&log, p).await {
                    tracing::debug!("where the log ends is not known yet: {e}");
                    tokio::time::sleep(LOOK).await;
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = ends => {}
        }
        self.registrar.begin().await;
        // Raised again by the first look where it is still so.
        self.own.clear("register-full", "points", "firedamp was started again".to_owned());
        while self.registrar.storage.stopped().is_none() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = async { tokio::time::sleep(LOOK).await; self.round().await } => {}
            }
        }
    }

    /// Waits until the table has what the log holds now.
    async fn until_stored(&self, log: &Arc<dyn Log>, partition: u32) -> Result<(), stream::LogError> {
        let end = log.bounds(Stream::Readings, partition).await?.next;
        while self.registrar.storage.next_offset(partition) < end
            && self.registrar.storage.stopped().is_none()
        {
            tokio::time::sleep(LOOK / 10).await;
        }
        Ok(())
    }

    async fn round(&mut self) {
        let in_force = self.registrar.active.in_force();
        let catalog = self.registrar.push.catalog();
        self.gather(&in_force, &catalog).await;
        if self.is_full_told && !self.full && self.waiting.is_empty() {
            self.is_full_told = false;
            self.own.clear("register-full", "points", "there is room for points again".to_owned());
        }
        if self.waiting.is_empty() {
            return;
        }
        let (known, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(s, p)| catalog.find(s, p).is_some());
        self.release(known).await;
        if !self.registers {
            return;
        }
        let (new, strange): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|(site, _)| catalog.site(site).is_some());
        let sites: BTreeSet<String> = strange.into_iter().map(|(site, _)| site).collect();
        sites.into_iter().for_each(|site| self.tell_strange(site));
        let new: Vec<Key> = new.into_iter().filter(|key| !self.failed.contains(key)).collect();
        let new = self.within_room(&catalog, new);
        self.register(new).await;
    }

    /// Which points came to quarantine since the last time, or at the start and after a change of files: all that wait there.
    async fn gather(&mut self, in_force: &Stamps, catalog: &Catalog) {
        let storage = &self.registrar.storage;
        let (new, are_all) = storage.new_strangers();
        self.waiting.extend(new);
        let is_changed = self.looked.as_ref() != Some(in_force);
        if is_changed {
            self.failed.clear();
            self.full = false;
        }
        if are_all && !self.are_left && !is_changed {
            return;
        }
        // Of what can neither be released nor registered now the next change of files may say more.
        let mut strange = BTreeSet::new();
        let looked_for = |key: &Key| {
            let may_register = self.registers && !self.full && !self.failed.contains(key);
            let is_site = catalog.site(&key.0).is_some();
            if !is_site && self.registers && strange.len() < STRANGERS_MAX {
                strange.insert(key.0.clone());
            }
            (is_site && may_register) || catalog.find(&key.0, &key.1).is_some()
        };
        match storage.strangers(STRANGERS_MAX + 1, looked_for).await {
            Ok(all) => {
                self.are_left = all.len() > STRANGERS_MAX;
                self.waiting.extend(all);
                self.looked = Some(in_force.clone());
                strange.into_iter().for_each(|site| self.tell_strange(site));
            }
            Err(e) => {
                self.looked = None;
                tracing::warn!("unknown points cannot be listed: {e}");
            }
        }
    }

    fn tell_strange(&mut self, site: String) {
        let why = format!("site `{site}` is not in the catalog");
        self.tell((site, String::new()), why);
    }

    async fn release(&mut self, known: Vec<Key>) {
        if known.is_empty() {
            return;
        }
        match self.registrar.release(&known).await {
            Ok(Some((rows, are_all))) => {
                if rows > 0 {
                    tracing::info!(points = known.len(), rows, "readings of points now known released");
                }
                if !are_all {
                    self.waiting.extend(known);
                }
            }
            Ok(None) => self.waiting.extend(known),
            Err(e) => {
                self.tell(known[0].clone(), format!("readings are not released: {e:#}"));
                self.waiting.extend(known);
            }
        }
    }

    /// As many as may still register themselves; of the others the alarm tells.
    fn within_room(&mut self, catalog: &Catalog, mut new: Vec<Key>) -> Vec<Key> {
        if new.is_empty() {
            return new;
        }
        let there = catalog.points().iter().filter(|p| p.quantity == UNKNOWN).count();
        let room = SELF_REGISTERED_MAX.saturating_sub(there);
        self.full = new.len() > room;
        if self.full {
            let site = &new[room].0;
            let reason = format!(
                "{SELF_REGISTERED_MAX} points have registered themselves, the others wait in quarantine, the next of site \
                 `{site}`. Give those that are real a row of a points file and take the others out of `registered.csv`; where \
                 names are made up, look at the device"
            );
            self.own.raise("register-full", "points", reason);
            self.is_full_told = true;
            new.truncate(room);
        }
        new
    }

    /// Registers them; where not all can be, those that can.
    async fn register(&mut self, new: Vec<Key>) {
        let config = self.registrar.config.clone();
        if new.is_empty() {
            return;
        }
        if self.broken.as_ref().is_some_and(|broken| *broken == stamps(&config)) {
            self.waiting.extend(new);
            return;
        }
        self.broken = None;
        let mut parts = vec![new];
        while let Some(mut part) = parts.pop() {
            let points: Vec<NewPoint> = part.iter().map(point).collect();
            let why = match self.registrar.register(&points).await {
                Ok(released) => {
                    tracing::info!(points = part.len(), released, "unknown points registered");
                    part.iter().for_each(|key| drop(self.told.remove(key)));
                    self.note_own_change(&config);
                    continue;
                }
                Err(why) => why,
            };
            if self.registrar.has(&part[0]) {
                // Registered, and not released: the next round does that.
                self.tell(part[0].clone(), format!("{why:#}"));
                self.waiting.extend(part);
                continue;
            }
            if self.broken.is_none() && Loaded::read(&config).0.is_none() {
                tracing::warn!("unknown points wait until the files of catalog and rules are right: {why:#}");
                self.broken = Some(stamps(&config));
            }
            if self.broken.is_some() {
                self.waiting.extend(part);
            } else if part.len() == 1 {
                self.tell(part[0].clone(), format!("{why:#}"));
                // Bounded: what is forgotten is tried a second time.
                if self.failed.len() >= STRANGERS_MAX {
                    self.failed.clear();
                }
                self.failed.extend(part);
            } else {
                let later = part.split_off(part.len() / 2);
                parts.extend([later, part]);
            }
        }
    }

    /// The file of registered points as this itself left it is no reason to look through everything again.
    fn note_own_change(&mut self, config: &Config) {
        let file = registered_file(config);
        let written = self.registrar.active.in_force().into_iter().find(|(path, _)| *path == file);
        let looked = self.looked.iter_mut().flatten().find(|(path, _)| *path == file);
        if let (Some(looked), Some(written)) = (looked, written) {
            *looked = written;
        }
    }

    /// Says why a point stays in quarantine, each reason once.
    fn tell(&mut self, key: Key, why: String) {
        if self.told.get(&key) == Some(&why) {
            return;
        }
        tracing::warn!(site = key.0, point = key.1, "an unknown point stays in quarantine: {why}");
        // Bounded: what is forgotten is told a second time.
        if self.told.len() >= STRANGERS_MAX {
            self.told.clear();
        }
        self.told.insert(key, why);
    }
}

fn point((site, point): &Key) -> NewPoint {
    NewPoint { site: site.clone(), point: point.clone(), quantity: UNKNOWN.to_owned(), ..NewPoint::default() }
}
