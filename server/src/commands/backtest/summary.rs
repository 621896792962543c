//! Figures of the episodes: by rule, site and hour; the longest; what chatters.

use model::Severity;
use model::time::{DAY, MINUTE, Micros};
use rules::episodes::{Episode, Key};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The longest episodes that are listed.
const LONGEST_MAX: usize = 10;
/// A level of a point chatters when it goes on so often within so long.
pub const CHATTER: (usize, Micros) = (3, 10 * MINUTE);
/// Chattering levels that are listed.
const CHATTERING_MAX: usize = 20;
/// Seconds that the hours and days shown are ahead of UTC: China.
pub const ZONE: Micros = 8 * 60 * MINUTE;

/// Of one level of a rule.
#[derive(Clone, Debug)]
pub struct OfLevel {
    pub rule: String,
    pub level: String,
    pub severity: Severity,
    pub episodes: usize,
    pub points: usize,
    pub open: usize,
    pub lasted: Micros,
    pub longest: Micros,
}

/// A level that goes on and off.
#[derive(Clone, Debug)]
pub struct Chattering {
    pub key: Arc<Key>,
    /// Most times within ten minutes.
    pub most: usize,
    pub episodes: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Summary {
    pub levels: Vec<OfLevel>,
    pub sites: Vec<(String, usize)>,
    /// Episodes that began in each hour of the day, China time.
    pub hours: [usize; 24],
    /// Episodes that began on each day with any, China time, as days since 1970.
    pub days: BTreeMap<i64, usize>,
    pub longest: Vec<Episode>,
    pub chattering: Vec<Chattering>,
    pub episodes: usize,
    /// When what is still on is counted to.
    pub end: Micros,
}

impl Summary {
    /// Of all episodes; those still on last to `end`.
    pub fn of(episodes: &[Episode], end: Micros) -> Self {
        let mut levels: BTreeMap<(&str, &str), (OfLevel, std::collections::BTreeSet<i64>)> = BTreeMap::new();
        let (mut sites, mut days) = (BTreeMap::<&str, usize>::new(), BTreeMap::new());
        let mut hours = [0; 24];
        let mut of_key: BTreeMap<&Arc<Key>, Vec<Micros>> = BTreeMap::new();
        for e in episodes {
            let (level, points) = levels.entry((&e.key.rule, &e.key.level)).or_insert_with(|| {
                let (rule, level) = (e.key.rule.clone(), e.key.level.clone());
                let level = OfLevel {
                    rule,
                    level,
                    severity: e.severity,
                    episodes: 0,
                    points: 0,
                    open: 0,
                    lasted: 0,
                    longest: 0,
                };
                (level, Default::default())
            });
            level.episodes += 1;
            level.open += usize::from(e.to.is_none());
            level.lasted += e.lasted(end);
            level.longest = level.longest.max(e.lasted(end));
            points.insert(e.key.point_id.0);
            *sites.entry(&e.key.site).or_default() += 1;
            let local = e.from + ZONE;
            hours[(local.rem_euclid(DAY) / (60 * MINUTE)) as usize] += 1;
            *days.entry(local.div_euclid(DAY)).or_default() += 1;
            of_key.entry(&e.key).or_default().push(e.from);
        }
        let mut longest: Vec<&Episode> = episodes.iter().collect();
        longest.sort_by_key(|e| (-e.lasted(end), e.from));
        let mut sites: Vec<(String, usize)> = sites.into_iter().map(|(s, n)| (s.to_owned(), n)).collect();
        sites.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        Self {
            levels: levels.into_values().map(|(l, points)| OfLevel { points: points.len(), ..l }).collect(),
            sites,
            hours,
            days,
            longest: longest.into_iter().take(LONGEST_MAX).cloned().collect(),
            chattering: chattering(of_key),
            episodes: episodes.len(),
            end,
        }
    }
}

fn chattering(of_key: BTreeMap<&Arc<Key>, Vec<Micros>>) -> Vec<Chattering> {
    let mut found = Vec::new();
    for (key, mut begins) in of_key {
        begins.sort_unstable();
        // The most that lie within the time, by two ends that move together.
        let (mut first, mut most) = (0, 0);
        for (i, time) in begins.iter().enumerate() {
            while time - begins[first] > CHATTER.1 {
                first += 1;
            }
            most = most.max(i + 1 - first);
        }
        if most >= CHATTER.0 {
            found.push(Chattering { key: key.clone(), most, episodes: begins.len() });
        }
    }
    found.sort_by_key(|c| std::cmp::Reverse((c.most, c.episodes)));
    found.truncate(CHATTERING_MAX);
    found
}

/// `3 d 4 h`, `12 min 5 s`, `0.4 s`.
pub fn lasting(d: Micros) -> String {
    const UNITS: [(Micros, &str); 4] = [(DAY, "d"), (60 * MINUTE, "h"), (MINUTE, "min"), (MINUTE / 60, "s")];
    for (i, (size, name)) in UNITS.iter().enumerate() {
        if d >= *size {
            let mut text = format!("{} {name}", d / size);
            if let Some((next, name)) = UNITS.get(i + 1).filter(|(next, _)| d % size >= *next) {
                text += &format!(" {} {name}", d % size / next);
            }
            return text;
        }
    }
    format!("{} s", d as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_two_units() {
        let s = MINUTE / 60;
        for (d, said) in [
            (0, "0 s"),
            (400_000, "0.4 s"),
            (59 * s, "59 s"),
            (60 * s, "1 min"),
            (125 * s, "2 min 5 s"),
            (3600 * s, "1 h"),
            (DAY + 5 * s, "1 d"),
            (3 * DAY + 4 * 3600 * s, "3 d 4 h"),
        ] {
            assert_eq!(lasting(d), said);
        }
    }
}
