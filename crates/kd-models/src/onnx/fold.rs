//! Computes what follows from weights and shapes alone, so that only operators on images remain.
//!
//! Key decision: shapes are those for one probing size of the batch. A file for any batch size is
//! folded for two sizes, and whatever would depend on the size is found in the difference.

use std::collections::BTreeMap;

use super::constant::{Checked, Constant, n_elements};
use super::dims;
use super::model::{Model, Node};
use super::operators::{Operator, operator};
use super::scope::{Known, Scope};

/// A fault and the node at which it is.
pub(super) struct Fault {
    pub(super) node: String,
    pub(super) op_type: String,
    pub(super) reason: String,
}

impl Fault {
    pub(super) fn at(node: &Node, reason: impl Into<String>) -> Self {
        let (name, op_type) = (node.name.clone(), node.op_type.clone());
        Self { node: name, op_type, reason: reason.into() }
    }
}

/// Operators on images, with all that is known.
pub(super) struct Folded {
    pub(super) nodes: Vec<Node>,
    pub(super) known: Known,
    pub(super) opset: i64,
    pub(super) output: String,
    /// How many numbers may still be computed.
    left: usize,
}

/// So many numbers may be computed beside the weights: a small file must not fill the memory.
const MAX_MADE: usize = 1 << 26;

/// `model` for images of the shape `dims`, batch first.
pub(super) fn fold(model: &Model, dims: &[usize]) -> Result<Folded, Fault> {
    let mut known = Known { constants: model.constants.clone(), dims: BTreeMap::new() };
    known.dims.insert(model.input.clone(), dims.to_vec());
    let output = model.output.clone();
    let n_weights: usize = model.constants.values().map(Constant::len).sum();
    let left = MAX_MADE + 2 * n_weights;
    let mut folded = Folded { nodes: Vec::new(), known, opset: model.opset, output, left };
    let mut lists = BTreeMap::new();
    for node in &model.nodes {
        folded.add(node, &mut lists).map_err(|reason| Fault::at(node, reason))?;
    }
    Ok(folded)
}

/// Lists of activations by name: what each is a part of, and where its parts are.
type Lists = BTreeMap<String, (String, i64, Vec<[i64; 2]>)>;

impl Folded {
    /// The operator `node` with all that is known.
    pub(super) fn scope<'a>(&'a self, node: &'a Node) -> Scope<'a> {
        Scope { node, known: &self.known, opset: self.opset }
    }

    fn add(&mut self, node: &Node, lists: &mut Lists) -> Checked<()> {
        match node.op_type.as_str() {
            "Split" => self.split(node),
            "SplitToSequence" => self.split_to_list(node, lists),
            "SequenceAt" => self.part_of_list(node, lists),
            name if name.contains('.') => operator("").map(|_| ()),
            name => self.add_single(node, operator(name)?),
        }
    }

    fn add_single(&mut self, node: &Node, operator: Operator) -> Checked<()> {
        let unknown = |name: &&String| !operator.attributes.contains(&name.as_str());
        if let Some(attribute) = node.attributes.keys().find(unknown) {
            return Err(format!("attribute `{attribute}` is not supported"));
        }
        let output = node.outputs.first().filter(|name| !name.is_empty()).ok_or("has no output")?;
        let scope = self.scope(node);
        let is_known = |name: &String| name.is_empty() || self.known.constants.contains_key(name);
        let shape_only = matches!(node.op_type.as_str(), "Shape" | "Size" | "CastLike");
        if shape_only || node.inputs.iter().all(is_known) {
            let eval = operator.eval.ok_or("reads constants only, but no image")?;
            let constant = eval(&scope)?;
            let left = self.left.checked_sub(constant.n_own());
            self.left = left.ok_or("more numbers than a network's file has reason to compute")?;
            self.known.constants.insert(output.clone(), constant);
            return Ok(());
        }
        let on_images = operator.on_images.ok_or("is supported for shapes and constants only")?;
        let dims = (on_images.dims)(&scope)?;
        n_elements(&dims)?;
        self.known.dims.insert(output.clone(), dims);
        self.nodes.push(node.clone());
        Ok(())
    }

