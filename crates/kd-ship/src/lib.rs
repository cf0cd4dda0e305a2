#![doc = include_str!("../README.md")]

mod choice;
mod cut;
mod folder;
mod images;
mod int8;
mod judge;
mod latency;
mod networks;
mod objectives;
mod order;
mod pace;
mod schedule;
mod ship;
mod stress;
mod suites;
#[cfg(test)]
mod tests;
mod write;

pub use cut::{cut_table, write_part};
pub use int8::calibrated;
pub use latency::latencies;
pub use order::{Cut, Order, Part, StudentKind, Teacher};
pub use ship::ship;
