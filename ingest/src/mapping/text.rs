//! What the texts of a mapping say: JSON pointers, topic parts, constants.

use super::Makes;

/// Number of [`Slot`]s.
pub(super) const SLOTS: usize = 12;

/// What a mapping fills.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(super) enum Slot {
    Site,
    Point,
    Value,
    Time,
    Status,
    Card,
    Name,
    Area,
    Station,
    Out,
    Entered,
    State,
}

impl Slot {
    const ALL: [Slot; SLOTS] = [
        Slot::Site,
        Slot::Point,
        Slot::Value,
        Slot::Time,
        Slot::Status,
        Slot::Card,
        Slot::Name,
        Slot::Area,
        Slot::Station,
        Slot::Out,
        Slot::Entered,
        Slot::State,
    ];

    pub(super) fn key(self) -> &'static str {
        match self {
            Slot::Site => "site",
            Slot::Point => "point",
            Slot::Value => "value",
            Slot::Time => "time",
            Slot::Status => "status",
            Slot::Card => "card",
            Slot::Name => "name",
            Slot::Area => "area",
            Slot::Station => "station",
            Slot::Out => "out",
            Slot::Entered => "entered",
            Slot::State => "state",
        }
    }

    pub(super) fn named(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|slot| slot.key() == key)
    }

    pub(super) fn belongs_to(self, makes: Makes) -> bool {
        match self {
            Slot::Site | Slot::Time => true,
            Slot::Point | Slot::Value | Slot::Status => makes == Makes::Readings,
            _ => makes == Makes::Positions,
        }
    }

    /// Whether a constant or a part of the topic makes sense for it.
    fn is_text(self) -> bool {
        !matches!(self, Slot::Value | Slot::Time | Slot::Status | Slot::Out | Slot::Entered)
    }
}

/// One step of a JSON pointer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    /// Name of an object's member.
    pub(super) name: Box<str>,
    /// The same as index of an array.
    pub(super) index: Option<usize>,
}

/// Where a slot comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Source {
    Absent,
    /// A constant.
    Constant(String),
    /// Parts of the topic among text.
    Topic(Vec<Piece>),
    /// Pointer into the message, or with `each` into one element.
    Element(Vec<Segment>),
    /// Pointer into the whole message, beside `each`.
    Outer(Vec<Segment>),
    /// Name of the member that the element stands in.
    Key,
}

/// A piece of a text with topic parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    Text(String),
    Part(usize),
}

impl Source {
    pub(super) fn parse(written: &str, slot: Slot, each: bool) -> Result<Self, String> {
        if written.is_empty() || written.starts_with('/') {
            return pointer(written).map(Source::Element);
        }
        if let Some(rest) = written.strip_prefix('^') {
            // Without `each` the message is the element: one tree is enough.
            return pointer(rest).map(if each { Source::Outer } else { Source::Element });
        }
        if !slot.is_text() {
            return Err(format!("`{written}` is not a JSON pointer; write for example \"/{}\"", slot.key()));
        }
        if written == "{key}" {
            return if each { Ok(Source::Key) } else { Err("`{key}` needs `each` on an object".to_owned()) };
        }
        let pieces = pieces(written)?;
        match pieces.as_slice() {
            [Piece::Text(text)] => Ok(Source::Constant(text.clone())),
            _ => Ok(Source::Topic(pieces)),
        }
    }

    pub(super) fn topic_part_max(&self) -> Option<usize> {
        let Source::Topic(pieces) = self else { return None };
        pieces.iter().filter_map(|p| if let Piece::Part(n) = p { Some(*n) } else { None }).max()
    }
}

fn pieces(written: &str) -> Result<Vec<Piece>, String> {
    let mut out = Vec::new();
    let mut rest = written;
    while let Some(open) = rest.find(['{', '}']) {
        let (text, brace) = rest.split_at(open);
        let part = brace.strip_prefix('{').and_then(|b| b.split_once('}'));
        let Some((number, after)) = part else {
            return Err(format!("`{written}`: a brace does not close; write a topic part as {{1}}"));
        };
        let number = number.parse::<usize>().map_err(|_| {
            format!("`{{{number}}}` is no part of a topic; write its number, from 0, as {{1}}")
        })?;
        if !text.is_empty() {
            out.push(Piece::Text(text.to_owned()));
        }
        out.push(Piece::Part(number));
        rest = after;
    }
    if !rest.is_empty() {
        out.push(Piece::Text(rest.to_owned()));
    }
    Ok(out)
}

/// The steps of a JSON pointer, RFC 6901.
pub(super) fn pointer(written: &str) -> Result<Vec<Segment>, String> {
    if written.is_empty() {
        return Ok(Vec::new());
    }
    let Some(rest) = written.strip_prefix('/') else {
        return Err(format!(
            "`{written}` is not a JSON pointer: it starts with `/`, or is empty for the whole"
        ));
    };
    rest.split('/').map(segment).collect()
}

fn segment(written: &str) -> Result<Segment, String> {
    let mut name = String::with_capacity(written.len());
    let mut chars = written.chars();
    while let Some(c) = chars.next() {
        match c {
            '~' => match chars.next() {
                Some('0') => name.push('~'),
                Some('1') => name.push('/'),
                _ => {
                    return Err(format!("`{written}`: `~` stands only in `~0` (for `~`) and `~1` (for `/`)"));
                }
            },
            c => name.push(c),
        }
    }
    // RFC 6901: digits without a leading zero.
    let plain = name == "0" || (!name.starts_with('0') && name.bytes().all(|b| b.is_ascii_digit()));
    let index = if plain { name.parse().ok() } else { None };
    Ok(Segment { name: name.into(), index })
}
