//! The inbox at work, on real folders.

mod folder;
mod records;
mod rules;
mod setup;
