//! Each fault of issue 3 put into the running binary under load.
//!
//! [`stand::Stand`] runs four healthy neighbours: MQTT through Mosquitto, Modbus, HTTP push, national files. During each fault
//! [`stand::Stand::pass`] sees that every one of them brings more readings in *before* the fault is healed, and that a gas alarm
//! still rises and falls; at the end each reading of theirs is in the table once, with its value, and the balance is exact.
//! The binary's own latencies are printed, not asserted: nothing here is timed.

mod away;
mod disk;
mod files;
mod messages;
mod named;
mod pushed;
mod registers;
mod stand;
mod told;
mod writer;
