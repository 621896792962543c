//! Secrets come from the environment or from a file, never from the configuration itself, and are never printed.

use crate::toml_file::Section;

/// A secret; its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// From text that was read elsewhere.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself: for signing and comparing only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The secret that a key `{ env = "NAME" }` or `{ file = "path" }` points to; a relative path is below the folder of the
/// configuration. Problems are told at its place.
pub fn read_secret(section: &Section<'_>, key: &'static str) -> Option<Secret> {
    let s = section.table(key)?;
    let found = match (s.str("env"), s.path("file")) {
        (Some(name), None) => std::env::var(name.value)
            .map_err(|_| (name.at, format!("environment variable `{}` is not set", name.value))),
        (None, Some(file)) => std::fs::read_to_string(&file.value)
            .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .map_err(|e| (file.at, format!("secret file `{}` cannot be read: {e}", file.value.display()))),
        _ => Err((s.at(), format!("`{key}` needs either `env` or `file`"))),
    };
    let (file, at) = (s.file(), s.at());
    s.finish();
    match found {
        Ok(secret) if !secret.is_empty() => Some(Secret(secret)),
        Ok(_) => {
            file.error_at(at, format!("the secret of `{key}` is empty"), "an empty secret protects nothing");
            None
        }
        Err((at, message)) => {
            file.error_at(at, message, "secrets stand in the environment or in a file, never here");
            None
        }
    }
}

/// A user's name and secret.
pub type Login = (String, Secret);

/// Reads a user's name under the key `user` and `password`, both or neither. The outer `None`: one is missing or wrong, which is told.
pub fn read_login(s: &Section<'_>, user: &'static str) -> Option<Option<Login>> {
    let name = s.str(user).map(|name| name.value.to_owned());
    let password = s.has("password").then(|| read_secret(s, "password"));
    match (name, password) {
        (None, None) => Some(None),
        (Some(name), Some(password)) => Some(Some((name, password?))),
        (Some(_), None) => {
            s.missing("password", "{ env = \"FIREDAMP_PASSWORD\" }");
            None
        }
        (None, Some(_)) => {
            s.missing(user, "\"firedamp\"");
            None
        }
    }
}
