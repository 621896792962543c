//! A version of rules and catalog as the log carries it: texts, hashes, and the compiled program.

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
        let parts = (0..catalog.partitions().max(1))
            .map(|p| {
                let text = catalog.to_json(p);
                Arc::new(
                    Self::from_texts(&rules_text, &text).expect("texts made by this program are read by it"),
                )
            })
            .collect();
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
        let catalog = Arc::new(Catalog::from_json(catalog_text)?);
        let (program, _) = Program::compile(&files, &catalog);
        Ok(Self {
            rules_text: rules_text.into(),
            rules_hash: hash(rules_text),
            catalog_text: catalog_text.into(),
            catalog_hash: hash(catalog_text),
            catalog,
            program,
            parts: Vec::new(),
        })
    }
}

fn rules_text(rules: &[RuleFile]) -> String {
    let files: Vec<(&str, &str)> = rules.iter().map(|f| (f.name.as_str(), f.text.as_str())).collect();
    serde_json::to_string(&files).expect("texts are plain data")
}

fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}
