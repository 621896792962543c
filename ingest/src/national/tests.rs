//! The inbox at work, on real folders.

mod configuration;
mod folder;
mod records;
mod rules;
mod setup;
