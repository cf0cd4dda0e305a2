//! From what is left of a file to a graph, operator by operator.

use super::convert::builder::Builder;
use super::fold::{Fault, Folded};
use super::operators::operator;

/// The graph of `folded` for images of `image_shape`, which the file calls `input`.
pub(super) fn translate(
    folded: &Folded,
    input: &str,
    image_shape: [usize; 3],
) -> Result<Builder, Fault> {
    let reads = folded.nodes.iter().flat_map(|node| &node.inputs).chain([&folded.output]);
    let mut builder = Builder::new(input, image_shape, reads);
    for node in &folded.nodes {
        let done = operator(&node.op_type).and_then(|operator| {
            let on_images = operator.on_images.ok_or("is supported for constants only")?;
            (on_images.convert)(&mut builder, &folded.scope(node))
        });
        done.map_err(|reason| Fault::at(node, reason))?;
    }
    if let Some(last) = folded.nodes.last() {
        let dims = folded.known.dims.get(&folded.output).map(Vec::as_slice);
        builder.set_output(&folded.output, dims).map_err(|reason| Fault::at(last, reason))?;
    }
    Ok(builder)
}
