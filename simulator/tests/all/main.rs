//! Devices over real protocols: read with frames written by hand, with another make's MQTT client, and from the disk.

mod files;
mod flood;
mod link;
mod modbus;
mod mqtt;
mod replay;
mod sources;
mod support;
