//! When a partition takes its snapshots: each in the partition's own share of the period, one shard after the other, evenly. All at
//! once let alarms wait for seconds.
//!
//! By a monotonic clock: a wall clock that is set must neither stop snapshots nor crowd them.

use std::time::Duration;
use tokio::time::Instant;

/// Parts of the period at least, however few the partitions: a pass is short beside the period, since an activation throws away one
/// that is under way and the shards of one stand at different offsets.
const SHARES_MIN: u32 = 8;

/// See the module.
pub struct Schedule {
    every: Duration,
    /// In which a pass is taken.
    share: Duration,
    /// The shares of the partitions before this one.
    others: Duration,
    /// When the next pass begins; `None` is later than any clock can say.
    due: Option<Instant>,
    /// Since when a pass is under way, and how many shards it has.
    pass: Option<(Instant, usize)>,
    /// From when on a pass is paced no more: a period after the first activation that threw one away since the last whole one.
    unpaced: Option<Instant>,
}

impl Schedule {
    /// Of one of so many partitions, whose first pass is taken within the next period.
    pub fn new(every: Duration, partition: u32, partitions: u32, now: Instant) -> Self {
        let every = every.max(Duration::from_micros(1));
        let share = every / partitions.max(SHARES_MIN);
        let others = share.saturating_mul(partition);
        let due = now.checked_add(others.saturating_add(share));
        Self { every, share, others, due, pass: None, unpaced: None }
    }

    /// Whether the next of so many shards is due.
    pub fn is_due(&self, shards: usize, now: Instant) -> bool {
        // A pass that activations threw away for a whole period is paced no more: it would never end. One that is late for another reason
        // is: what kept it waiting kept those of all partitions, and all at once would let alarms wait.
        if self.unpaced.is_some_and(|from| from < now) {
            return true;
        }
        let at = match self.pass {
            None => self.due,
            Some((began, taken)) => {
                let part = self.share.mul_f64(taken as f64 / shards.max(1) as f64);
                began.checked_add(part)
            }
        };
        at.is_some_and(|at| at <= now)
    }

    /// One of so many shards was taken. Whether it was the last one of the pass.
    pub fn taken(&mut self, shards: usize, now: Instant) -> bool {
        let (began, taken) = self.pass.map_or((now, 1), |(began, taken)| (began, taken + 1));
        self.pass = (taken < shards).then_some((began, taken));
        if self.pass.is_some() {
            return false;
        }
        self.unpaced = None;
        // In its own time again, however long this one took.
        let late = self.due.map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
        let into_period = Duration::from_nanos((late.as_nanos() % self.every.as_nanos()) as u64);
        self.due = now.checked_add(self.every.saturating_sub(into_period));
        true
    }

    /// What was taken so far counts no more, and a whole snapshot is wanted soon: at once would be together with all other partitions.
    /// Never later than it was wanted already, or activations one after the other would put it off for ever.
    pub fn begin_anew(&mut self, now: Instant) {
        self.pass = None;
        let soon = now.checked_add(self.others);
        self.due = [self.due, soon].into_iter().flatten().min();
        if self.unpaced.is_none() {
            self.unpaced = self.due.max(Some(now)).and_then(|wanted| wanted.checked_add(self.every));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    /// When shards are taken by who looks each tenth of a second, in tenths.
    fn taken(
        schedule: &mut Schedule,
        shards: usize,
        from: Instant,
        tenths: std::ops::Range<u32>,
    ) -> Vec<u32> {
        let mut at = Vec::new();
        for tenth in tenths {
            let now = from + S / 10 * tenth;
            if schedule.is_due(shards, now) {
                schedule.taken(shards, now);
                at.push(tenth);
            }
        }
        at
    }

    #[test]
    fn partitions_follow_each_other_and_each_takes_its_shards_evenly_in_its_share() {
        let from = Instant::now();
        for partition in [0, 3, 7] {
            let mut schedule = Schedule::new(8 * S, partition, 8, from);
            let first = 10 * (partition + 1);
            let pass = |began: u32| [began, began + 3, began + 5, began + 8];
            let two = [pass(first), pass(first + 80)].concat();
            assert_eq!(taken(&mut schedule, 4, from, 0..first + 90), two, "{partition}");
        }
        // Of few partitions none takes more than an eighth, of many none more than its part.
        let shares = [1, 4, 16].map(|partitions| Schedule::new(8 * S, 0, partitions, from).share);
        assert_eq!(shares, [S, S, S / 2]);
    }

    #[test]
    fn a_pass_that_took_too_long_is_followed_in_its_own_time_again() {
        let from = Instant::now();
        let mut schedule = Schedule::new(8 * S, 0, 8, from);
        assert!(schedule.is_due(2, from + S) && !schedule.taken(2, from + S));
        assert!(schedule.is_due(2, from + 20 * S) && schedule.taken(2, from + 20 * S));
        assert_eq!(taken(&mut schedule, 1, from, 200..340), [250, 330]);
    }

    #[test]
    fn a_pass_that_nothing_threw_away_is_paced_however_late_it_is() {
        let from = Instant::now();
        let mut schedule = Schedule::new(8 * S, 0, 8, from);
        // Nobody looked for half a minute.
        assert_eq!(taken(&mut schedule, 4, from, 300..310), [300, 303, 305, 308]);
        // Nor does an activation change that at once, which comes to all partitions together.
        assert_eq!(taken(&mut schedule, 4, from, 500..502), [500]);
        schedule.begin_anew(from + 50 * S);
        assert_eq!(taken(&mut schedule, 4, from, 502..520), [502, 505, 507, 510]);
    }

    #[test]
    fn an_activation_begins_anew_and_never_puts_off() {
        let from = Instant::now();
        let mut schedule = Schedule::new(8 * S, 2, 8, from);
        // Wanted at 3 s; begun anew at 2 s it would be wanted at 4 s.
        schedule.begin_anew(from + 2 * S);
        assert_eq!(taken(&mut schedule, 2, from, 0..31), [30]);
        // Of the pass under way nothing counts, and it is wanted at once.
        schedule.begin_anew(from + S * 31 / 10);
        assert_eq!(taken(&mut schedule, 2, from, 31..100), [31, 36]);
        // Wanted at 11 s; two seconds after an activation is earlier.
        schedule.begin_anew(from + 5 * S);
        assert_eq!(taken(&mut schedule, 2, from, 50..80), [70, 75]);
    }

    #[test]
    fn activations_that_come_faster_than_a_pass_put_off_no_snapshot_for_longer_than_a_period() {
        let from = Instant::now();
        let mut schedule = Schedule::new(8 * S, 0, 8, from);
        let mut ended = Vec::new();
        for tenth in 0..200 {
            let now = from + S / 10 * tenth;
            // Twice in the share of a second that a pass is paced over.
            if tenth % 5 == 0 {
                schedule.begin_anew(now);
            }
            while schedule.is_due(16, now) {
                if schedule.taken(16, now) {
                    ended.push(tenth);
                }
            }
        }
        assert!(ended.first().is_some_and(|tenth| (80..=91).contains(tenth)), "{ended:?}");
    }

    #[test]
    fn a_period_no_clock_can_say_is_never() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Duration::MAX, 7, 8, now);
        assert!(!schedule.is_due(1, now + 1_000_000 * S));
        schedule.begin_anew(now);
        assert!(!schedule.is_due(1, now + 1_000_000 * S));
    }
}
