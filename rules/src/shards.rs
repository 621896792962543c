//! Which points of a catalog stand in which shard of a snapshot.

use std::ops::Range;

/// Points of one shard: copying a shard stops the evaluator for well under 5 ms.
const SHARD_POINTS: usize = 4096;

/// The shard of a point.
pub(crate) fn shard_of(ix: u32) -> usize {
    ix as usize / SHARD_POINTS
}

/// Number of shards.
pub(crate) fn shards_of(points: usize) -> usize {
    points.div_ceil(SHARD_POINTS).max(1)
}

/// Points of a shard.
pub(crate) fn shard_range(shard: usize, points: usize) -> Range<usize> {
    (shard * SHARD_POINTS).min(points)..((shard + 1) * SHARD_POINTS).min(points)
}
