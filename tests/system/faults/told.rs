//! What the binary tells of itself: its metrics, and from them the latencies that a test prints.

use std::collections::BTreeMap;
use tests::firedamp::Firedamp;

/// One reading of `/metrics`.
#[derive(Clone, Default)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// A series by its whole name; 0 where there is none.
    pub fn get(&self, series: &str) -> i64 {
        self.0.get(series).copied().unwrap_or(0.0) as i64
    }

    /// A family with the one label `source`.
    pub fn by_source(&self, family: &str) -> BTreeMap<String, i64> {
        let head = format!("{family}{{source=\"");
        let of = |(name, n): (&String, &f64)| {
            Some((name.strip_prefix(&head)?.strip_suffix("\"}")?.to_owned(), *n as i64))
        };
        self.0.iter().filter_map(of).collect()
    }

    /// Counts by upper bound in milliseconds of the time from hand-over to durable, of one source.
    fn accept(&self, source: &str) -> Vec<(f64, f64)> {
        let head = format!("firedamp_edge_accept_seconds_bucket{{source=\"{source}\",le=\"");
        let of = |(name, n): (&String, &f64)| {
            let le = name.strip_prefix(&head)?.strip_suffix("\"}")?;
            Some((le.parse().unwrap_or(f64::INFINITY) * 1000.0, *n))
        };
        let mut counts: Vec<_> = self.0.iter().filter_map(of).collect();
        counts.sort_by(|a, b| a.0.total_cmp(&b.0));
        counts
    }
}

/// Prints latencies from one look to the next.
#[derive(Default)]
pub struct Told(Metrics);

impl Told {
    pub async fn metrics(firedamp: &Firedamp) -> Metrics {
        let text = reqwest::get(firedamp.url("/metrics")).await.unwrap().text().await.unwrap();
        let line = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Metrics(text.lines().filter(|l| !l.starts_with('#')).filter_map(line).collect())
    }

    /// From the last call to this one: 50 and 99 of 100 deliveries of each source were durable within so many milliseconds.
    pub fn latencies(&mut self, during: &str, now: Metrics, sources: &[&str]) {
        let mut said = String::new();
        for source in sources {
            let before = self.0.accept(source);
            let count = |i: usize, n: f64| n - before.get(i).map_or(0.0, |b| b.1);
            let counts: Vec<_> =
                now.accept(source).iter().enumerate().map(|(i, (le, n))| (*le, count(i, *n))).collect();
            let all = counts.last().map_or(0.0, |c| c.1);
            let within = |part: f64| counts.iter().find(|c| c.1 >= all * part).map_or(f64::NAN, |c| c.0);
            said += &format!(" {source} {all} <= {}/{} ms;", within(0.5), within(0.99));
        }
        eprintln!("latency p50/p99 of deliveries, {during}:{said}");
        self.0 = now;
    }
}
