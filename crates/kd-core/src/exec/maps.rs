//! A graph whose tensors are somebody else's, on candle's: the network that an objective learns with.

use std::sync::Arc;

use candle_core::Tensor;

use super::group::Convolutions;
use super::plan::{Network, Part, Plan};
use super::purpose::Purpose;
use super::run::{Run, dims};
use super::{border, weights};
use crate::graph::{Graph, IMAGES};
use crate::{Error, Mode, Params, Result};

impl Graph {
    /// The output for `x`, maps `(N, H, W, C)` of the size of the graph's images, with its tensors in `params`
    /// ([`Graph::draw`]).
    ///
    /// # Gradient
    /// In training it flows to `x`, if that is tracked, and to the parameters' own buffers
    /// ([`crate::Param::grad`]); in evaluation to `x` only. Running statistics move in training.
    ///
    /// # Errors
    /// [`Error::Config`] when `params` lack a tensor; [`Error::Shape`] for maps of another size.
    pub fn apply(&self, x: &Tensor, params: &Params, mode: Mode) -> Result<Tensor> {
        let of_x = dims(x.dims().first().copied().unwrap_or(0), &self.image_shape);
        if x.dims() != of_x {
            return Err(Error::shape("x", format!("{of_x:?}"), x.dims()));
        }
        let shapes = self.shapes()?;
        let weights = weights::of(self, &shapes, params)?;
        let rests = vec![false; self.nodes.len()];
        let convolutions = Convolutions::default();
        let network = Network {
            graph: self,
            shapes: &shapes,
            weights: &weights,
            rests: &rests,
            convolutions,
        };
        let purpose = Purpose::of(mode, x.track_op());
        let all = Part { from: IMAGES.into(), to: self.output.clone(), taps: Vec::new() };
        let plan = Arc::new(Plan::new(network, purpose, &all)?);
        let run = Run::forward(plan, vec![border::input(0, x)?], mode)?;
        let backward = move |run: Run, of_outputs| {
            let grad = run.backward(of_outputs)?.swap_remove(0);
            Ok(vec![grad.map(|grad| grad.into_tensor(&of_x)).transpose()?])
        };
        Ok(border::outputs(run, &[x], purpose, Box::new(backward))?.swap_remove(0))
    }
}
