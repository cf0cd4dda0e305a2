//! Networks that run.
//!
//! A [`Plan`] is made once from a graph, the mode and what is asked for: it joins operations
//! (convolution, batch norm, sum, activation; linear layer, ReLU, dropout), folds batch norm in
//! evaluation, and knows when an activation is read for the last time. Forward is a loop over its
//! steps, backward the same loop in reverse. There is no second path for training, evaluation,
//! attacks or single operations.

mod blocks;
mod border;
mod courier;
mod group;
mod images;
mod maps;
mod net;
mod pass;
mod plan;
mod purpose;
mod run;
mod shared;
mod single;
mod sinks;
mod weights;

pub use courier::Update;
pub use net::Net;
pub use pass::Pass;
pub use shared::{Shared, share};
pub use single::apply;

#[cfg(test)]
mod shards_tests;
#[cfg(test)]
mod tests;
