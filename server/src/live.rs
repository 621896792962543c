//! What is true now: the last value of each point as a dense array, and where people are. Fed by the reader of the log that
//! also feeds storage; read by the API, the stream of events and the page.

use crate::people::People;
use model::people::Position;
use model::{Catalog, Follow, Micros, PointId, Record, status};
use std::sync::{Arc, Mutex, RwLock};

/// The last reading of a point.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Last {
    /// Event time.
    pub time: Micros,
    /// When the edge received it.
    pub received: Micros,
    /// Value, NaN where missing.
    pub value: f64,
    /// Status word.
    pub status: i32,
}

const NEVER: Last =
    Last { time: Micros::MIN, received: Micros::MIN, value: f64::NAN, status: status::MISSING };

#[derive(Debug)]
struct Values {
    catalog: Arc<Catalog>,
    follow: Follow,
    last: Vec<Last>,
}

/// Last values and people.
#[derive(Debug)]
pub struct Live {
    catalog: Arc<RwLock<Arc<Catalog>>>,
    values: Mutex<Values>,
    people: Mutex<People>,
}

impl Live {
    /// Nothing known yet.
    pub fn new(catalog: Arc<RwLock<Arc<Catalog>>>) -> Arc<Self> {
        let now = catalog.read().expect("no holder of this lock panics").clone();
        let last = vec![NEVER; now.points().len()];
        Arc::new(Self {
            catalog,
            values: Mutex::new(Values { follow: Follow::new(last.len()), catalog: now, last }),
            people: Mutex::default(),
        })
    }

    /// Takes in a record of the log.
    pub fn see(&self, record: &Record) {
        match record {
            Record::Readings { runs, readings } => {
                let mut values = self.values();
                let mut row = 0;
                for run in runs {
                    for _ in 0..run.rows {
                        let (id, time, value, status) = readings.row(row);
                        row += 1;
                        values.put(id, Last { time, received: run.received, value, status });
                    }
                }
            }
            Record::Positions { positions, .. } => {
                self.people.lock().expect("no holder of this lock panics").take(positions);
            }
            _ => {}
        }
    }

    /// Puts back what the table says was last, at start; newer values stay.
    pub fn restore(&self, id: PointId, last: Last) {
        self.values().put(id, last);
    }

    fn values(&self) -> std::sync::MutexGuard<'_, Values> {
        let now = self.catalog.read().expect("no holder of this lock panics").clone();
        let mut values = self.values.lock().expect("no holder of this lock panics");
        if !Arc::ptr_eq(&now, &values.catalog) {
            let mut last = vec![NEVER; now.points().len()];
            for (id, old) in values.catalog.ids().iter().zip(&values.last) {
                if let Some(ix) = now.ix(*id) {
                    last[ix as usize] = *old;
                }
            }
            *values = Values { follow: Follow::new(last.len()), catalog: now, last };
        }
        values
    }

    /// The catalog and the last values of its points, in its order; `None` for a point that never spoke.
    pub fn all(&self) -> (Arc<Catalog>, Vec<Option<Last>>) {
        let values = self.values();
        let last = values.last.iter().map(|l| (l.time != Micros::MIN).then_some(*l)).collect();
        (values.catalog.clone(), last)
    }

    /// The last value of one point.
    pub fn last(&self, id: PointId) -> Option<Last> {
        let values = self.values();
        values.catalog.ix(id).map(|ix| values.last[ix as usize]).filter(|l| l.time != Micros::MIN)
    }

    /// Reads people's state.
    pub fn people<T>(&self, read: impl FnOnce(&People) -> T) -> T {
        read(&self.people.lock().expect("no holder of this lock panics"))
    }

    /// Puts back where a card was seen last before the start; see [`People::restore`].
    pub fn restore_person(&self, last: Position) {
        self.people.lock().expect("no holder of this lock panics").restore(last);
    }
}

impl Values {
    fn put(&mut self, id: PointId, new: Last) {
        // Back-fill corrects history, never what is true now.
        if new.status & status::HISTORICAL != 0 {
            return;
        }
        if let Some(ix) = self.follow.ix(&self.catalog, id) {
            let last = &mut self.last[ix as usize];
            if new.time >= last.time {
                *last = new;
            }
        }
    }
}
