//! The tensors of a graph, as its steps read them.

use crate::graph::{Graph, Node, Shapes};
use crate::ops::ParamSpec;
use crate::ops::step::Weight;
use crate::{Error, Params, Result};

/// The tensors of each node, out of `params`: parameters learn, buffers do not.
pub(super) fn of(graph: &Graph, shapes: &Shapes, params: &Params) -> Result<Vec<Vec<Weight>>> {
    let of_node = |node: &Node| {
        let specs = node.op.as_dyn().params(&shapes.inputs(node));
        specs.iter().map(|spec| weight(&node.param(spec), spec, params)).collect()
    };
    graph.nodes.iter().map(of_node).collect()
}

fn weight(name: &str, spec: &ParamSpec, params: &Params) -> Result<Weight> {
    let (value, grad) = match (params.get(name), params.buffer(name)) {
        (Some(param), _) => (param.constant(), Some(param.grad().clone())),
        (None, Some(buffer)) => (buffer.as_detached_tensor(), None),
        (None, None) => return Err(Error::config(name, "there is no tensor of this name")),
    };
    if value.dims() != spec.shape {
        return Err(Error::shape(name, format!("{:?}", spec.shape), value.dims()));
    }
    Ok(Weight { value, grad })
}
