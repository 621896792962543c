//! A table of `grade` as a model sees it: rows of whole hundredths, of which one level is looked at.

use super::level::Mistake;
use model::Severity;

/// Where a row counts, as it is written, and whether the point of the models is there: `face`, of class T1.
pub const PLACES: [(&str, bool); 7] = [
    ("", true),
    ("place = [\"T1\", \"A\"], ", true),
    ("place = [\"T9\", \"T*\"], ", true),
    ("keyword = [\"belt\", \"ac\"], ", true),
    ("place = \"T9\", keyword = \"face\", ", true),
    ("place = [\"T2\", \"1\"], ", false),
    ("keyword = \"FACE\", ", false),
];

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Row {
    /// Hundredths.
    pub on: i64,
    /// Half seconds.
    pub after: i64,
    /// 0 is the worst.
    pub colour: usize,
    /// Of [`PLACES`].
    pub place: usize,
}

#[derive(Clone, Debug)]
pub struct Grade {
    /// The level of the first one is looked at.
    pub rows: Vec<Row>,
    /// Hundredths.
    pub dead_band: i64,
}

/// The rows that no other one makes pointless.
pub fn of_use(rows: &[Row]) -> Vec<Row> {
    let wider = |a: &Row, b: &Row| {
        a.on <= b.on && a.after <= b.after && a.colour <= b.colour && (a.place == 0 || a.place == b.place)
    };
    let mut kept: Vec<Row> = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        let pointless = rows.iter().any(|other| other != row && wider(other, row));
        if !pointless && !rows[..i].contains(row) {
            kept.push(*row);
        }
    }
    kept
}

impl Grade {
    pub fn keys(&self) -> String {
        let row = |r: &Row| {
            let (on, after) = (r.on as f64 / 100.0, r.after * 500);
            let colour = Severity::ALL[r.colour];
            format!(
                "  {{ on = \">= {on}\", after = \"{after}ms\", {}severity = \"{colour}\" }},\n",
                PLACES[r.place].0
            )
        };
        let rows: String = self.rows.iter().map(row).collect();
        format!("dead_band = {}\nrow = [\n{rows}]\n", self.dead_band as f64 / 100.0)
    }

    /// The name of the level that is looked at.
    pub fn level(&self) -> String {
        let first = self.rows[0];
        let mut shorter: Vec<i64> =
            self.rows.iter().filter(|r| r.colour == first.colour).map(|r| r.after).collect();
        shorter.retain(|after| *after < first.after);
        shorter.sort_unstable();
        shorter.dedup();
        let colour = Severity::ALL[first.colour];
        if shorter.is_empty() { colour.to_string() } else { format!("{colour}-{}", shorter.len() + 1) }
    }

    /// Where the level is on and off at the point; `None` where no row of it counts there.
    pub fn limit(&self, mistake: Mistake) -> Option<(f64, f64)> {
        let first = self.rows[0];
        let counts = |r: &&Row| {
            (r.colour == first.colour || mistake == Mistake::OtherColoursCount)
                && (r.after == first.after || mistake == Mistake::OtherTimesCount)
                && (PLACES[r.place].1 || mistake == Mistake::OtherPlacesCount)
        };
        let limits = self.rows.iter().filter(counts).map(|r| r.on);
        let on = if mistake == Mistake::NarrowestRowCounts { limits.max() } else { limits.min() }?;
        let dead_band = if mistake == Mistake::DeadBandIsForgotten { 0 } else { self.dead_band };
        Some((on as f64 / 100.0, (on - dead_band) as f64 / 100.0))
    }
}
