//! Shapes of outputs, from the shapes of inputs and settings: ONNX's rules, with the batch as first
//! axis.

use super::constant::{Checked, axis, n_elements};
use super::scope::Scope;
use super::window::Window;

/// As the first input.
pub(super) fn same(scope: &Scope<'_>) -> Checked<Vec<usize>> {
    Ok(scope.dims(0)?.to_vec())
}

/// Both inputs, each stretched to the other.
pub(super) fn broadcast(scope: &Scope<'_>) -> Checked<Vec<usize>> {
    stretched(scope.dims(0)?, scope.dims(1)?)
}

/// `a` and `b`, each stretched to the other where it has one entry or no axis.
pub(super) fn stretched(a: &[usize], b: &[usize]) -> Checked<Vec<usize>> {
    let n = a.len().max(b.len());
    let side = |dims: &[usize], i: usize| (i + dims.len()).checked_sub(n).map_or(1, |i| dims[i]);
    let both = |i| match (side(a, i), side(b, i)) {
        (x, y) if x == y || y == 1 => Ok(x),
        (1, y) => Ok(y),
        _ => Err(format!("{a:?} and {b:?} do not fit")),
    };
    (0..n).map(both).collect()
}

pub(super) fn conv(scope: &Scope<'_>) -> Checked<Vec<usize>> {
    let (x, weight) = (scope.image()?, scope.dims(1)?);
    let &[out_channels, _, kh, kw] = weight else {
        return Err(format!("a weight of {weight:?}; convolutions of images have 4 axes"));
    };
    let [height, width] = Window::of_conv(scope, [kh, kw])?.sides();
    Ok(vec![x[0], out_channels, height, width])
}

pub(super) fn pool(scope: &Scope<'_>) -> Checked<Vec<usize>> {
    let x = scope.image()?;
    let [height, width] = Window::of_pool(scope)?.sides();
    Ok(vec![x[0], x[1], height, width])
}

pub(super) fn global_pool(scope: &Scope<'_>) -> Checked<Vec<usize>> {
    let x = scope.image()?;
    Ok(vec![x[0], x[1], 1, 1])
}

/// The axes over which a reduction goes, in ascending order.
pub(super) fn reduced_axes(scope: &Scope<'_>) -> Checked<Vec<usize>> {
    let n = scope.dims(0)?.len();
    let mut axes = match scope.ints_or_input("axes", 1)? {
        Some(axes) if !axes.is_empty() => counted(axes, n)?,
        _ if scope.int("noop_with_empty_axes", 0)? != 0 => Vec::new(),
        _ => (0..n).collect(),
    };
    axes.sort_unstable();
    Ok(axes)
}

/// `axes`, counted from the front.
pub(super) fn counted(axes: &[i64], n: usize) -> Checked<Vec<usize>> {
    axes.iter().map(|i| axis(*i, n)).collect()
}

pub(super) fn reduce(scope: &Scope<'_>) -> Checked<Vec<usize>> {
    let (axes, keeps) = (reduced_axes(scope)?, scope.int("keepdims", 1)? != 0);
    let dims = scope.dims(0)?.iter().enumerate();
    let kept = dims.filter_map(|(i, dim)| match (axes.contains(&i), keeps) {
        (false, _) => Some(*dim),
        (true, true) => Some(1),
        (true, false) => None,
    });
    Ok(kept.collect())
}

pub(super) fn gemm(scope: &Scope<'_>) -> Checked<Vec<usize>> {
    let (x, weight) = (scope.dims(0)?, scope.dims(1)?);
    let transposed = scope.int("transB", 0)? != 0;
    match (x, weight) {
        (&[n, k], &[o, i]) if transposed && i == k => Ok(vec![n, o]),
        (&[n, k], &[i, o]) if !transposed && i == k => Ok(vec![n, o]),
        _ => Err(format!("{x:?} times {weight:?}")),
    }
}

pub(super) fn mat_mul(scope: &Scope<'_>) -> Checked<Vec<usize>> {
    let (x, weight) = (scope.dims(0)?, scope.dims(1)?);
    match (x.split_last(), weight) {
        (Some((k, rest)), &[i, o]) if *k == i => Ok([rest, &[o]].concat()),
        _ => Err(format!("{x:?} times {weight:?}; a weight of two axes is supported")),
    }
}

