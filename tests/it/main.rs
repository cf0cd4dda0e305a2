//! Tests that span several crates: every registry, training as a library, and the program.

#[cfg(test)]
mod adversarial;
#[cfg(test)]
mod attack;
#[cfg(test)]
mod checkpoints;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod cnn;
#[cfg(test)]
mod cohort;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod defensive;
#[cfg(test)]
mod disk_full;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod fine_tuning;
#[cfg(test)]
mod imagenet_tree;
#[cfg(test)]
mod methods;
#[cfg(feature = "mpi")]
#[cfg(test)]
mod mpi;
#[cfg(test)]
mod pack;
#[cfg(test)]
mod photos;
#[cfg(test)]
mod pipeline;
#[cfg(test)]
mod real_data;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod ship;
#[cfg(test)]
mod soft_targets;
#[cfg(test)]
mod sums;
#[cfg(test)]
mod support;
#[cfg(test)]
mod teachers;
