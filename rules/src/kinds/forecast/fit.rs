//! Trends: what a value is now, how it goes on, and how far the prediction may be wrong. Times are seconds before now, so that what is
//! predicted for now needs no large numbers.

use model::time::{Micros, SECOND};

/// How a trend is fitted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Method {
    Linear,
    Holt { alpha: f64, beta: f64 },
}

/// A reading of the window.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Point {
    /// Seconds; at most 0, which is now.
    pub time: f64,
    pub value: f64,
}

impl Point {
    pub fn of((time, value): (Micros, f64), now: Micros) -> Self {
        Self { time: (time - now) as f64 / SECOND as f64, value }
    }
}

/// A trend.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Fit {
    /// What the value is now.
    pub level: f64,
    /// Its change a second.
    pub slope: f64,
    /// Mean square of what the trend leaves over.
    spread: f64,
    error: Growth,
}

/// How the error of a prediction grows with the time ahead.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Growth {
    /// Of a line: number of points, their mean time, and the sum of the squares of their distances from it.
    Line { n: f64, mean_time: f64, squares: f64 },
    /// Of Holt: smoothing, and seconds a step.
    Steps { alpha: f64, beta: f64, step: f64 },
}

/// Two points make a trend; two more say how far it may be wrong.
const POINTS_MIN: usize = 4;

impl Fit {
    /// `None` where there are too few points. They lie in the order of time, no two at one time.
    pub fn of(method: Method, points: &[Point]) -> Option<Self> {
        if points.len() < POINTS_MIN {
            return None;
        }
        Some(match method {
            Method::Linear => Self::line(points),
            Method::Holt { alpha, beta } => Self::holt(points, alpha, beta),
        })
    }

    /// Standard error of what is predicted for `ahead` seconds from now.
    pub fn error(&self, ahead: f64) -> f64 {
        let factor = match self.error {
            Growth::Line { n, mean_time, squares } => 1.0 / n + (ahead - mean_time).powi(2) / squares,
            // Hyndman, Athanasopoulos: Forecasting, principles and practice, prediction intervals of Holt's linear method.
            Growth::Steps { alpha, beta, step } => {
                let (h, beta) = ((ahead / step).max(1.0), alpha * beta);
                let more = alpha * alpha + alpha * beta * h + beta * beta * h * (2.0 * h - 1.0) / 6.0;
                1.0 + (h - 1.0) * more
            }
        };
        (self.spread * factor).sqrt()
    }

    fn line(points: &[Point]) -> Self {
        let n = points.len() as f64;
        let mean_time = points.iter().map(|p| p.time).sum::<f64>() / n;
        let mean = points.iter().map(|p| p.value).sum::<f64>() / n;
        let squares: f64 = points.iter().map(|p| (p.time - mean_time).powi(2)).sum();
        let slope = points.iter().map(|p| (p.time - mean_time) * (p.value - mean)).sum::<f64>() / squares;
        let level = mean - slope * mean_time;
        let left: f64 = points.iter().map(|p| (p.value - level - slope * p.time).powi(2)).sum();
        let error = Growth::Line { n, mean_time, squares };
        Self { level, slope, spread: left / (n - 2.0), error }
    }

    fn holt(points: &[Point], alpha: f64, beta: f64) -> Self {
        let (first, second, rest) = (points[0], points[1], &points[2..]);
        let mut slope = (second.value - first.value) / (second.time - first.time);
        let (mut level, mut time, mut squares) = (second.value, second.time, 0.0);
        for p in rest {
            let step = p.time - time;
            let predicted = level + slope * step;
            let error = p.value - predicted;
            level = predicted + alpha * error;
            slope += alpha * beta * error / step;
            squares += error * error;
            time = p.time;
        }
        let step = (time - first.time) / (points.len() - 1) as f64;
        let error = Growth::Steps { alpha, beta, step };
        Self { level, slope, spread: squares / rest.len() as f64, error }
    }
}
