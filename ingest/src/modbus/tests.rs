//! The source against a device written by hand: what is read, what a misbehaving device can and cannot do.

mod device;
mod faults;
mod reading;
mod setup;
