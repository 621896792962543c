//! A version of rules and catalog as the log carries it: texts, hashes, and the compiled program.

use model::record::{Activated, Activation};
use model::{Catalog, Origin};
use rules::{Program, RuleFile};
use std::sync::Arc;

/// Origin of records that may harmlessly come twice: ticks and activations.
pub const NO_ORIGIN: Origin = Origin { collector: 0, sequence: 0 };

/// Rules and catalog in force together.
#[derive(Debug)]
pub struct Version {
    /// JSON `[[name, text], ..]` of the rule files.
    pub rules_text: Arc<str>,
    /// BLAKE3 of it, hex.
    pub rules_hash: String,
    /// JSON of the catalog.
    pub catalog_text: Arc<str>,
    /// BLAKE3 of it, hex.
    pub catalog_hash: String,
    /// The catalog.
    pub catalog: Arc<Catalog>,
    /// The rules compiled against it.
    pub program: Arc<Program>,
    /// The versions of the partitions, for the version of the whole.
    parts: Vec<Arc<Version>>,
}

impl Version {
    /// The version of all partitions: each has its own slice of the catalog.
    pub fn of_all(rules: &[RuleFile], catalog: &Catalog) -> Self {
        let rules_text = rules_text(rules);
        let part = |p| Arc::new(Self::build(&rules_text, rules, &catalog.to_json(p), catalog.slice(p)));
        let parts = side_by_side(catalog.partitions().max(1), part);
        let mut all = Self::from_texts(&rules_text, "{\"partitions\":1,\"sites\":[],\"points\":[]}")
            .expect("an empty catalog is a catalog");
        all.parts = parts;
        all
    }

    /// The version of one partition.
    pub fn of_partition(self: &Arc<Self>, partition: u32) -> Arc<Self> {
        self.parts.get(partition as usize).cloned().unwrap_or_else(|| self.clone())
    }

    /// The version that two texts of the log stand for.
    ///
    /// # Errors
    /// A sentence, when a text is not what this program writes.
    pub fn from_texts(rules_text: &str, catalog_text: &str) -> Result<Self, String> {
        let files: Vec<(String, String)> = serde_json::from_str(rules_text).map_err(|e| e.to_string())?;
        let files: Vec<RuleFile> = files.into_iter().map(|(name, text)| RuleFile { name, text }).collect();
        Ok(Self::build(rules_text, &files, catalog_text, Catalog::from_json(catalog_text)?))
    }

    /// The record that puts this version in force after `active`: one, also where both rules and catalog change.
    pub fn activation(&self, active: &Self) -> Activation {
        let what = match (self.rules_hash == active.rules_hash, self.catalog_hash == active.catalog_hash) {
            (_, true) => Activated::Rules,
            (true, false) => Activated::Catalog,
            (false, false) => Activated::Whole,
        };
        let (hash, text) = match what {
            Activated::Rules => (self.rules_hash.clone(), self.rules_text.to_string()),
            Activated::Catalog => (self.catalog_hash.clone(), self.catalog_text.to_string()),
            Activated::Whole => {
                let both = [&*self.rules_text, &*self.catalog_text];
                let text = serde_json::to_string(&both).expect("texts are plain data");
                (hash(&text), text)
            }
        };
        Activation { what, hash, text: Some(text) }
    }

    /// The version in force behind an activation.
    ///
    /// # Errors
    /// A sentence, when it is not what this program writes.
    pub fn after(&self, activation: &Activation) -> Result<Self, String> {
        let text = activation.text.as_deref().ok_or("it has no text")?;
        match activation.what {
            Activated::Rules => Self::from_texts(text, &self.catalog_text),
            Activated::Catalog => Self::from_texts(&self.rules_text, text),
            Activated::Whole => {
                let both: [String; 2] = serde_json::from_str(text).map_err(|e| e.to_string())?;
                Self::from_texts(&both[0], &both[1])
            }
        }
    }

    fn build(rules_text: &str, rules: &[RuleFile], catalog_text: &str, catalog: Catalog) -> Self {
        let (program, _) = Program::compile(rules, &catalog);
        Self {
            rules_text: rules_text.into(),
            rules_hash: hash(rules_text),
            catalog_text: catalog_text.into(),
            catalog_hash: hash(catalog_text),
            catalog: Arc::new(catalog),
            program,
            parts: Vec::new(),
        }
    }
}

/// Does it for each partition, on all cores, in order.
fn side_by_side<T: Send>(partitions: u32, work: impl Fn(u32) -> T + Sync) -> Vec<T> {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u32).min(partitions);
    let of_core = |core| (core..partitions).step_by(cores as usize).map(|p| (p, work(p))).collect::<Vec<_>>();
    let mut all: Vec<(u32, T)> = std::thread::scope(|threads| {
        let of_core = &of_core;
        let started: Vec<_> = (0..cores).map(|core| threads.spawn(move || of_core(core))).collect();
        started.into_iter().flat_map(|t| t.join().expect("the work of a partition does not panic")).collect()
    });
    all.sort_by_key(|(p, _)| *p);
    all.into_iter().map(|(_, made)| made).collect()
}

fn rules_text(rules: &[RuleFile]) -> String {
    let files: Vec<(&str, &str)> = rules.iter().map(|f| (f.name.as_str(), f.text.as_str())).collect();
    serde_json::to_string(&files).expect("texts are plain data")
}

fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}
