//! Repairs what careless devices write though JSON has no such thing: `NaN`, `Infinity`, `-Infinity`, `nan`, `inf`, and numbers too
//! large for a double, each replaced by null. Used only after the strict reading failed.

/// The text with such numbers replaced; `None` when there is none, or the text is broken in another way as well.
pub(super) fn non_finite(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let (mut at, mut copied, mut found) = (0, 0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_string(bytes, at)?,
            b if is_word(b) => {
                let end = at + bytes[at..].iter().take_while(|b| is_word(**b)).count();
                if is_non_finite(&text[at..end]) {
                    out.push_str(&text[copied..at]);
                    out.push_str("null");
                    copied = end;
                    found = true;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    out.push_str(&text[copied..]);
    found.then_some(out)
}

/// Bytes that numbers and bare words are made of; all are ASCII, so a word ends at a character's edge.
fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.')
}

fn is_non_finite(word: &str) -> bool {
    let bare = word.strip_prefix('-').unwrap_or(word);
    if ["nan", "infinity", "inf"].iter().any(|name| bare.eq_ignore_ascii_case(name)) {
        return true;
    }
    bare.starts_with(|c: char| c.is_ascii_digit()) && word.parse::<f64>().is_ok_and(f64::is_infinite)
}

/// The place after the string that starts at `at`; `None` when it does not end.
fn end_of_string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        match *bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_that_are_none_are_replaced() {
        let cases = [
            (r#"{"v":NaN}"#, Some(r#"{"v":null}"#)),
            (r#"[-Infinity, Infinity,nan,1e999,-1e999]"#, Some("[null, null,null,null,null]")),
            (r#"{"NaN":"NaN \" NaN","v":1e9}"#, None),
            (r#"{"v":true,"w":null,"x":-1.5e+3}"#, None),
            (r#"{"v":"NaN"#, None),
            (r#"{"s":"煤","v":NaN}"#, Some(r#"{"s":"煤","v":null}"#)),
        ];
        for (text, want) in cases {
            assert_eq!(non_finite(text).as_deref(), want, "{text}");
        }
    }
}
