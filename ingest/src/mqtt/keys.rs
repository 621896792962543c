//! Documentation of the keys of kind `mqtt`; a test holds it against what `options.rs` asks for.

use crate::keys::KeyDoc;

/// Keys beside [`crate::keys::COMMON`].
pub const KEYS: &[KeyDoc] = &[
    key(
        "url",
        "text",
        "required",
        "The broker: `mqtt://host:1883`, or `mqtts://host:8883` for TLS. No user or password in it.",
    ),
    key("topics", "list of texts", "required", "Topic filters to subscribe, with `+` and `#`."),
    key(
        "map",
        "table",
        "required",
        "What in topic and message is what; see the keys below and the chapter on mappings.",
    ),
    key(
        "map.site",
        "text",
        "required",
        "Code of the site: `{n}` part n of the topic, from 0; `/x` JSON pointer; else itself.",
    ),
    key("map.point", "text", "required for readings", "Code of the point, likewise."),
    key(
        "map.value",
        "text",
        "required for readings",
        "JSON pointer to the value: a number, a text that is one, true or false; null is missing.",
    ),
    key(
        "map.time",
        "text",
        "no device time",
        "JSON pointer to the time: RFC 3339 with a zone, or a number of `time_format`.",
    ),
    key("map.status", "text", "0", "JSON pointer to the status: national bits, 0 to 255."),
    key(
        "map.card",
        "text",
        "-",
        "JSON pointer to a person's card: the messages are positions of people, not readings.",
    ),
    key("map.name", "text", "-", "Name of the person; for positions only."),
    key("map.area", "text", "-", "Code of the area where the card was seen; for positions only."),
    key("map.station", "text", "-", "Code of the base station that saw it; for positions only."),
    key("map.out", "text", "false", "JSON pointer to a flag: the card was seen leaving; for positions only."),
    key("map.entered", "text", "-", "JSON pointer to the time of going below; for positions only."),
    key(
        "map.state",
        "text",
        "-",
        "Work state of the card, by which rules know a call for help; for positions only.",
    ),
    key(
        "each",
        "text",
        "the message is one",
        "JSON pointer to a list, or an object, of readings in a message; pointers of `map` are then relative to one of them, `^/x` to the message, and `{key}` is its name in the object.",
    ),
    key("time_format", "one of s, ms, us", "ms", "What a number as time counts, since 1970 in UTC."),
    key(
        "protocol",
        "one of 5, 3.1.1",
        "5",
        "MQTT version. 5 bounds memory by `receive_maximum`; brokers from before 2018 need 3.1.1.",
    ),
    key(
        "qos",
        "0 or 1",
        "1",
        "Quality of service. With 0 the broker keeps nothing while firedamp is away, and nothing is acknowledged.",
    ),
    key(
        "client_id",
        "text",
        "firedamp-NAME",
        "Who firedamp is to the broker, which keeps the session under it: unique at the broker, and the same after a restart.",
    ),
    key("username", "text", "-", "User at the broker."),
    key(
        "password",
        "{ env = \"NAME\" } or { file = \"PATH\" }",
        "-",
        "Where the password stands; never in this file.",
    ),
    key(
        "ca",
        "path",
        "the system's",
        "PEM file with the certificates that the broker's must come from; `mqtts` only.",
    ),
    key(
        "client_cert",
        "path",
        "-",
        "PEM file with firedamp's own certificate, for brokers that ask for one; with `client_key` and `ca`.",
    ),
    key("client_key", "path", "-", "PEM file with its private key."),
    key("keep_alive", "duration", "30s", "How often the broker is pinged; at least 5s (MQTT 5) or 1s."),
    key(
        "receive_maximum",
        "1 to 65535",
        "512",
        "Messages that the broker may send before the first is durable and acknowledged; MQTT 5.",
    ),
    key(
        "session_expiry",
        "duration",
        "7d",
        "How long the broker keeps the session while firedamp is away; MQTT 5.",
    ),
    key(
        "clients",
        "1 to 64",
        "1",
        "Connections, among which the topics are shared out in turn; at most as many as topics.",
    ),
    key(
        "max_message",
        "size",
        "1MiB",
        "Largest message that is decoded; a larger one is refused as `oversize`.",
    ),
    key(
        "under_way_max",
        "size",
        "256MiB",
        "Bytes of messages that may wait for the log on one connection; above it firedamp hangs up and leaves them to the \
         broker until the log has taken what it has.",
    ),
    key(
        "watch_broker",
        "true or false",
        "true",
        "Whether Mosquitto's counter of dropped messages is watched; false for brokers that hang up on a subscription of $SYS.",
    ),
];

const fn key(key: &'static str, kind: &'static str, default: &'static str, doc: &'static str) -> KeyDoc {
    KeyDoc { key, kind, default, doc }
}
