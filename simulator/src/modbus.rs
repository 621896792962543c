//! Modbus TCP devices: registers written from the specification ([`encode`]), what stands at which address ([`map`]), and
//! a server with its own frames ([`server`]) that can also misbehave when told to.

pub mod encode;
pub mod map;
pub mod server;

pub use encode::{Kind, Order};
pub use map::{Register, RegisterMap};
pub use server::{Faults, Image, ModbusServer, Table, Unit};
