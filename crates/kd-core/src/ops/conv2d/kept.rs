//! A convolution and its input gradient on the CPU, and the weights as their sums use them, kept for
//! networks that learn no more.
//!
//! Key decision: nobody has to say that a weight has changed. Comparing it with a copy takes a small
//! part of the time in which it is transformed.

use std::sync::Arc;

use parking_lot::Mutex;

use super::cpu::{Sum, run};
use super::geometry::Geometry;
use super::pack::Direction;
use super::scatter;
use crate::act::Buffer;
use crate::ops::source::Source;

/// What a convolution and its input gradient last made of their weights.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    forward: Mutex<Option<Prepared>>,
    backward: Mutex<Option<Prepared>>,
}

/// Weights, and what was made of them.
#[derive(Debug)]
struct Prepared {
    geometry: Geometry,
    weight: Vec<f32>,
    sums: Arc<Vec<Sum>>,
}

/// `(N, H, W, C)` -> `(N, OH, OW, O)`; `finish` is called on each finished block of output pixels
/// with the place of its first value in the output, while it is still in the cache.
pub(crate) fn forward(
    kept: Option<&Kept>,
    x: &Source,
    weight: &[f32],
    geometry: &Geometry,
    finish: impl Fn(usize, &mut [f32]) + Sync,
) -> Buffer {
    let kept = kept.map(|kept| &kept.forward);
    run(&sums(kept, geometry, weight, Direction::Forward), x, geometry.output(), finish)
}

/// Gradient of the input, `(N, H, W, C)`, from that of the output; `finish` as in [`forward`].
pub(crate) fn grad_input(
    kept: Option<&Kept>,
    grad: &Source,
    weight: &[f32],
    geometry: &Geometry,
    finish: impl Fn(usize, &mut [f32]) + Sync,
) -> Buffer {
    if scatter::suits(geometry) {
        return scatter::grad_input(grad, weight, geometry, finish);
    }
    let kept = kept.map(|kept| &kept.backward);
    run(&sums(kept, geometry, weight, Direction::Backward), grad, geometry.input(), finish)
}

/// What is kept, if it was made of these weights.
fn sums(
    kept: Option<&Mutex<Option<Prepared>>>,
    geometry: &Geometry,
    weight: &[f32],
    direction: Direction,
) -> Arc<Vec<Sum>> {
    let make = || Arc::new(Sum::all(geometry, weight, direction));
    let Some(kept) = kept else { return make() };
    let of_these = |prepared: &&Prepared| prepared.is_of(geometry, weight);
    let known = kept.lock().as_ref().filter(of_these).map(|prepared| prepared.sums.clone());
    // Not locked meanwhile: a thread that waits for others may begin another run of the network.
    known.unwrap_or_else(|| {
        let sums = make();
        let (weight, geometry) = (weight.to_vec(), *geometry);
        *kept.lock() = Some(Prepared { geometry, weight, sums: sums.clone() });
        sums
    })
}

impl Prepared {
    /// Whether it was made of the same bits, for images of the same size; their number does not matter.
    fn is_of(&self, geometry: &Geometry, weight: &[f32]) -> bool {
        let bits = bytemuck::cast_slice::<f32, u8>;
        Geometry { n: self.geometry.n, ..*geometry } == self.geometry
            && bits(&self.weight) == bits(weight)
    }
}