    /// One Slice for each part.
    fn split(&mut self, node: &Node) -> Checked<()> {
        let scope = self.scope(node);
        let (axis, size) = split_axis(&scope)?;
        let n = node.outputs.len();
        let sizes = match scope.ints_or_input("split", 1)? {
            Some(sizes) => sizes.to_vec(),
            None => {
                let each = (size as usize).div_ceil(n.max(1)) as i64;
                (0..n as i64).map(|i| (size - i * each).clamp(0, each)).collect()
            }
        };
        let parts = parts(&sizes, size)?;
        if parts.len() != n {
            return Err(format!("{} sizes for {n} outputs", parts.len()));
        }
        for (output, part) in node.outputs.iter().zip(parts) {
            self.slice(node, &node.inputs[0], output, (axis, part))?;
        }
        Ok(())
    }

    fn split_to_list(&mut self, node: &Node, lists: &mut Lists) -> Checked<()> {
        let scope = self.scope(node);
        scope.only_int("keepdims", 1)?;
        let (axis, size) = split_axis(&scope)?;
        let sizes = scope.needed(1)?;
        let sizes = match (sizes.dims.len(), sizes.as_ints()?) {
            (0, [each]) if *each > 0 && size / each < 1 << 16 => {
                (0..size).step_by(*each as usize).map(|start| (size - start).min(*each)).collect()
            }
            (1, sizes) => sizes.to_vec(),
            _ => return Err("lacks the sizes of its parts".into()),
        };
        let output = node.outputs.first().ok_or("has no output")?.clone();
        lists.insert(output, (node.inputs[0].clone(), axis, parts(&sizes, size)?));
        Ok(())
    }

    fn part_of_list(&mut self, node: &Node, lists: &Lists) -> Checked<()> {
        let list = node.inputs.first().and_then(|name| lists.get(name));
        let (whole, axis, parts) = list.ok_or("reads no list of a SplitToSequence")?;
        let index = self.scope(node).needed(1)?.as_ints()?.first().copied().unwrap_or(0);
        let counted = if index < 0 { index.saturating_add(parts.len() as i64) } else { index };
        let part = usize::try_from(counted).ok().and_then(|i| parts.get(i));
        let part = part.ok_or_else(|| format!("part {index} of {}", parts.len()))?;
        let output = node.outputs.first().ok_or("has no output")?;
        self.slice(node, whole, output, (*axis, *part))
    }

    /// Adds the Slice `part` on `axis` of `whole`, on behalf of `node`.
    fn slice(
        &mut self,
        node: &Node,
        whole: &str,
        output: &str,
        (axis, [start, end]): (i64, [i64; 2]),
    ) -> Checked<()> {
        let mut inputs = vec![whole.to_owned()];
        for (what, value) in [("starts", start), ("ends", end), ("axes", axis)] {
            let name = format!("{output} {what}");
            self.known.constants.insert(name.clone(), Constant::vector(vec![value]));
            inputs.push(name);
        }
        let (name, op_type) = (format!("{}.{start}", node.name), "Slice".to_owned());
        let (attributes, outputs) = (BTreeMap::new(), vec![output.to_owned()]);
        let slice = Node { name, op_type, attributes, inputs, outputs };
        self.add_single(&slice, operator("Slice")?)
    }
}

/// The axis that is split and its size.
fn split_axis(scope: &Scope<'_>) -> Checked<(i64, i64)> {
    let dims = scope.dims(0)?;
    let axis = dims::counted(&[scope.int("axis", 0)?], dims.len())?[0];
    Ok((axis as i64, dims[axis] as i64))
}

/// Start and end of each part.
fn parts(sizes: &[i64], whole: i64) -> Checked<Vec<[i64; 2]>> {
    let mut end = 0i64;
    let mut part = |size: &i64| {
        let start = end;
        end = end.checked_add(*size).filter(|end| *size >= 0 && *end <= whole)?;
        Some([start, end])
    };
    let parts: Option<Vec<_>> = sizes.iter().map(&mut part).collect();
    parts.filter(|_| end == whole).ok_or_else(|| format!("sizes {sizes:?} of a whole of {whole}"))
}
