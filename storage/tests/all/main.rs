//! Tests of the storage from outside: one binary, for each links DataFusion.

mod basics;
mod exactly_once;
mod rig;
