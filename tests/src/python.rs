//! Python environments with given packages, made once for each set of packages and kept.

use crate::cache;
use anyhow::Result;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::process::Command;

/// The set with pymodbus: Modbus devices of another make.
pub const PYMODBUS: &[&str] = &["pymodbus==3.16.*"];
/// The set with a mail server.
pub const SMTP: &[&str] = &["aiosmtpd==1.4.*"];
/// The set of an analyst: reads Parquet and Delta tables.
pub const PANDAS: &[&str] = &["pandas==2.*", "pyarrow", "deltalake"];

/// The Python interpreter of an environment with these packages (pip requirements).
#[track_caller]
pub fn venv(packages: &[&str]) -> PathBuf {
    try_venv(packages).unwrap_or_else(|e| panic!("Python with {packages:?}: {e:#}"))
}

fn try_venv(packages: &[&str]) -> Result<PathBuf> {
    let install: Vec<&str> = ["venv"].iter().chain(packages).copied().collect();
    Ok(cache::ready(&name(packages), &install)?.join("bin/python"))
}

/// The rule of `venv_name` in tests/install: the start of the hash over the sorted packages, one a line.
fn name(packages: &[&str]) -> String {
    let mut sorted = packages.to_vec();
    sorted.sort_unstable();
    let mut hash = Sha256::new();
    for package in sorted {
        hash.update(package);
        hash.update("\n");
    }
    format!("venv-{}", &hex::encode(hash.finalize())[..12])
}

/// Runs a Python program from text with these packages; its standard output.
#[track_caller]
pub fn run(packages: &[&str], program: &str, args: &[&str]) -> String {
    let mut command = Command::new(venv(packages));
    command.arg("-c").arg(program).args(args);
    crate::process::run("python", &command).unwrap_or_else(|e| panic!("{e:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_are_named_as_the_install_script_names_them() {
        let script = "source <(sed -n '/^venv_name()/p' \"$1\"); shift; venv_name \"$@\"";
        let install = cache::here().join("install");
        for packages in [PYMODBUS, SMTP, PANDAS] {
            let mut command = Command::new("bash");
            command.args(["-c", script, "bash"]).arg(&install).args(packages);
            assert_eq!(crate::process::run("bash", &command).unwrap(), name(packages));
        }
    }

    #[test]
    fn the_install_script_makes_exactly_the_sets_that_tests_ask_for() {
        let listed = std::fs::read_to_string(cache::here().join("components/python.txt")).unwrap();
        let listed: Vec<Vec<&str>> =
            listed.lines().filter(|l| !l.starts_with('#')).map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(listed, [PYMODBUS, SMTP, PANDAS]);
    }
}
