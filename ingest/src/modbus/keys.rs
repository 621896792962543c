//! The keys of kind `modbus`, for the generated reference.

use crate::keys::KeyDoc;

const fn key(key: &'static str, kind: &'static str, default: &'static str, doc: &'static str) -> KeyDoc {
    KeyDoc { key, kind, default, doc }
}

/// All keys beside the common ones.
pub const KEYS: &[KeyDoc] = &[
    key(
        "url",
        "text",
        "required",
        "The device or gateway, `tcp://host:port`; port 502 where none stands. One source is one link.",
    ),
    key(
        "site",
        "text",
        "required",
        "Site of the points; a register may name its own. `{unit}` in it becomes the number of the unit.",
    ),
    key(
        "unit",
        "0 to 255",
        "1",
        "Unit (slave) that is asked; a register may name its own, so that one link serves many.",
    ),
    key(
        "units",
        "text",
        "-",
        "Several units with the same registers, `\"1-20, 33\"`; `{unit}` in the point tells them apart.",
    ),
    key(
        "every",
        "duration",
        "1s",
        "Poll interval, 1 ms to 1 day, at a fixed rate; a poll that is still under way is never overtaken, the missed ones are counted.",
    ),
    key(
        "timeout",
        "duration",
        "1s",
        "Longest wait for a connection or a reply, 10 ms to 60 s; after it the link is dropped and opened anew.",
    ),
    key("block", "4 to 125", "125", "Most registers of one request; 16 times as many bits."),
    key(
        "gap",
        "0 to 125",
        "8",
        "Most registers between two values that are read along to save a request; 16 times as many bits.",
    ),
    key(
        "start",
        "RFC 3339 or Unix milliseconds",
        "-",
        "With `time = \"replay\"`: the time of the first row that the device shows.",
    ),
    key("step", "duration", "-", "With `time = \"replay\"`: from row to row."),
    key(
        "row.unit",
        "0 to 255",
        "the first unit",
        "Replay: unit that shows the number of its row. Without `row` each complete poll is the next row.",
    ),
    key("row.table", "one of holding, input", "holding", "Replay: table of the number of the row."),
    key("row.address", "0 to 65535", "required", "Replay: address of the number of the row, zero-based."),
    key("row.type", "one of u16, i16, u32, i32, u64, i64", "u16", "Replay: type of the number of the row."),
    key("row.order", "one of ABCD, CDAB, BADC, DCBA", "ABCD", "Replay: order of its bytes."),
    key("register.point", "text", "required", "Point code; `{unit}` in it becomes the number of the unit."),
    key("register.site", "text", "the source's", "Site of this point."),
    key("register.unit", "0 to 255", "the source's", "Unit of this register."),
    key("register.table", "one of holding, input, coil, discrete", "holding", "Table of the value."),
    key(
        "register.address",
        "0 to 65535",
        "required",
        "Address of its first register, zero-based: 40001 of a manual is 0.",
    ),
    key(
        "register.type",
        "one of u16, i16, u32, i32, u64, i64, f32, f64, bit",
        "u16, or bit for coil and discrete",
        "Type of the value; 1, 2 or 4 registers.",
    ),
    key(
        "register.order",
        "one of ABCD, CDAB, BADC, DCBA",
        "ABCD",
        "Order of the bytes: CDAB has its words reversed, BADC the bytes in each word, DCBA both; the same two switches for 16 and 64 bits.",
    ),
    key(
        "register.bit",
        "0 to 15",
        "required for type bit in a register",
        "Which bit of the register, 0 the lowest.",
    ),
    key("register.scale", "number", "1", "The value is the raw number times scale plus offset."),
    key("register.offset", "number", "0", "See `scale`."),
    key(
        "register.missing",
        "number",
        "-",
        "Raw number that means no value, before the scale; for a signed type with or without its sign (-32768 or 0x8000).",
    ),
    key(
        "register.status.table",
        "one of holding, input, coil, discrete",
        "holding",
        "Table of the status word of this point.",
    ),
    key("register.status.address", "0 to 65535", "required", "Address of the status word."),
    key("register.status.map.bit", "0 to 15", "-", "The line holds when this bit is set."),
    key(
        "register.status.map.mask",
        "1 to 0xFFFF",
        "-",
        "The line holds when any of these bits is set, or with `equals`, when they have that value.",
    ),
    key(
        "register.status.map.equals",
        "0 to 0xFFFF",
        "-",
        "Value of the masked bits (of the whole word without a mask) for which the line holds.",
    ),
    key(
        "register.status.map.set",
        "one or a list of alarm, cut, calibration, over_range, station_fault, not_inspected, paused, sensor_fault",
        "required",
        "Status bits that the line sets; all lines that hold add theirs.",
    ),
];
