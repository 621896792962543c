//! MQTT gateways: a publisher with frames of its own ([`wire`], [`publisher`]), what the messages say ([`payload`]), and a
//! broker for when none is given ([`broker`]).

pub mod broker;
pub mod payload;
pub mod publisher;
pub mod wire;

pub use broker::Broker;
pub use publisher::{Message, Progress, Publisher, PublisherOptions};
