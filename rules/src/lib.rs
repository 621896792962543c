//! Rules: files to a compiled [`Program`], readings and ticks to [`Transition`]s by an [`Evaluator`]. Pure: no clock, no I/O, no
//! async, no randomness; the same entries give the same transitions, to the bit, whole or cut anywhere.
//!
//! - [`kinds`]: what makes a value worth a level. A kind is one file and one line; it gives a [`Verdict`] for each level and knows
//!   nothing of delays, latches, calibration, late readings or ids.
//! - [`latch`]: what a verdict does to a level: the same for every kind. Exact semantics in `docs/rules.md`.
//! - [`evaluator`]: feeds readings and ticks of one partition through both, keeps its clocks, snapshots by shard.
//! - `people`: who is below, from records of positions, and the rules about that ([`kinds::people`]); readings do not touch it.
//! - [`testing`], [`series`]: tests of rules that a user writes. [`Paced`]: readings that come without a log. [`episodes`]: what
//!   transitions amount to, and how two versions of rules differ.
//!
//! [`Transition`]: model::Transition

mod activate;
mod adopt;
mod bytes;
mod clocks;
mod compare;
mod compile;
mod def;
mod elapse;
mod emit;
pub mod episodes;
mod evaluator;
pub mod kinds;
mod lane;
pub mod latch;
mod latches;
mod legal;
mod level;
mod paced;
mod past;
mod people;
mod reading;
mod select;
pub mod series;
mod shards;
mod show;
mod snapshot;
pub mod testing;

pub use adopt::OpenLevels;
pub use clocks::{JUMP, LATE_AFTER};
pub use compile::{Program, RuleFile, RuleInfo};
pub use evaluator::Evaluator;
pub use paced::Paced;
pub use reading::{At, Grade, Reading, Verdict};
pub use show::{Condition, RuleAtPoint, marks};

/// The shipped rule packs, name and text; none is on unless a configuration names it.
pub fn packs() -> &'static [(&'static str, &'static str)] {
    &[
        ("coal", include_str!("../packs/coal.toml")),
        ("coal-unverified", include_str!("../packs/coal-unverified.toml")),
        ("chemical", include_str!("../packs/chemical.toml")),
        ("chemical-unverified", include_str!("../packs/chemical-unverified.toml")),
        ("regulator", include_str!("../packs/regulator.toml")),
        ("health", include_str!("../packs/health.toml")),
        ("people", include_str!("../packs/people.toml")),
        ("people-unverified", include_str!("../packs/people-unverified.toml")),
    ]
}
