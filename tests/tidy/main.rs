//! Tests of the tree itself: who may know whom, headers, paths named in documents, licences, one Arrow.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace").to_owned()
}

fn metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--offline",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

/// Names of the normal dependencies of each crate of the workspace.
fn dependencies(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let members = metadata["workspace_members"].as_array().unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let mut out = BTreeMap::new();
    for package in packages.iter().filter(|p| members.contains(&p["id"])) {
        let normal = package["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"].is_null());
        let names = normal.map(|d| d["name"].as_str().unwrap().to_owned()).collect();
        out.insert(package["name"].as_str().unwrap().to_owned(), names);
    }
    out
}

#[test]
fn crates_know_only_whom_they_may() {
    let dependencies = dependencies(&metadata());
    let ours: BTreeSet<&String> = dependencies.keys().collect();
    for (name, may) in [
        ("model", vec![]),
        ("ingest", vec!["model"]),
        ("stream", vec!["model"]),
        ("rules", vec!["model"]),
        ("storage", vec!["model"]),
        ("alerts", vec!["model"]),
        ("simulator", vec!["model"]),
        ("tests", vec![]),
    ] {
        let knows: Vec<&String> = dependencies[name].iter().filter(|d| ours.contains(d)).collect();
        assert!(
            knows.iter().all(|k| may.contains(&k.as_str())),
            "{name} may know {may:?}, it knows {knows:?}"
        );
    }
    let io = ["tokio", "futures", "async-trait", "reqwest", "tracing", "rand", "chrono"];
    let impure: Vec<_> = dependencies["rules"].iter().filter(|d| io.contains(&d.as_str())).collect();
    assert!(impure.is_empty(), "rules is pure; it depends on {impure:?}");
}

#[test]
fn one_arrow_and_no_openssl() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let versions = |name: &str| -> BTreeSet<&str> {
        packages.iter().filter(|p| p["name"] == name).map(|p| p["version"].as_str().unwrap()).collect()
    };
    for name in ["arrow-array", "arrow-schema", "parquet", "datafusion"] {
        assert_eq!(versions(name).len(), 1, "{name}: {:?}", versions(name));
    }
    for name in ["openssl-sys", "openssl-src", "native-tls"] {
        assert!(versions(name).is_empty(), "{name} is in the tree");
    }
}

/// Licences that may be linked into an Apache-2.0 binary. Advisories need a database from the internet, which a machine with
/// package registries only does not reach: they are not checked here.
const LICENCES: [&str; 18] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "MIT-0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "0BSD",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "CC0-1.0",
    "MPL-2.0",
    "Unlicense",
    "OpenSSL",
    "CDLA-Permissive-2.0",
    "BSL-1.0",
    "bzip2-1.0.6",
];

#[test]
fn licences_can_be_combined() {
    let metadata = metadata();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let Some(licence) = package["license"].as_str() else {
            assert!(package["license_file"].is_string(), "{name} says no licence");
            continue;
        };
        let alternatives = licence.replace('/', " OR ");
        // `A AND (B OR C)`: each part of an AND needs one of its alternatives.
        let fits = alternatives.split(" AND ").all(|all| {
            all.split(" OR ")
                .any(|one| LICENCES.contains(&one.trim_matches(|c: char| c == '(' || c == ')' || c == ' ')))
        });
        assert!(fits, "{name}: {licence}");
    }
}

fn tracked() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "-c", "-o", "--exclude-standard"])
        .current_dir(root())
        .output();
    let output = output.expect("git runs");
    let text = String::from_utf8(output.stdout).expect("paths are UTF-8");
    text.split('\0')
        .filter(|p| !p.is_empty())
        .map(PathBuf::from)
        .filter(|p| root().join(p).is_file())
        .collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_default()
}

#[test]
fn every_source_file_says_what_it_is_for() {
    for file in tracked().iter().filter(|p| p.extension().is_some_and(|e| e == "rs")) {
        assert!(read(file).starts_with("//!"), "{} does not begin with //!", file.display());
    }
}

#[test]
fn source_files_stay_readable() {
    for file in tracked().iter().filter(|p| p.extension().is_some_and(|e| e == "rs")) {
        let text = read(file);
        let own = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().count();
        assert!(own <= 520, "{} has {own} lines without its tests", file.display());
    }
}

/// A path in a document: between back-ticks, with a slash and no space, `<`, `{` or `*`, not beginning with `/`.
fn named_paths(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for (i, part) in text.split('`').enumerate() {
        let is_path = part.contains('/')
            && !part
                .contains([' ', '<', '{', '*', '\n', ':', '=', '"', '|', '$', '(', '%', '~', '#', ';', '>'])
            && !part.starts_with('/')
            && !part.ends_with("/...");
        if i % 2 == 1 && is_path {
            out.push(part.to_owned());
        }
    }
    out
}

#[test]
fn paths_in_documents_exist() {
    let words = ["firedamp/", "text/", "application/", "m/s", "mg/"];
    for file in tracked().iter().filter(|p| p.extension().is_some_and(|e| e == "md")) {
        if !(file.starts_with("docs") || file.starts_with("deploy") || file == Path::new("README.md")) {
            continue;
        }
        // Generated from the tables of keys, where a slash is a JSON pointer.
        if file == Path::new("docs/configuration.md") {
            continue;
        }
        for path in named_paths(&read(file)) {
            if words.iter().any(|w| path.starts_with(w)) {
                continue;
            }
            assert!(root().join(&path).exists(), "{} names `{path}`, which is not there", file.display());
        }
    }
}

/// The first string after each `raise(` in the server: the names of firedamp's own alarms.
fn own_alarms() -> BTreeSet<String> {
    let mut names = BTreeSet::from(["dead-letter".to_owned()]);
    for file in tracked().iter().filter(|p| p.starts_with("server/src") && !p.ends_with("tests.rs")) {
        let text = read(file);
        let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for call in product.split(".raise(").skip(1) {
            if let Some(literal) = call.trim_start().strip_prefix('"') {
                names.insert(literal.split('"').next().unwrap_or_default().to_owned());
            }
        }
    }
    names
}

#[test]
fn the_page_of_symptoms_names_every_alarm_of_our_own_and_metrics_that_exist() {
    let page = read(Path::new("deploy/sizing.md"));
    let alarms = own_alarms();
    assert!(alarms.len() > 8, "{alarms:?}");
    for name in &alarms {
        assert!(page.contains(&format!("| `{name}` |")), "deploy/sizing.md says nothing of `{name}`");
    }
    let sources: String =
        tracked().iter().filter(|p| p.extension().is_some_and(|e| e == "rs")).map(|p| read(p)).collect();
    for metric in page.split('`').filter(|part| part.starts_with("firedamp_")) {
        assert!(
            sources.contains(&format!("\"{metric}\"")),
            "deploy/sizing.md names `{metric}`, which no code has"
        );
    }
}

#[test]
fn the_map_fits_in_a_head() {
    assert!(read(Path::new("docs/architecture.md")).lines().count() <= 300);
}

#[test]
fn nothing_names_this_machine() {
    let home = ["/root", "/"].concat();
    for file in tracked() {
        let text = read(&file);
        assert!(!text.contains(&home), "{} names a folder of one machine", file.display());
    }
}
