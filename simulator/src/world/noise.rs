//! Noise that is a function of seed, key and time, so that a world needs no history to know the present.

/// Mixes a number into a seed (splitmix64).
pub(crate) fn mix(seed: u64, key: u64) -> u64 {
    let mut z = seed ^ key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number in [0, 1) for a seed and a key.
pub(crate) fn unit(seed: u64, key: u64) -> f64 {
    (mix(seed, key) >> 11) as f64 / (1u64 << 53) as f64
}

/// A number in [low, high) for a seed and a key.
pub(crate) fn between(seed: u64, key: u64, low: f64, high: f64) -> f64 {
    low + (high - low) * unit(seed, key)
}

/// A smooth curve in [-1, 1] through a new random value every `scale` seconds.
pub(crate) fn smooth(seed: u64, t: f64, scale: f64) -> f64 {
    let x = t / scale;
    let cell = x.floor();
    let knot = |i: f64| 2.0 * unit(seed, i as i64 as u64) - 1.0;
    let f = ease(x - cell);
    knot(cell) * (1.0 - f) + knot(cell + 1.0) * f
}

/// What a sensor sees: a slow part, a quicker one and the last digit's jitter, in [-1, 1].
pub(crate) fn sensor(seed: u64, t: f64) -> f64 {
    0.5 * smooth(mix(seed, 1), t, 90.0)
        + 0.35 * smooth(mix(seed, 2), t, 17.0)
        + 0.15 * smooth(mix(seed, 3), t, 2.5)
}

/// 0 to 1 for x from 0 to 1, flat at both ends; 0 before, 1 after.
pub(crate) fn ease(x: f64) -> f64 {
    let x = x.clamp(0.0, 1.0);
    x * x * (3.0 - 2.0 * x)
}

/// Rounds to a sensor's resolution, given as parts of one (100: two decimals).
pub(crate) fn resolve(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_bounded_smooth_and_decided_by_its_seed() {
        let (mut low, mut high) = (f64::MAX, f64::MIN);
        for i in 0..20_000 {
            let t = f64::from(i) * 0.5;
            let v = sensor(7, t);
            assert!((-1.0..=1.0).contains(&v));
            assert!((v - sensor(7, t + 0.01)).abs() < 0.02, "jumps at {t}");
            (low, high) = (low.min(v), high.max(v));
        }
        assert!(low < -0.5 && high > 0.5, "hardly moves: {low} {high}");
        assert_eq!(sensor(7, 12.5), sensor(7, 12.5));
        assert_ne!(sensor(7, 12.5), sensor(8, 12.5));
    }
}
