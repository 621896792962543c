//! Percentiles, slopes, rates of samples.

use serde_json::{Value, json};
use std::time::Duration;

/// A percentile by rank: the smallest sample that so many per cent do not exceed. Of sorted samples.
#[must_use]
pub fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let rank = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// Count, percentiles and largest of durations, in milliseconds.
#[must_use]
pub fn latencies(samples: &[Duration]) -> Value {
    let mut ms: Vec<f64> = samples.iter().map(|d| d.as_secs_f64() * 1e3).collect();
    ms.sort_by(f64::total_cmp);
    let p = |percent| (percentile(&ms, percent) * 1e3).round() / 1e3;
    json!({ "n": ms.len(), "p50": p(50.0), "p99": p(99.0), "p99_9": p(99.9), "max": p(100.0) })
}

/// Durations as microseconds in one text, so that thousands of raw samples are one line of a result.
#[must_use]
pub fn raw_us(samples: &[Duration]) -> String {
    samples.iter().map(|d| d.as_micros().to_string()).collect::<Vec<_>>().join(" ")
}

/// Slope of a least-squares line through `(seconds, amount)`, in per cent of the mean amount a minute.
#[must_use]
pub fn percent_a_minute(samples: &[(f64, f64)]) -> f64 {
    let n = samples.len() as f64;
    let mean = |f: fn(&(f64, f64)) -> f64| samples.iter().map(f).sum::<f64>() / n;
    let (x, y) = (mean(|s| s.0), mean(|s| s.1));
    let (mut over, mut under) = (0.0, 0.0);
    for s in samples {
        over += (s.0 - x) * (s.1 - y);
        under += (s.0 - x) * (s.0 - x);
    }
    over / under * 60.0 / y * 100.0
}

/// The samples after two minutes, or of the second half where the run is shorter than four.
#[must_use]
pub fn later(samples: &[Value]) -> Vec<&Value> {
    let end = samples.last().map_or(0.0, |s| number(s, "s"));
    let from = if end >= 240.0 { 120.0 } else { end / 2.0 };
    samples.iter().filter(|s| number(s, "s") >= from).collect()
}

/// A number of a sample by its key; 0 where there is none.
#[must_use]
pub fn number(sample: &Value, key: &str) -> f64 {
    sample[key].as_f64().unwrap_or(0.0)
}

/// What grew a second between samples that have a time `s`, from the first to the last: the steady rate of a counter.
#[must_use]
pub fn rate(samples: &[&Value], key: &str) -> f64 {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return f64::NAN };
    (number(last, key) - number(first, key)) / (number(last, "s") - number(first, "s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_by_rank() {
        let samples: Vec<f64> = (1..=1000).map(f64::from).collect();
        let of = |p| percentile(&samples, p);
        assert_eq!((of(50.0), of(99.0), of(99.9), of(100.0)), (500.0, 990.0, 999.0, 1000.0));
        assert_eq!(percentile(&[7.0], 99.9), 7.0);
        assert!(percentile(&[], 50.0).is_nan());
    }

    #[test]
    fn a_slope_is_told_in_per_cent_of_the_mean_a_minute() {
        let grows: Vec<(f64, f64)> = (0..100).map(|s| (f64::from(s), 1000.0 + f64::from(s) - 49.5)).collect();
        assert!((percent_a_minute(&grows) - 6.0).abs() < 1e-9);
        assert_eq!(percent_a_minute(&[(0.0, 5.0), (1.0, 5.0)]), 0.0);
    }

    #[test]
    fn rates_are_of_the_later_part() {
        let samples: Vec<Value> = (0..=30).map(|s| json!({ "s": s * 10, "n": s * s * 10 })).collect();
        let later = later(&samples);
        assert_eq!((later.len(), number(later[0], "s")), (19, 120.0));
        assert_eq!(rate(&later, "n"), (30.0 * 30.0 - 12.0 * 12.0) * 10.0 / 180.0);
    }
}
