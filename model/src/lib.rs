//! What every part of firedamp speaks: sites and points, readings as columns, log records, transitions,
//! alarms, the clock. No I/O but reading secrets and certificates that a configuration names; a catalog is handed over as text.
//!
//! The meaning of each type is fixed here once: ids and partitions in [`ids`], the status word in
//! [`status`], the wire format of a record in [`record`]. All times are microseconds since 1970, UTC.

#![warn(missing_docs)]

pub mod alarm;
pub mod catalog;
pub mod clock;
pub mod csv_file;
pub mod follow;
pub mod ids;
pub mod kafka;
pub mod keys;
pub mod mqtt;
pub mod pem;
pub mod people;
pub mod problem;
pub mod readings;
pub mod record;
pub mod secret;
pub mod status;
pub mod time;
pub mod toml_file;
pub mod transition;
pub mod units;

pub use alarm::{Alarm, AlarmState, Case, CaseState, Condition, Place, Shelved};
pub use catalog::{Catalog, Point, Site};
pub use clock::{Clock, ManualClock, SystemClock};
pub use follow::Follow;
pub use ids::{Offset, Origin, PointId, TransitionId};
pub use people::{Position, Presence};
pub use problem::{Problem, Problems};
pub use readings::{Readings, ReadingsBuilder};
pub use record::{Entry, Record, Run, Stream};
pub use time::Micros;
pub use transition::{Severity, To, Transition};
