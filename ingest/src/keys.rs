//! Documentation of configuration keys as data: the generated reference is made from it, and a test holds it against what
//! the parsers ask for.

pub use model::keys::KeyDoc;

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
