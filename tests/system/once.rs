//! One judgement of a whole log by the pure evaluator: what every interrupted, repeated or stored history is held against.

use firedamp::versions::Version;
use model::{Entry, Problems, Record, Stream, Transition};
use rules::{At, Evaluator, RuleFile};
use std::sync::Arc;
use stream::{EmbeddedLog, EmbeddedOptions, Log};
use tests::firedamp::Firedamp;

/// The version that these texts (two CSV, one rule file) make.
pub fn version(sites: &str, points: &str, rules: &str, partitions: u32) -> Arc<Version> {
    let mut problems = Problems::default();
    let sites = model::catalog::sites_from_csv("s", sites, &mut problems);
    let points = model::catalog::points_from_csv("p", points, &mut problems);
    let catalog = model::Catalog::build(sites, points, partitions, &mut problems);
    assert!(problems.0.is_empty(), "{problems}");
    Arc::new(Version::of_all(&[RuleFile { name: "rules.toml".into(), text: rules.into() }], &catalog))
}

/// What is decided when the records of a partition are judged in order, from this version on.
pub fn judged(entries: &[Entry], mut active: Arc<Version>) -> Result<Vec<Transition>, String> {
    let mut evaluator = Evaluator::new(active.program.clone(), active.catalog.clone());
    let mut out = Vec::new();
    for entry in entries {
        let at = At { offset: entry.offset, appended: entry.appended, origin: entry.origin };
        match entry.decode().map_err(|e| e.to_string())? {
            Record::Readings { runs, readings } => evaluator.readings(at, &runs, &readings, &mut out),
            Record::Positions { run, positions } => evaluator.positions(at, &run, &positions, &mut out),
            Record::Activation(a) => {
                active = Arc::new(active.after(&a)?);
                evaluator.activate(at, active.program.clone(), active.catalog.clone(), &mut out);
            }
            Record::Tick => evaluator.tick(at, &mut out),
            _ => evaluator.other(at, &mut out),
        }
    }
    Ok(out)
}

/// The embedded log of a firedamp that has stopped.
pub fn log_of(firedamp: &Firedamp, partitions: u32) -> EmbeddedLog {
    let dir = firedamp.folder().join("data/log");
    let options = EmbeddedOptions { dir, partitions, ..EmbeddedOptions::default() };
    EmbeddedLog::open(options, Arc::new(model::SystemClock), &prometheus::Registry::new()).unwrap()
}

/// All that it holds of a partition.
pub async fn entries(log: &dyn Log, stream: Stream, partition: u32) -> Vec<Entry> {
    let first = log.bounds(stream, partition).await.unwrap().first;
    stream::conformance::read_all(log, stream, partition, first).await
}
