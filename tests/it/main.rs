//! Tests that span several crates: every registry, training as a library, and the program.

#[cfg(test)]
mod cohort;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod registry;
