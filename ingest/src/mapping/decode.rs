//! From one message to rows of a delivery.

use super::text::{Piece, Segment, Slot, Source};
use super::walk::{Scalar, Slots};
use super::{Makes, Mapping, number, repair};
use crate::builder::{DeliveryBuilder, shorten};
use model::people::{Position, Presence};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt::{self, Write};

/// Room that one decoder uses again for each message: texts of the slots that come from the topic or a constant.
#[derive(Default, Debug)]
pub struct Scratch {
    texts: [String; super::SLOTS],
    code: [String; 2],
}

impl Mapping {
    /// Decodes one message into `out`. Everything in it ends as a reading, a position, or a counted refusal.
    pub fn decode(&self, scratch: &mut Scratch, topic: &str, payload: &[u8], out: &mut DeliveryBuilder) {
        if !self.topic_texts(topic, &mut scratch.texts) {
            return out.refuse("topic", 1, &format!("`{topic}` has fewer parts than the mapping asks for"));
        }
        let payload = payload.strip_prefix(b"\xef\xbb\xbf").unwrap_or(payload);
        let text = match std::str::from_utf8(payload) {
            Ok(text) => text,
            Err(e) => {
                return out.refuse(
                    "encoding",
                    1,
                    &format!("`{topic}`: not UTF-8 at byte {}", e.valid_up_to()),
                );
            }
        };
        let mut message =
            Message { mapping: self, scratch, out, done: 0, skip: 0, found: false, key: String::new() };
        let Err(error) = message.read(text) else { return };
        let error = match repair::non_finite(text) {
            None => error,
            Some(repaired) => {
                // Elements that were read whole the first time are in the delivery already.
                message.skip = std::mem::take(&mut message.done);
                match message.read(&repaired) {
                    Ok(()) => return,
                    Err(error) => error,
                }
            }
        };
        message.out.refuse("json", 1, &format!("`{topic}`: {error}: {}", shorten(text)));
    }

    /// Fills in what the topic and constants give; false when the topic has too few parts.
    fn topic_texts(&self, topic: &str, texts: &mut [String; super::SLOTS]) -> bool {
        for (source, text) in self.sources.iter().zip(texts) {
            match source {
                Source::Constant(constant) => constant.clone_into(text),
                Source::Topic(pieces) => {
                    text.clear();
                    for piece in pieces {
                        match piece {
                            Piece::Text(t) => text.push_str(t),
                            Piece::Part(n) => match topic.split('/').nth(*n) {
                                Some(part) => text.push_str(part),
                                None => return false,
                            },
                        }
                    }
                }
                _ => {}
            }
        }
        true
    }
}

/// A message being decoded.
struct Message<'a> {
    mapping: &'a Mapping,
    scratch: &'a mut Scratch,
    out: &'a mut DeliveryBuilder,
    /// Elements read whole in this reading of the text.
    done: usize,
    /// How many of them were handed over by an earlier reading.
    skip: usize,
    /// Whether the place of `each` was found.
    found: bool,
    /// Name of the member that the present element stands in.
    key: String,
}