pub(super) fn concat(scope: &Scope<'_>) -> Checked<Vec<usize>> {
    let mut dims = scope.dims(0)?.to_vec();
    let on = axis(scope.int("axis", 0)?, dims.len())?;
    for i in 1..scope.node.inputs.len() {
        let other = scope.dims(i)?;
        let beside = |(j, (a, b)): (usize, (&usize, &usize))| j == on || a == b;
        if other.len() != dims.len() || !dims.iter().zip(other).enumerate().all(beside) {
            return Err(format!("{other:?} does not lie beside {dims:?}"));
        }
        dims[on] = dims[on].checked_add(other[on]).ok_or("too long")?;
    }
    Ok(dims)
}

/// The shape of a reshaped input: of Reshape, Flatten, Squeeze and Unsqueeze.
pub(super) fn reshape(scope: &Scope<'_>) -> Checked<Vec<usize>> {
    let from = scope.dims(0)?;
    let to = match scope.node.op_type.as_str() {
        "Flatten" => flatten(scope, from)?,
        "Squeeze" => squeeze(scope, from)?,
        "Unsqueeze" => unsqueeze(scope, from)?,
        _ => filled_in(scope, from)?,
    };
    if n_elements(from)? == n_elements(&to)? { Ok(to) } else { Err(format!("{from:?} to {to:?}")) }
}

fn flatten(scope: &Scope<'_>, from: &[usize]) -> Checked<Vec<usize>> {
    let at = scope.int("axis", 1)?;
    let at = if at == from.len() as i64 { from.len() } else { axis(at, from.len())? };
    Ok(vec![n_elements(&from[..at])?, n_elements(&from[at..])?])
}

fn squeeze(scope: &Scope<'_>, from: &[usize]) -> Checked<Vec<usize>> {
    let axes = match scope.ints_or_input("axes", 1)? {
        Some(axes) => counted(axes, from.len())?,
        None => (0..from.len()).filter(|i| from[*i] == 1).collect(),
    };
    let kept = from.iter().enumerate().filter(|(i, _)| !axes.contains(i));
    Ok(kept.map(|(_, dim)| *dim).collect())
}

fn unsqueeze(scope: &Scope<'_>, from: &[usize]) -> Checked<Vec<usize>> {
    let axes = scope.ints_or_input("axes", 1)?.ok_or("lacks its axes")?;
    let n = from.len().saturating_add(axes.len()).min(64);
    let axes = counted(axes, n)?;
    let mut rest = from.iter();
    let side = |i| if axes.contains(&i) { Some(1) } else { rest.next().copied() };
    (0..n).map(side).collect::<Option<_>>().ok_or_else(|| format!("axes {axes:?} of {n}"))
}

/// Reshape's shape: 0 stands for the input's size there, -1 for what is left.
fn filled_in(scope: &Scope<'_>, from: &[usize]) -> Checked<Vec<usize>> {
    let wanted = scope.needed(1)?.as_ints()?;
    let copies = scope.int("allowzero", 0)? == 0;
    let known = |(i, size): (usize, &i64)| match size {
        -1 => Some(None),
        0 if copies => from.get(i).map(|dim| Some(*dim)),
        size => usize::try_from(*size).ok().map(Some),
    };
    let sides: Option<Vec<_>> = wanted.iter().enumerate().map(known).collect();
    let sides = sides.ok_or_else(|| format!("{wanted:?} is no shape for {from:?}"))?;
    let rest = n_elements(&sides.iter().filter_map(|side| *side).collect::<Vec<_>>())?;
    let left = n_elements(from)?.checked_div(rest).unwrap_or(0);
    if sides.iter().filter(|side| side.is_none()).count() > 1 {
        return Err(format!("{wanted:?} leaves two sizes open"));
    }
    Ok(sides.into_iter().map(|side| side.unwrap_or(left)).collect())
}

