//! A key of a configuration section, as the generated reference prints it. Each crate lists the keys of its own sections
//! beside the code that reads them.

/// One key: name, kind, default, and a sentence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyDoc {
    /// Name, with the path below its section: `retain.age`.
    pub key: &'static str,
    /// `text`, `duration`, `size`, `number`, `list of texts`, ...
    pub kind: &'static str,
    /// Default as written in TOML; `-` where the key is needed, empty where absent means "none".
    pub default: &'static str,
    /// What it does, with its unit.
    pub doc: &'static str,
}

/// Shorthand for tables of keys.
pub const fn key(key: &'static str, kind: &'static str, default: &'static str, doc: &'static str) -> KeyDoc {
    KeyDoc { key, kind, default, doc }
}

/// Two tables as one: keys that several sections share stand in one place.
///
/// # Panics
/// When `N` is not the sum of both lengths; in a constant that is an error of the compiler.
pub const fn joined<const N: usize>(first: &[KeyDoc], second: &[KeyDoc]) -> [KeyDoc; N] {
    assert!(first.len() + second.len() == N);
    let mut out = [key("", "", "", ""); N];
    let mut i = 0;
    while i < N {
        out[i] = if i < first.len() { first[i] } else { second[i - first.len()] };
        i += 1;
    }
    out
}
