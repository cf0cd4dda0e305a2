//! Tests that span several crates lie in `tests/it`; here, the Rust in README is compiled and run,
//! should there be any.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
