//! Documentation of configuration keys as data: the generated reference is made from it, and a test holds it against what
//! the parsers ask for.

/// One key of a `[[source]]` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyDoc {
    /// Its name; `map.site` for a key of a table below.
    pub key: &'static str,
    /// What is written there: `text`, `duration`, `true or false`, `one of ...`.
    pub kind: &'static str,
    /// What counts when it is absent; `required` where it must be there; `-` where nothing is then done.
    pub default: &'static str,
    /// A sentence, with the unit.
    pub doc: &'static str,
}

/// Keys that every source has.
pub const COMMON: &[KeyDoc] = &[
    KeyDoc {
        key: "name",
        kind: "text",
        default: "required",
        doc: "Name of the source in metrics, health, the log and the balance; unique, at most 64 characters.",
    },
    KeyDoc {
        key: "kind",
        kind: "text",
        default: "required",
        doc: "The protocol: one of the kinds described here.",
    },
    KeyDoc {
        key: "time",
        kind: "one of device, receive, replay",
        default: "device",
        doc: "Whose clock counts: `device` takes the time in the message, `receive` ignores it and takes the time of \
              reception, `replay` takes the message's and judges future and late against the source's own newest time.",
    },
    KeyDoc {
        key: "drill",
        kind: "true or false",
        default: "false",
        doc: "Whether it is a drill: all its readings are marked simulated and its alarms go only to drill receivers.",
    },
];
