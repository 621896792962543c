//! The generated reference of all configuration keys, printed by `firedamp check --reference` and kept in
//! `docs/configuration.md`, where a test compares it.

use model::keys::KeyDoc;
use std::fmt::Write;

/// Markdown of every key with kind, default and a sentence.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Configuration\n\nMade by `firedamp check --reference`; do not edit. Durations are `\"500ms\" \"60s\" \"5min\" \
         \"90d\"`, sizes `\"2GiB\"`. Relative paths are relative to the folder of the file. `-`: needed.\n",
    );
    for (section, keys) in super::KEYS {
        table(&mut out, section, keys);
    }
    let keys: Vec<KeyDoc> =
        storage::KEYS.iter().map(|(key, default, doc)| KeyDoc { key, kind: "", default, doc }).collect();
    table(&mut out, "[storage]", &keys);
    table(&mut out, "[server]", super::server::KEYS);
    for (title, keys) in alerts::receiver_keys().into_iter().chain(alerts::route::route_keys()) {
        table(&mut out, &title, keys);
    }
    table(&mut out, "[[source]]", ingest::keys::COMMON);
    for kind in ingest::kinds() {
        table(&mut out, &format!("[[source]] with kind = \"{}\"", kind.name), kind.keys);
    }
    out
}

fn table(out: &mut String, section: &str, keys: &[KeyDoc]) {
    let _ = write!(out, "\n## `{section}`\n\n| key | kind | default | meaning |\n|---|---|---|---|\n");
    for k in keys {
        let default = if k.default.is_empty() || k.default == "-" {
            k.default.to_owned()
        } else {
            format!("`{}`", k.default)
        };
        let _ = writeln!(out, "| `{}` | {} | {default} | {} |", k.key, k.kind, k.doc);
    }
}
