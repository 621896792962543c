//! Rows that were taken and are not yet in the table.
//!
//! Readings come as the columns of a record (no copy) into the open part; at [`SEAL_ROWS`] rows they are sorted and packed
//! into a [`Chunk`]. What is pushed between two flushes is a [`Generation`]; one generation is being committed while the next
//! one fills. Queries hold what they use by reference.

mod chunk;
mod generation;
mod open;
mod rows;

pub use chunk::Chunk;
pub use generation::{Generation, Suspect};
pub use open::{Numbers, Open, Segment};
pub use rows::{Arrival, ArrivalKind, Event, PositionRow, QuarantineRow};

/// The open part is sealed at so many rows: small enough to sort without a pause that is felt (about 3 ms), large enough
/// for a chunk's own cost to vanish, and a row's place in it fits 16 bits.
pub const SEAL_ROWS: usize = 1 << 16;

const _: () = assert!(SEAL_ROWS - 1 <= u16::MAX as usize);
