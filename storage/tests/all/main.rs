//! Tests of the storage from outside: one binary, for each links DataFusion.

mod accounts;
mod basics;
mod exactly_once;
mod history;
mod minio;
mod queries;
mod rig;
mod row_numbers;
mod stats;
mod upkeep;
