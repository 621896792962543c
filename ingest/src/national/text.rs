//! The outer shape of a national file, pure: is it complete, which encoding, header, records, fields. Nothing is copied.
//!
//! | rule | here |
//! |---|---|
//! | UTF-8 without BOM | a BOM is tolerated; anything else is refused, GBK by its name |
//! | the file ends with two pipes | after trailing blanks and one closing quote are cut; else it is not complete |
//! | field `;`, record `~` | blanks and line breaks around records and fields are cut; the last `~` may be absent |
//! | full-width `；` | in the header the file is refused, in a record the record |
//! | a pair of quotes around the whole text | one pair is stripped: a generator in the field writes the text as JSON |
//! | header | mine code first, upload time last; CDDY has 7 parts, RYXX 8, the others 3; more are tolerated |

use model::Micros;
use model::time::parse_national;
use std::fmt;

/// The full-width semicolon that the format forbids.
const FULL_WIDTH: char = '；';

/// A file name: `<mine>_<TYPE>_<yyyyMMddHHmmss>.txt`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name<'a> {
    /// Mine code: 12 digits; in old names 20 letters and digits.
    pub mine: &'a str,
    /// `CDSS`, `RYSS`, ...
    pub kind: &'a str,
    /// Time in the name, as it stands there.
    pub stamp: &'a str,
}

/// The parts of a file name; `None` when it is none of a national file.
pub fn name(text: &str) -> Option<Name<'_>> {
    let stem = text.strip_suffix(".txt").or_else(|| text.strip_suffix(".TXT"))?;
    let mut parts = stem.split('_');
    let (mine, kind, stamp) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let mine_is_good = match mine.len() {
        12 => digits(mine),
        20 => mine.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()),
        _ => false,
    };
    let kind_is_good = !kind.is_empty() && kind.len() <= 16 && kind.bytes().all(|b| b.is_ascii_uppercase());
    let good = mine_is_good && kind_is_good && stamp.len() == 14 && digits(stamp) && parts.next().is_none();
    good.then_some(Name { mine, kind, stamp })
}

/// Why a whole file is refused: a short word for metrics, a sentence for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileError {
    /// A word of a fixed set.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A [`FileError`].
pub fn refuse(reason: &'static str, message: impl Into<String>) -> FileError {
    FileError { reason, message: message.into() }
}

fn is_blank(b: &u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n' | 0)
}

fn trimmed_end(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|b| !is_blank(b)).map_or(0, |i| i + 1)
}

/// Whether the file was written to its end. Works on bytes: an unfinished file may end inside a character.
pub fn is_complete(bytes: &[u8]) -> bool {
    let bytes = &bytes[..trimmed_end(bytes)];
    let bytes = bytes.strip_suffix(b"\"").map_or(bytes, |inner| &inner[..trimmed_end(inner)]);
    bytes.ends_with(b"||")
}

/// Header of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header<'a> {
    /// Mine code.
    pub mine: &'a str,
    /// Mine name.
    pub name: &'a str,
    /// Upload time.
    pub time: Micros,
    /// All parts.
    pub parts: Vec<&'a str>,
}

/// A complete file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Text<'a> {
    /// Its first record.
    pub header: Header<'a>,
    whole: &'a str,
    body: &'a str,
}

/// One record and where it begins in the whole text, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Without the blanks around it.
    pub text: &'a str,
    /// Byte position.
    pub at: usize,
}

/// Bytes as UTF-8, with a reason that names what they seem to be.
///
/// # Errors
/// The first byte that is no UTF-8.
pub fn utf8(bytes: &[u8]) -> Result<&str, FileError> {
    std::str::from_utf8(bytes).map_err(|e| {
        let at = e.valid_up_to();
        let gbk = matches!(bytes[at..], [0x81..=0xfe, 0x40..=0x7e | 0x80..=0xfe, ..]);
        let guess = if gbk { "it looks like GBK" } else { "it is of no known encoding" };
        let message = format!("not UTF-8 at byte {at}: {guess}; the format demands UTF-8 without BOM, have the sender write it so");
        refuse("encoding", message)
    })
}

