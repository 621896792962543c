//! Simulated mines and tank farms that speak real protocols, for the demo, the tests and the benches.
//!
//! A [`World`] is pure: a [`Plan`] (seed, sizes, scenario) and a time since the start give every value, on every machine
//! the same. Around it stand devices: MQTT gateways with a broker of their own where none is given ([`mqtt`]), Modbus TCP
//! servers ([`modbus`]), drops of national files ([`files`]). [`start`] puts a plan on the network and says in
//! [`Running::sources_toml`] how firedamp reads exactly these devices. [`replay()`] plays a CSV of real readings through a
//! protocol, [`flood()`] publishes prebuilt messages as fast as asked.
//!
//! What holds here: everything listens on the loopback address unless told otherwise; every queue is bounded; what a
//! device could not send is counted; the frames and the register encoding of both protocols are written from the
//! specifications and shared with no client, so that a mistake in one does not hide in the other.

#![warn(missing_docs)]

pub mod files;
pub mod flood;
pub mod modbus;
pub mod mqtt;
pub mod plan;
pub mod replay;
mod run;
mod sources;
pub mod world;

pub use flood::{FloodPlan, FloodReport, flood, flood_up_to};
pub use mqtt::Broker;
pub use plan::{Plan, Scenario};
pub use replay::{AtEnd, Columns, ModbusReplay, ReplayOptions, ReplayProtocol, ReplayReport, Speed, replay};
pub use run::{Counts, ModbusDevice, Running, StartOptions, Transport, start};
pub use world::World;
