//! Weights as sums use them, kept for networks that learn no more.
//!
//! Key decision: nobody has to say that a weight has changed. Comparing it with a copy takes a small
//! part of the time in which it is transformed.

use std::sync::{Arc, Mutex, PoisonError};

use super::cpu::{Sum, run};
use super::geometry::Geometry;
use super::pack::Direction;
use super::scatter;
use crate::act::Buffer;
use crate::ops::source::Source;

/// What a convolution and its input gradient last made of their weights.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    forward: Mutex<Option<Arc<Prepared>>>,
    backward: Mutex<Option<Arc<Prepared>>>,
}

/// Weights, and what was made of them.
#[derive(Debug)]
struct Prepared {
    geometry: Geometry,
    weight: Vec<f32>,
    sums: Vec<Sum>,
}

impl Kept {
    /// As [`super::cpu::forward`].
    pub(crate) fn forward(
        &self,
        x: &Source,
        weight: &[f32],
        geometry: &Geometry,
        finish: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Buffer {
        let prepared = prepared(&self.forward, geometry, weight, Direction::Forward);
        run(&prepared.sums, x, geometry.output(), finish)
    }

    /// As [`super::cpu::grad_input`].
    pub(crate) fn grad_input(
        &self,
        grad: &Source,
        weight: &[f32],
        geometry: &Geometry,
        finish: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Buffer {
        if scatter::suits(geometry) {
            return scatter::grad_input(grad, weight, geometry, finish);
        }
        let prepared = prepared(&self.backward, geometry, weight, Direction::Backward);
        run(&prepared.sums, grad, geometry.input(), finish)
    }
}

/// What is kept, if it was made of these weights.
fn prepared(
    kept: &Mutex<Option<Arc<Prepared>>>,
    geometry: &Geometry,
    weight: &[f32],
    direction: Direction,
) -> Arc<Prepared> {
    let lock = || kept.lock().unwrap_or_else(PoisonError::into_inner);
    let known = lock().clone().filter(|prepared| prepared.is_of(geometry, weight));
    if let Some(prepared) = known {
        return prepared;
    }
    // Not locked meanwhile: a thread that waits for others may begin another run of the network.
    let sums = match direction {
        Direction::Forward => vec![Sum::forward(geometry, weight)],
        Direction::Backward => Sum::backward(geometry, weight),
    };
    let made = Prepared { geometry: *geometry, weight: weight.to_vec(), sums };
    let made = Arc::new(made);
    *lock() = Some(made.clone());
    made
}

impl Prepared {
    /// Whether it was made of the same bits, for images of the same size; their number does not matter.
    fn is_of(&self, geometry: &Geometry, weight: &[f32]) -> bool {
        let bits = bytemuck::cast_slice::<f32, u8>;
        Geometry { n: self.geometry.n, ..*geometry } == self.geometry
            && bits(&self.weight) == bits(weight)
    }
}
