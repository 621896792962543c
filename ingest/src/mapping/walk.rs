//! Walks one JSON value in a single pass and puts the scalars that pointers ask for into slots. Nothing that a device sends
//! is an error here except broken JSON: a value of the wrong type becomes [`Scalar::Wrong`].

use super::text::{SLOTS, Segment};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// A scalar as it stood in the message.
#[derive(Clone, Debug, PartialEq, Default)]
pub(super) enum Scalar<'de> {
    /// The pointer led nowhere.
    #[default]
    Absent,
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(Cow<'de, str>),
    /// An array or an object.
    Wrong,
}

/// What the pointers of a mapping found.
pub(super) type Slots<'de> = [Scalar<'de>; SLOTS];

/// All pointers into one value, as a tree.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Bit n: slot n is this value.
    slots: u16,
    children: Vec<(Segment, u32)>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl Tree {
    /// Adds the pointer of a slot.
    pub(super) fn add(&mut self, path: &[Segment], slot: usize) {
        let mut at = 0;
        for segment in path {
            let found = self.nodes[at].children.iter().find(|(s, _)| s == segment).map(|(_, child)| *child);
            at = match found {
                Some(child) => child as usize,
                None => {
                    let child = self.nodes.len();
                    self.nodes.push(Node::default());
                    self.nodes[at].children.push((segment.clone(), child as u32));
                    child
                }
            };
        }
        self.nodes[at].slots |= 1 << slot;
    }

    /// Whether no pointer was added.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.len() == 1 && self.nodes[0].slots == 0
    }

    /// Reads one value into the slots.
    pub(super) fn walk<'a, 'de>(&'a self, slots: &'a mut Slots<'de>) -> Walk<'a, 'de> {
        Walk { tree: self, node: &self.nodes[0], slots }
    }
}

/// Reads the value of one node.
pub(super) struct Walk<'a, 'de> {
    tree: &'a Tree,
    node: &'a Node,
    slots: &'a mut Slots<'de>,
}

impl<'de> Walk<'_, 'de> {
    #[inline]
    fn put(self, scalar: Scalar<'de>) {
        let mut bits = self.node.slots;
        while bits != 0 {
            let slot = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            if bits == 0 {
                self.slots[slot] = scalar;
                return;
            }
            self.slots[slot] = scalar.clone();
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, 'de> {
    type Value = ();
    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    #[inline]
    fn visit_bool<E>(self, v: bool) -> Result<(), E> {
        self.put(Scalar::Bool(v));
        Ok(())
    }

    #[inline]
    fn visit_u64<E>(self, v: u64) -> Result<(), E> {
        self.put(Scalar::Unsigned(v));
        Ok(())
    }

    #[inline]
    fn visit_i64<E>(self, v: i64) -> Result<(), E> {
        self.put(Scalar::Signed(v));
        Ok(())
    }

    #[inline]
    fn visit_f64<E>(self, v: f64) -> Result<(), E> {
        self.put(Scalar::Float(v));
        Ok(())
    }

    #[inline]
    fn visit_unit<E>(self) -> Result<(), E> {
        self.put(Scalar::Null);
        Ok(())
    }

    #[inline]
    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<(), E> {
        self.put(Scalar::Text(Cow::Borrowed(v)));
        Ok(())
    }

    fn visit_str<E>(self, v: &str) -> Result<(), E> {
        self.put(Scalar::Text(Cow::Owned(v.to_owned())));
        Ok(())
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (tree, node) = (self.tree, self.node);
        let mut expected = 0;
        while let Some(child) = map.next_key_seed(Key { node, expected: &mut expected })? {
            match child {
                Some(child) => {
                    let node = &tree.nodes[child as usize];
                    map.next_value_seed(Walk { tree, node, slots: &mut *self.slots })?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if node.slots != 0 {
            self.put(Scalar::Wrong);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let (tree, node) = (self.tree, self.node);
        for index in 0.. {
            let child = node.children.iter().find(|(s, _)| s.index == Some(index));
            let more = match child {
                Some((_, child)) => {
                    let node = &tree.nodes[*child as usize];
                    seq.next_element_seed(Walk { tree, node, slots: &mut *self.slots })?.is_some()
                }
                None => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        if node.slots != 0 {
            self.put(Scalar::Wrong);
        }
        Ok(())
    }
}

/// Reads the name of a member: which child it is, if any. Devices write members in one order, so the child after the
/// last one found is compared first.
struct Key<'a> {
    node: &'a Node,
    expected: &'a mut usize,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<u32>;
    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<u32>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<u32>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    #[inline]
    fn visit_str<E>(self, name: &str) -> Result<Option<u32>, E> {
        let children = &self.node.children;
        if let Some((segment, child)) = children.get(*self.expected)
            && *segment.name == *name
        {
            *self.expected += 1;
            return Ok(Some(*child));
        }
        let found = children.iter().position(|(segment, _)| *segment.name == *name);
        Ok(found.map(|ix| {
            *self.expected = ix + 1;
            children[ix].1
        }))
    }
}
