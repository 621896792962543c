//! What commands on rules are about: sites and points from files or from a configuration, and rules likewise.

use super::Stop;
use crate::config::{self, Config};
use clap::Args;
use model::{Catalog, Problems};
use rules::RuleFile;
use std::path::PathBuf;

/// Where sites and points come from.
#[derive(Args, Debug, Clone)]
pub struct CatalogArgs {
    /// Sites file; without --sites and --points those of --config
    #[arg(long, requires = "points")]
    sites: Option<PathBuf>,
    /// Points files, CSV or CDDY
    #[arg(long)]
    points: Vec<PathBuf>,
    /// The configuration whose sites and points they are
    #[arg(long, env = "FIREDAMP_CONFIG")]
    config: Option<PathBuf>,
}

impl CatalogArgs {
    /// The configuration, where one is named or needed.
    ///
    /// # Errors
    /// Wrong use, with every mistake of the file.
    pub fn config(&self) -> Result<Option<Config>, Stop> {
        self.config.as_deref().filter(|_| self.points.is_empty()).map(super::check::config).transpose()
    }

    /// Whether files of sites and points are named.
    pub fn has_files(&self) -> bool {
        !self.points.is_empty()
    }

    /// Sites and points of the files, or of the configuration; `None` where neither is named.
    ///
    /// # Errors
    /// Wrong use. Mistakes in the files are added to `problems`.
    pub fn read(&self, problems: &mut Problems) -> Result<Option<Catalog>, Stop> {
        self.read_for(1, problems)
    }

    /// The same, with the sites of the files spread over so many partitions.
    ///
    /// # Errors
    /// As [`CatalogArgs::read`].
    pub fn read_for(&self, partitions: u32, problems: &mut Problems) -> Result<Option<Catalog>, Stop> {
        if self.has_files() {
            return Ok(Some(config::catalog_of_files(
                self.sites.as_deref(),
                &self.points,
                partitions,
                problems,
            )));
        }
        Ok(self.config()?.map(|config| config::load_catalog(&config, problems)))
    }
}

/// `file:line:column` of a rule, as editors take it.
pub fn place((file, line, column): &(String, usize, usize)) -> String {
    format!("{file}:{line}:{column}")
}

/// The text of a rule as it stands in its file: from its line up to the next table of rules or tests.
pub fn text_of(files: &[RuleFile], (file, line, _): &(String, usize, usize)) -> String {
    let Some(file) = files.iter().find(|f| f.name == *file) else { return String::new() };
    let mut lines = file.text.lines().skip(line.saturating_sub(1)).peekable();
    let mut text = String::new();
    let mut first = true;
    while let Some(line) = lines.next_if(|l| first || !l.trim_start().starts_with("[[")) {
        first = false;
        text += line;
        text.push('\n');
    }
    text.trim_end().to_owned()
}
