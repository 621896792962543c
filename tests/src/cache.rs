//! Components that are fetched or built once for each user. The work is done by `tests/install`, under its lock.

use crate::process::run;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of component `name`; fetched by `tests/install ARGS` when it is not there yet.
pub(crate) fn ready(name: &str, install_args: &[&str]) -> Result<PathBuf> {
    let folder = root()?.join(name);
    if !folder.join(".ready").exists() {
        eprintln!("{name}: fetched once, by `tests/install {}`", install_args.join(" "));
        run("tests/install", Command::new(here().join("install")).args(install_args))
            .with_context(|| format!("{name} is not there and could not be fetched"))?;
    }
    Ok(folder)
}

/// The folder of this crate in the checkout: its scripts are started from there.
pub(crate) fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where `tests/install` puts things; the same rule stands there.
pub(crate) fn root() -> Result<PathBuf> {
    if let Some(given) = set("FIREDAMP_TEST_CACHE") {
        return Ok(given);
    }
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    Ok(cache.context("HOME is not set: set it, or FIREDAMP_TEST_CACHE")?.join("firedamp-tests"))
}

/// As the shell's `${NAME:-}`: an empty variable counts as not set.
fn set(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
