//! Sources against real and scripted peers. One binary, so that it links once.

mod mqtt;
mod pymodbus;
