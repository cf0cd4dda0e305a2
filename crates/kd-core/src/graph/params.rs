//! The tensors of a graph.

use candle_core::{Device, Tensor};

use super::Graph;
use crate::ops::ParamSpec;
use crate::{Params, Result, Stream, init};

impl Graph {
    /// Adds the graph's tensors to `params`, named as [`Graph::param_shapes`] says, with initial values: each
    /// from the stream of its own name.
    ///
    /// # Errors
    /// Those of [`Graph::shapes`]; [`crate::Error::Config`] when a name is taken.
    pub fn draw(&self, params: &mut Params, stream: Stream, device: &Device) -> Result<()> {
        self.fill(params, |name, spec| init::draw(spec, stream.at(name), device))
    }

    /// The same with these values.
    pub(crate) fn fill(
        &self,
        params: &mut Params,
        value: impl Fn(&str, &ParamSpec) -> Result<Tensor>,
    ) -> Result<()> {
        let shapes = self.shapes()?;
        for node in &self.nodes {
            for spec in node.op.as_dyn().params(&shapes.inputs(node)) {
                let name = node.param(&spec);
                let value = value(&name, &spec)?;
                if spec.trained {
                    params.insert(&name, &value)?;
                } else {
                    params.insert_buffer(&name, &value)?;
                }
            }
        }
        Ok(())
    }
}
