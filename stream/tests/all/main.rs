//! Integration tests of the log: every implementation against the conformance suite, and what each promises beyond it.

mod crash;
mod embedded;
mod forward;
mod full;
mod kafka;
mod memory;
mod model_check;
