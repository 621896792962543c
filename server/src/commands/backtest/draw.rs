//! Pictures as SVG: bars, and the readings around an episode. No script, nothing from elsewhere.

use super::curves::Curve;
use model::time::{DAY, MINUTE, Micros, rfc3339};
use std::fmt::Write;

const WIDTH: f64 = 860.0;
const BAR: f64 = 18.0;
const LABEL: f64 = 300.0;
/// Height of the readings of an episode, and what is left of it for the axis.
const CURVE: (f64, f64) = (220.0, 26.0);

/// Text that is safe in HTML and SVG.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Bars beside each other's names, one a row.
pub fn rows(bars: &[(String, usize)]) -> String {
    let most = bars.iter().map(|b| b.1).max().unwrap_or(1).max(1) as f64;
    let height = bars.len() as f64 * (BAR + 4.0);
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">");
    for (i, (name, count)) in bars.iter().enumerate() {
        let y = i as f64 * (BAR + 4.0);
        let width = (WIDTH - LABEL - 80.0) * *count as f64 / most;
        let (text, x) = (y + BAR - 4.0, LABEL + width + 6.0);
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text><rect class=\"bar\" x=\"{LABEL}\" y=\"{y}\" width=\"{width:.1}\" \
             height=\"{BAR}\"/><text x=\"{x:.1}\" y=\"{text}\">{count}</text>",
            LABEL - 8.0,
            escaped(name)
        );
    }
    svg + "</svg>"
}

/// Bars in a row, each with a short name below where there is room.
pub fn columns(bars: &[(String, usize)]) -> String {
    let most = bars.iter().map(|b| b.1).max().unwrap_or(1).max(1) as f64;
    let (high, step) = (120.0, WIDTH / bars.len().max(1) as f64);
    let each = (46.0 / step).ceil().max(1.0) as usize;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\">", high + 36.0);
    for (i, (name, count)) in bars.iter().enumerate() {
        let (x, height) = (i as f64 * step, high * *count as f64 / most);
        let y = high + 16.0 - height;
        let _ = write!(
            svg,
            "<rect class=\"bar\" x=\"{:.2}\" y=\"{y:.1}\" width=\"{:.2}\" height=\"{height:.1}\"><title>{}: {count}</title></rect>",
            x + step * 0.1,
            step * 0.8,
            escaped(name)
        );
        let middle = x + step / 2.0;
        if *count > 0 && step > 18.0 {
            let _ = write!(
                svg,
                "<text class=\"small\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{count}</text>",
                y - 3.0
            );
        }
        if i % each == 0 {
            let y = high + 32.0;
            let _ = write!(
                svg,
                "<text class=\"small\" x=\"{middle:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>",
                escaped(name)
            );
        }
    }
    svg + "</svg>"
}

/// The readings around an episode, the time it was on shaded, its limits as lines.
pub fn curve(c: &Curve, limits: &[f64], end: Micros) -> String {
    let (from, to) = (c.wanted.from, c.wanted.to);
    let values = c.readings.iter().map(|r| r.1).filter(|v| !v.is_nan()).chain(limits.iter().copied());
    let (least, most) = values.fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
    let (least, most) = if least > most { (0.0, 1.0) } else { (least, most) };
    let margin = ((most - least) * 0.08).max(1e-9);
    let (least, most) = (least - margin, most + margin);
    let (left, high) = (56.0, CURVE.0 - CURVE.1);
    let x = |t: Micros| left + (WIDTH - left) * (t - from) as f64 / (to - from).max(1) as f64;
    let y = |v: f64| high - high * (v - least) / (most - least);
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\">", CURVE.0);
    let episode = &c.wanted.episode;
    let (on, off) = (x(episode.from), x(episode.to.unwrap_or(end).clamp(episode.from, to)));
    let _ = write!(
        svg,
        "<rect class=\"on\" x=\"{on:.1}\" y=\"0\" width=\"{:.1}\" height=\"{high}\"/>",
        (off - on).max(1.0)
    );
    for i in 0..=4 {
        let v = least + (most - least) * f64::from(i) / 4.0;
        let at = y(v);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text class=\"small\" x=\"{}\" y=\"{:.1}\" \
             text-anchor=\"end\">{}</text>",
            left - 5.0,
            (at + 4.0).clamp(9.0, high),
            short(v, most - least)
        );
    }
    for limit in limits {
        let at = y(*limit);
        let _ =
            write!(svg, "<line class=\"limit\" x1=\"{left}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>");
    }
    svg += &line(c, &x, &y);
    let long = to - from > 2 * DAY;
    for i in 0..=4 {
        let t = from + (to - from) * i / 4;
        let text = rfc3339(t + super::summary::ZONE);
        let text = match (long, to - from > 10 * MINUTE) {
            (true, _) => &text[5..10],
            (false, true) => &text[11..16],
            (false, false) => &text[11..19],
        };
        let anchor = ["start", "middle", "middle", "middle", "end"][i as usize];
        let _ = write!(
            svg,
            "<text class=\"small\" x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{text}</text>",
            x(t),
            CURVE.0 - 8.0
        );
    }
    svg + "</svg>"
}

/// The readings as lines that break where a value is missing; bad and calibrating readings as hollow dots.
fn line(c: &Curve, x: &impl Fn(Micros) -> f64, y: &impl Fn(f64) -> f64) -> String {
    let (mut path, mut dots, mut drawing) = (String::new(), String::new(), false);
    for &(time, value, status) in &c.readings {
        if value.is_nan() {
            drawing = false;
            continue;
        }
        let _ = write!(path, "{}{:.1} {:.1}", if drawing { "L" } else { "M" }, x(time), y(value));
        drawing = true;
        if !model::status::is_good(status) {
            let _ =
                write!(dots, "<circle class=\"bad\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>", x(time), y(value));
        }
    }
    format!("<path class=\"curve\" d=\"{path}\"/>{dots}")
}

/// A number with as many decimals as its axis needs.
fn short(v: f64, span: f64) -> String {
    let decimals = if span >= 20.0 {
        0
    } else if span >= 2.0 {
        1
    } else if span >= 0.2 {
        2
    } else {
        4
    };
    format!("{v:.decimals$}")
}