/// How the axes of a transposed input are ordered.
pub(super) fn permutation(scope: &Scope<'_>) -> Checked<Vec<usize>> {
    let n = scope.dims(0)?.len();
    let Some(perm) = scope.ints("perm")? else { return Ok((0..n).rev().collect()) };
    let perm = counted(perm, n)?;
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if sorted.iter().copied().eq(0..n) { Ok(perm) } else { Err(format!("`perm` is {perm:?}")) }
}

pub(super) fn transpose(scope: &Scope<'_>) -> Checked<Vec<usize>> {
    let from = scope.dims(0)?;
    Ok(permutation(scope)?.into_iter().map(|axis| from[axis]).collect())
}

/// Of a Gather.
pub(super) fn gather(scope: &Scope<'_>) -> Checked<Vec<usize>> {
    let (from, index) = (scope.dims(0)?, scope.dims(1)?);
    let on = axis(scope.int("axis", 0)?, from.len())?;
    Ok([&from[..on], index, &from[on + 1..]].concat())
}

/// Zeros before and after on each axis.
pub(super) fn pads(scope: &Scope<'_>) -> Checked<Vec<(usize, usize)>> {
    let n = scope.dims(0)?.len();
    let pads = scope.ints_or_input("pads", 1)?.ok_or("lacks its pads")?;
    let sizes: Option<Vec<usize>> = pads.iter().map(|pad| usize::try_from(*pad).ok()).collect();
    match sizes {
        Some(sizes) if sizes.len() == 2 * n => {
            Ok(sizes[..n].iter().copied().zip(sizes[n..].iter().copied()).collect())
        }
        _ => Err(format!("pads {pads:?} for {n} axes; two that are not negative are supported")),
    }
}

pub(super) fn pad(scope: &Scope<'_>) -> Checked<Vec<usize>> {
    let sides = scope.dims(0)?.iter().zip(pads(scope)?);
    let padded = sides.map(|(side, (a, b))| side.checked_add(a)?.checked_add(b));
    padded.collect::<Option<_>>().ok_or_else(|| "too large".into())
}

pub(super) fn slice(scope: &Scope<'_>) -> Checked<Vec<usize>> {
    let mut dims = scope.dims(0)?.to_vec();
    for cut in cuts(scope)? {
        dims[cut.axis] = cut.len();
    }
    Ok(dims)
}

/// What a Slice takes on one axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cut {
    pub(super) axis: usize,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) step: i64,
}

impl Cut {
    pub(super) fn len(self) -> usize {
        let span = if self.step > 0 { self.end - self.start } else { self.start - self.end };
        usize::try_from(span).unwrap_or(0).div_ceil(self.step.unsigned_abs().max(1) as usize)
    }
}

/// What a Slice takes, with starts and ends clamped to the input.
pub(super) fn cuts(scope: &Scope<'_>) -> Checked<Vec<Cut>> {
    let dims = scope.dims(0)?;
    let starts = scope.ints_or_input("starts", 1)?.ok_or("lacks its starts")?;
    let ends = scope.ints_or_input("ends", 2)?.ok_or("lacks its ends")?;
    let axes = match scope.ints_or_input("axes", 3)? {
        Some(axes) => counted(axes, dims.len())?,
        None => (0..starts.len()).collect(),
    };
    let steps = scope.ints_or_input("steps", 4)?;
    if ends.len() != starts.len() || axes.len() != starts.len() || starts.len() > dims.len() {
        return Err("starts, ends and axes differ in number".into());
    }
    let cut = |i: usize| {
        let step = steps.map_or(Some(1), |steps| steps.get(i).copied());
        let step = step.filter(|step| *step != 0).ok_or("a step is 0 or missing")?;
        Ok(clamped(axes[i], dims[axes[i]] as i64, [starts[i], ends[i], step]))
    };
    (0..starts.len()).map(cut).collect()
}

fn clamped(axis: usize, size: i64, [start, end, step]: [i64; 3]) -> Cut {
    let counted = |i: i64| if i < 0 { i.saturating_add(size) } else { i };
    let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
    let start = counted(start).clamp(low.max(0), high.max(0));
    Cut { axis, start, end: counted(end).clamp(low, high), step }
}