/// Opens a complete file.
///
/// # Errors
/// [`FileError`]: encoding, quotes, end, header.
pub fn open(bytes: &[u8]) -> Result<Text<'_>, FileError> {
    let whole = utf8(bytes)?;
    let blank = |c: char| c == '\0' || c.is_whitespace();
    let text = whole.trim_start_matches('\u{feff}').trim_matches(blank);
    let text = match (text.strip_prefix('"'), text.strip_suffix('"')) {
        (Some(_), Some(_)) if text.len() >= 2 => text[1..text.len() - 1].trim_matches(blank),
        (None, None) => text,
        _ => return Err(refuse("quotes", "a quote at one end of the file only")),
    };
    let Some(body) = text.strip_suffix("||") else {
        return Err(refuse("incomplete", "the file does not end with two pipes"));
    };
    if body.contains("||") {
        return Err(refuse("end", "two pipes stand inside the file: are two files in one?"));
    }
    let (first, rest) = body.split_once('~').unwrap_or((body, &body[body.len()..]));
    Ok(Text { header: header(first)?, whole, body: rest })
}

fn header(text: &str) -> Result<Header<'_>, FileError> {
    if text.contains(FULL_WIDTH) {
        return Err(refuse("header", "the header holds a full-width `；`; fields are parted by `;`"));
    }
    let parts: Vec<&str> = text.split(';').map(str::trim).collect();
    if parts.len() < 3 {
        let message =
            format!("the header has {} parts, expected mine code; mine name; upload time", parts.len());
        return Err(refuse("header", message));
    }
    let time = parse_national(parts[parts.len() - 1])
        .map_err(|e| refuse("header", format!("upload time of the header: {e}")))?;
    Ok(Header { mine: parts[0], name: parts[1], time, parts })
}

impl<'a> Text<'a> {
    /// The records behind the header. A blank rest behind the last `~` is none.
    pub fn records(&self) -> impl Iterator<Item = Record<'a>> + use<'a> {
        let base = self.body.as_ptr() as usize - self.whole.as_ptr() as usize;
        let mut next = 0;
        let (body, mut last) = (self.body, false);
        std::iter::from_fn(move || {
            if last {
                return None;
            }
            let (raw, at) = match body[next..].find('~') {
                Some(len) => (&body[next..next + len], next),
                None => {
                    last = true;
                    (&body[next..], next)
                }
            };
            next = at + raw.len() + 1;
            let text = raw.trim();
            if last && text.is_empty() {
                return None;
            }
            Some(Record { text, at: base + at + (raw.len() - raw.trim_start().len()) })
        })
    }
}

/// Why a record is skipped: a short word for metrics, a sentence for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordError {
    /// A word of a fixed set.
    pub reason: &'static str,
    /// What is wrong.
    pub message: String,
    /// Byte position of the field in the record.
    pub at: usize,
}

/// The `N` fields of a record, without the blanks around them.
///
/// # Errors
/// Another number of fields, or a full-width `；`.
pub fn fields<const N: usize>(record: &str) -> Result<[&str; N], RecordError> {
    if let Some(at) = record.find(FULL_WIDTH) {
        let message = "a full-width `；`; fields are parted by `;`".to_owned();
        return Err(RecordError { reason: "full_width", message, at });
    }
    let mut out = [""; N];
    let mut count = 0;
    for field in record.split(';') {
        if count < N {
            out[count] = field.trim();
        }
        count += 1;
    }
    if count != N {
        return Err(RecordError {
            reason: "fields",
            message: format!("{count} fields, expected {N}"),
            at: 0,
        });
    }
    Ok(out)
}

/// Where a field begins in its record, in bytes; both are slices of one text.
pub fn place(record: &str, field: &str) -> usize {
    (field.as_ptr() as usize).saturating_sub(record.as_ptr() as usize).min(record.len())
}

#[cfg(test)]
mod tests;
