//! Episodes that have been decided, so that readings which a source sends again (a retry after a lost acknowledgement, a restart) find
//! nothing new: neither a second alarm nor a late-found episode. Only points that were over have an entry.
//!
//! At most [`SPANS_MAX`] spans a level are kept. One more joins the two that lie closest together: then a late episode between two of a
//! chattering sensor may go unnoticed, but nothing is told twice.

use model::Micros;

/// Spans kept for a level: enough for what a link has under way, even of a sensor that chatters.
const SPANS_MAX: usize = 16;

/// Spans of event time in which a level has been over, ascending, apart from each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Known(Vec<(Micros, Micros)>);

impl Known {
    /// Whether a reading over at `time` belongs to a decided episode.
    pub fn covers(&self, time: Micros) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&time))
    }

    /// Adds an episode; what overlaps becomes one.
    pub fn add(&mut self, from: Micros, to: Micros) {
        let (mut from, mut to) = (from, to.max(from));
        self.0.retain(|(a, b)| {
            let apart = *b < from || *a > to;
            if !apart {
                (from, to) = (from.min(*a), to.max(*b));
            }
            apart
        });
        let at = self.0.partition_point(|(a, _)| *a < from);
        self.0.insert(at, (from, to));
        if self.0.len() > SPANS_MAX {
            let gap = |i: &usize| self.0[i + 1].0 - self.0[*i].1;
            if let Some(i) = (0..self.0.len() - 1).min_by_key(gap) {
                self.0[i].1 = self.0.remove(i + 1).1;
            }
        }
    }

    /// A late-found episode goes on: the span that ends last before `time` reaches to it.
    pub fn extend(&mut self, time: Micros) {
        match self.0.iter().rposition(|(_, to)| *to <= time) {
            Some(i) => {
                let from = self.0[i].0;
                self.add(from, time);
            }
            None => self.add(time, time),
        }
    }

    /// For a snapshot.
    pub fn spans(&self) -> &[(Micros, Micros)] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_stay_apart_ordered_and_few() {
        let mut known = Known::default();
        known.add(10, 12);
        known.add(20, 22);
        assert!(known.covers(10) && known.covers(12) && !known.covers(13) && !known.covers(9));
        known.add(11, 20);
        assert_eq!(known.spans(), [(10, 22)]);
        known.extend(25);
        assert_eq!(known.spans(), [(10, 25)]);
        (0..SPANS_MAX as i64).for_each(|i| known.add(100 + i * 10 * (i + 1), 100 + i * 10 * (i + 1)));
        assert_eq!(known.spans().len(), SPANS_MAX);
        assert!(known.spans().windows(2).all(|w| w[0].1 < w[1].0));
        // The two closest became one.
        assert!(known.covers(110));
    }
}
