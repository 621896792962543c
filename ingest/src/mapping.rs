//! The described mapping from a JSON message and its topic to readings or people's positions, compiled once.
//!
//! ```toml
//! map = { site = "{1}", point = "{3}", value = "/v", time = "/t", status = "/q" }   # one reading a message
//! each = "/readings"                                                                # or many
//! map = { site = "{1}", card = "/card", area = "/area", station = "/st", time = "/t" }   # people's positions
//! ```
//!
//! | text | stands for |
//! |---|---|
//! | `/x/y`, or empty | JSON pointer (RFC 6901: `~1` is `/`, `~0` is `~`, numbers index arrays) into the message, or with `each` into one element |
//! | `^/x` | JSON pointer into the whole message, beside `each` |
//! | `{n}` | part n of the topic, from 0; may stand among other text: `pump-{2}` |
//! | `{key}` | with `each` on an object: the name of the member |
//! | other text | itself |
//!
//! What is read is judged so: a value is a number, a text that is a number, or true and false as 1 and 0; null is
//! missing, a value that is not there is refused (`value`), for the mapping would be wrong. A time is RFC 3339 with a zone or
//! a number of `time_format`; null or absent means that the device has no clock. A status is a whole number from 0 to 255,
//! absent is 0. Codes are texts or whole numbers.
//!
//! Decoding is one pass over the text without a tree. A message that is no JSON counts as one refusal, `json` or `encoding`;
//! elements that were read whole before the mistake are taken. `NaN`, `Infinity` and numbers too large for a double, which
//! careless devices write though JSON has no such thing, are read as missing and cost their neighbours nothing.

mod decode;
mod number;
mod repair;
#[cfg(test)]
mod tests;
mod text;
mod walk;

pub use decode::Scratch;
pub use number::TimeFormat;

use text::{SLOTS, Slot, Source};
use walk::Tree;

/// The texts of a mapping as they stand in the configuration.
#[derive(Clone, Debug, Default)]
pub struct Texts<'a> {
    /// Where the elements are; `None`: the message is one.
    pub each: Option<&'a str>,
    /// Key of `map` and its text.
    pub map: Vec<(&'a str, &'a str)>,
    /// How numbers are read as times.
    pub time_format: TimeFormat,
}

/// What is wrong with one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyError {
    /// `each`, or a key of `map`; `map` when one is missing.
    pub key: String,
    /// A sentence.
    pub message: String,
}

/// What a mapping makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Makes {
    /// Readings.
    Readings,
    /// People's positions.
    Positions,
}

/// A compiled mapping.
#[derive(Clone, Debug)]
pub struct Mapping {
    makes: Makes,
    each: Option<Vec<text::Segment>>,
    sources: [Source; SLOTS],
    element: Tree,
    outer: Tree,
    time_format: TimeFormat,
}

impl Mapping {
    /// Compiles the texts.
    ///
    /// # Errors
    /// One sentence for each key that is wrong.
    pub fn compile(texts: &Texts<'_>) -> Result<Self, Vec<KeyError>> {
        let mut errors = Vec::new();
        let mut fail = |key: &str, message: String| errors.push(KeyError { key: key.to_owned(), message });
        let each = match texts.each.map(text::pointer).transpose() {
            Ok(each) => each,
            Err(message) => {
                fail("each", message);
                None
            }
        };
        let mut sources: [Source; SLOTS] = std::array::from_fn(|_| Source::Absent);
        for (key, written) in &texts.map {
            let Some(slot) = Slot::named(key) else {
                fail(key, format!("`{key}` is no key of a mapping"));
                continue;
            };
            match Source::parse(written, slot, texts.each.is_some()) {
                Ok(source) => sources[slot as usize] = source,
                Err(message) => fail(key, message),
            }
        }
        let has = |slot: Slot| texts.map.iter().any(|(key, _)| *key == slot.key());
        let makes = if has(Slot::Card) { Makes::Positions } else { Makes::Readings };
        let needed: &[Slot] = match makes {
            Makes::Readings => &[Slot::Site, Slot::Point, Slot::Value],
            Makes::Positions => &[Slot::Site, Slot::Card],
        };
        for slot in needed.iter().filter(|s| !has(**s)) {
            fail("map", format!("`{}` is missing", slot.key()));
        }
        for (key, _) in &texts.map {
            if Slot::named(key).is_some_and(|slot| !slot.belongs_to(makes)) {
                let what = if makes == Makes::Positions { "positions (`card` is there)" } else { "readings" };
                fail(key, format!("`{key}` has no meaning in a mapping of {what}"));
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let (mut element, mut outer) = (Tree::default(), Tree::default());
        for (ix, source) in sources.iter().enumerate() {
            match source {
                Source::Element(path) => element.add(path, ix),
                Source::Outer(path) => outer.add(path, ix),
                _ => {}
            }
        }
        Ok(Self { makes, each, sources, element, outer, time_format: texts.time_format })
    }

    /// Whether it makes readings or positions.
    pub fn makes(&self) -> Makes {
        self.makes
    }

    /// The highest part of a topic that it asks for.
    pub fn topic_part_max(&self) -> Option<usize> {
        self.sources.iter().filter_map(Source::topic_part_max).max()
    }
}
