//! Rule engines of other makers, to measure ours against. Their programs, and the data that all are given, stand in the shared folder
//! beside the checkout and are no part of the product; libraries and data lie in the cache of `tests/install`.

use crate::{cache, python};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The packages that make the data, and the database they are asked with.
pub const PYTHON: &[&str] = &["numpy==2.4.6", "pyarrow==26.0.1", "duckdb"];

/// The folder of their scripts.
///
/// # Errors
/// When it is not there.
pub fn scripts() -> Result<PathBuf> {
    let beside = cache::here().join("../../shared");
    let folder = std::env::var_os("FIREDAMP_SHARED").map_or(beside, PathBuf::from).join("peers");
    folder.canonicalize().with_context(|| {
        format!("{}: the peers' scripts are not here (set FIREDAMP_SHARED)", folder.display())
    })
}

/// What their scripts call `PEERS_HOME`, with the libraries and the program of `name` in it.
///
/// # Errors
/// When they are not there and cannot be fetched.
pub fn fetch(name: &str) -> Result<PathBuf> {
    let folder = cache::ready(&format!("peers/{name}"), &["peer", name])?;
    Ok(folder.parent().map(Path::to_owned).unwrap_or_default())
}

/// The folder with the data of all peers (`dataset/gen.py`), made where it is not there.
///
/// # Errors
/// When it cannot be made.
pub fn data() -> Result<PathBuf> {
    let home = cache::root()?.join("peers");
    let (made, folder) = (home.join("data.new"), home.join("data"));
    if !folder.exists() {
        let program = std::fs::read_to_string(scripts()?.join("dataset/gen.py"))?;
        std::fs::create_dir_all(&made)?;
        eprint!("{}", python::run(PYTHON, &program, &[&made.display().to_string()]));
        std::fs::rename(&made, &folder)?;
    }
    Ok(folder)
}
