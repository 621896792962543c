//! Mines that report by national files: what stands in them ([`national`]) and how they are dropped ([`drop`]).

pub mod drop;
pub mod national;
