//! Secrets come from the environment or from a file, never from the configuration itself, and are never printed.

use model::toml_file::Section;
use std::path::Path;

/// The secret that a key `{ env = "NAME" }` or `{ file = "path" }` points to. Problems are told at its place.
pub fn read_secret(path: &Path, section: &Section<'_>, key: &'static str) -> Option<String> {
    let s = section.table(key)?;
    let (env, file) = (s.str("env"), s.str("file"));
    let found = match (env, file) {
        (Some(name), None) => std::env::var(name.value)
            .map_err(|_| (name.at, format!("environment variable `{}` is not set", name.value))),
        (None, Some(file)) => {
            let full = super::Config::resolve(path, file.value);
            std::fs::read_to_string(&full)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|e| (file.at, format!("secret file `{}` cannot be read: {e}", file.value)))
        }
        _ => Err((s.at(), format!("`{key}` needs either `env` or `file`"))),
    };
    let file = s.file();
    s.finish();
    match found {
        Ok(secret) if !secret.is_empty() => Some(secret),
        Ok(_) => {
            section.error(format!("the secret of `{key}` is empty"), "an empty secret protects nothing");
            None
        }
        Err((at, message)) => {
            file.error_at(at, message, "secrets stand in the environment or in a file, never here");
            None
        }
    }
}
