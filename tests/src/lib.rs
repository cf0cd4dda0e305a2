//! Tests that span several crates lie in `tests/it`; here, README's example is compiled and run.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
