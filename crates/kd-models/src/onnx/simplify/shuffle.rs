//! Channel shuffle (Zhang et al. 2018): Reshape, Transpose, Reshape.

use super::pattern::{Pattern, Rewrite};
use crate::onnx::model::{Attribute, Node};

/// `(N, C, ...)` as `(N, groups, C / groups, ...)`, transposed and as `(N, C, ...)` again.
pub(super) fn channel_shuffle(pattern: &Pattern<'_>, node: &Node) -> Option<Rewrite> {
    let transpose = pattern.made_by(node.inputs.first()?, "Transpose")?;
    let split = pattern.made_by(transpose.inputs.first()?, "Reshape")?;
    let x = split.inputs.first().filter(|_| node.op_type == "Reshape")?;
    let (from, to) = (pattern.dims(x)?, pattern.dims(node.outputs.first()?)?);
    let &[n, groups, each, ref rest @ ..] = pattern.dims(split.outputs.first()?)? else {
        return None;
    };
    let Some(Attribute::Ints(perm)) = transpose.attributes.get("perm") else { return None };
    let swapped = [0, 2, 1].into_iter().chain(3..3 + rest.len() as i64);
    let is_shuffle = from == to
        && from.len() == 4
        && from[..2] == [n, groups * each]
        && rest.iter().product::<usize>() == from[2] * from[3]
        && perm.iter().copied().eq(swapped);
    let groups = Attribute::Int(groups as i64);
    is_shuffle.then(|| Rewrite::new("kd.ChannelShuffle", &[x]).with("groups", groups))
}