impl Message<'_> {
    fn read(&mut self, text: &str) -> Result<(), serde_json::Error> {
        let mapping = self.mapping;
        let mut outer = Slots::default();
        if !mapping.outer.is_empty() {
            let mut json = serde_json::Deserializer::from_str(text);
            mapping.outer.walk(&mut outer).deserialize(&mut json)?;
        }
        let mut json = serde_json::Deserializer::from_str(text);
        match &mapping.each {
            None => {
                self.element(&mut json, &outer)?;
            }
            Some(path) => {
                Each { message: self, outer: &outer, path }.deserialize(&mut json)?;
                if !self.found {
                    self.out.refuse(
                        "type",
                        1,
                        &format!("there is no list where `each` looks for it: {}", shorten(text)),
                    );
                }
            }
        }
        json.end()
    }

    /// Reads one element and hands it over.
    #[inline]
    fn element<'de, D: Deserializer<'de>>(&mut self, json: D, outer: &Slots<'de>) -> Result<(), D::Error> {
        let mut slots = outer.clone();
        self.mapping.element.walk(&mut slots).deserialize(json)?;
        self.done += 1;
        if self.done <= self.skip {
            return Ok(());
        }
        let handed = match self.mapping.makes {
            Makes::Readings => self.reading(&slots),
            Makes::Positions => self.position(&slots),
        };
        if let Err((reason, sample)) = handed {
            self.out.refuse(reason, 1, &sample);
        }
        Ok(())
    }

    #[inline]
    fn reading(&mut self, slots: &Slots<'_>) -> Result<(), (&'static str, String)> {
        let value = number::value(&slots[Slot::Value as usize]).map_err(|e| ("value", e))?;
        let time =
            number::time(&slots[Slot::Time as usize], self.mapping.time_format).map_err(|e| ("time", e))?;
        let status = number::status(&slots[Slot::Status as usize]).map_err(|e| ("status", e))?;
        let [site_code, point_code] = &mut self.scratch.code;
        let (texts, key) = (&self.scratch.texts, self.key.as_str());
        let site = code(self.mapping, Slot::Site, slots, texts, key, site_code).map_err(|e| ("name", e))?;
        let point =
            code(self.mapping, Slot::Point, slots, texts, key, point_code).map_err(|e| ("name", e))?;
        self.out.reading(site, point, time, value, status);
        Ok(())
    }

    fn position(&mut self, slots: &Slots<'_>) -> Result<(), (&'static str, String)> {
        let format = self.mapping.time_format;
        let time = number::time(&slots[Slot::Time as usize], format).map_err(|e| ("time", e))?;
        let entered = number::time(&slots[Slot::Entered as usize], format).map_err(|e| ("time", e))?;
        let out = number::flag(&slots[Slot::Out as usize]).map_err(|e| ("value", e))?;
        let time = self.out.position_time(time);
        let (texts, key) = (&self.scratch.texts, self.key.as_str());
        let text = |slot: Slot| {
            let mut room = String::new();
            let found = code(self.mapping, slot, slots, texts, key, &mut room).map(str::to_owned);
            // Name, area, station and state may be unknown; a card or a site may not.
            let may_lack = !matches!(slot, Slot::Site | Slot::Card);
            match (&slots[slot as usize], found) {
                (Scalar::Absent | Scalar::Null, Err(_)) if may_lack => Ok(String::new()),
                (_, found) => found.map_err(|e| ("name", e)),
            }
        };
        self.out.position(Position {
            site: text(Slot::Site)?,
            card: text(Slot::Card)?,
            name: text(Slot::Name)?,
            area: text(Slot::Area)?,
            station: text(Slot::Station)?,
            time,
            presence: if out { Presence::Out } else { Presence::Below },
            entered,
            state: text(Slot::State)?,
        });
        Ok(())
    }
}

/// The code in a slot. Whole numbers are written into `room`.
#[inline]
fn code<'r>(
    mapping: &Mapping,
    slot: Slot,
    slots: &'r Slots<'_>,
    texts: &'r [String; super::SLOTS],
    key: &'r str,
    room: &'r mut String,
) -> Result<&'r str, String> {
    match &mapping.sources[slot as usize] {
        Source::Constant(_) | Source::Topic(_) => return Ok(&texts[slot as usize]),
        Source::Key => return Ok(key),
        _ => {}
    }
    room.clear();
    let written = match &slots[slot as usize] {
        Scalar::Text(text) => return Ok(text),
        Scalar::Unsigned(n) => write!(room, "{n}"),
        Scalar::Signed(n) => write!(room, "{n}"),
        _ => return Err(format!("`{}` is not there, or neither a text nor a whole number", slot.key())),
    };
    written.expect("writing to a String cannot fail");
    Ok(room)
}

/// Goes down the path of `each` and reads the elements there.
struct Each<'a, 'm, 'de> {
    message: &'a mut Message<'m>,
    outer: &'a Slots<'de>,
    path: &'a [Segment],
}

/// One element of the list.
struct Element<'a, 'm, 'de> {
    message: &'a mut Message<'m>,
    outer: &'a Slots<'de>,
}

impl<'de> DeserializeSeed<'de> for Element<'_, '_, 'de> {
    type Value = ();
    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        self.message.element(json, self.outer)
    }
}

impl<'de> DeserializeSeed<'de> for Each<'_, '_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

macro_rules! a_scalar_is_no_list {
    ($($visit:ident: $kind:ty),*) => {
        $(fn $visit<E>(self, _: $kind) -> Result<(), E> {
            Ok(())
        })*
    };
}

impl<'de> Visitor<'de> for Each<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    a_scalar_is_no_list!(visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { message, outer, path } = self;
        let [segment, rest @ ..] = path else {
            message.found = true;
            while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                message.key.clear();
                message.key.push_str(&key);
                map.next_value_seed(Element { message, outer })?;
            }
            return Ok(());
        };
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if *key == *segment.name {
                map.next_value_seed(Each { message, outer, path: rest })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { message, outer, path } = self;
        let [segment, rest @ ..] = path else {
            message.found = true;
            message.key.clear();
            while seq.next_element_seed(Element { message, outer })?.is_some() {}
            return Ok(());
        };
        for index in 0.. {
            let more = if segment.index == Some(index) {
                seq.next_element_seed(Each { message, outer, path: rest })?.is_some()
            } else {
                seq.next_element::<IgnoredAny>()?.is_some()
            };
            if !more {
                return Ok(());
            }
        }
        Ok(())
    }
}
