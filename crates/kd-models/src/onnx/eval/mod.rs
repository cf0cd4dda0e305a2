//! What operators make of constants: a network's shapes are computed in its file.

pub(super) mod elementwise;

use super::constant::{Checked, Constant, Data, axis, n_elements, strides};
use super::dims;
use super::model::Attribute;
use super::scope::Scope;

/// Attributes of Constant.
pub(super) const CONSTANT: &[&str] =
    &["value", "value_int", "value_ints", "value_float", "value_floats"];

/// The most numbers that an operator may make from few, as by repeating them.
const MAX_MADE: usize = 1 << 24;

pub(super) fn constant(scope: &Scope<'_>) -> Checked<Constant> {
    let value = scope.node.attributes.values().next().ok_or("lacks its value")?;
    Ok(match value.clone() {
        Attribute::Tensor(constant) => Constant { origin: None, ..constant },
        Attribute::Int(value) => Constant::ints(&[], vec![value]),
        Attribute::Ints(values) => Constant::vector(values),
        Attribute::Float(value) => Constant::floats(&[], vec![value]),
        Attribute::Floats(values) => Constant::floats(&[values.len()], values),
        Attribute::Text(_) | Attribute::Other => return Err("holds no numbers".into()),
    })
}

/// The same numbers: a parameter of its own where the output has a parameter's name, since
/// exporters write equal parameters once.
pub(super) fn identity(scope: &Scope<'_>) -> Checked<Constant> {
    let value = scope.needed(0)?.clone();
    let output = scope.node.outputs.first().map_or("", String::as_str);
    let parts = ["weight", "bias", "running_mean", "running_var"];
    let is_parameter = output.rsplit_once('.').is_some_and(|(_, part)| parts.contains(&part));
    let origin = if is_parameter { Some(output.to_owned()) } else { value.origin };
    Ok(Constant { origin, ..value })
}

/// `(x - zero point) scale`, of one axis or of all numbers.
pub(super) fn dequantize(scope: &Scope<'_>) -> Checked<Constant> {
    let (x, scale) = (scope.needed(0)?, scope.needed(1)?.as_floats()?);
    let zero: &[i64] = if scope.input(2).is_some() { scope.needed(2)?.as_ints()? } else { &[0] };
    let axis = if scale.len() > 1 { axis(scope.int("axis", 1)?, x.dims.len())? } else { 0 };
    let fits = |n: usize| n == 1 || x.dims.get(axis) == Some(&n);
    if !fits(scale.len()) || !fits(zero.len()) {
        return Err(format!("{} scales on axis {axis} of {:?}", scale.len(), x.dims));
    }
    let each = x.dims.iter().skip(axis + 1).product::<usize>().max(1);
    let values = x.as_ints()?.iter().enumerate().map(|(i, value)| {
        let at = |n: usize| i / each % n;
        value.saturating_sub(zero[at(zero.len())]) as f32 * scale[at(scale.len())]
    });
    Ok(Constant { origin: x.origin.clone(), ..Constant::floats(&x.dims, values.collect()) })
}

pub(super) fn shape(scope: &Scope<'_>) -> Checked<Constant> {
    let dims = scope.dims(0)?;
    let n = dims.len() as i64;
    let counted = |i: i64| (if i < 0 { i.saturating_add(n) } else { i }).clamp(0, n) as usize;
    let (start, end) = (counted(scope.int("start", 0)?), counted(scope.int("end", n)?));
    let sizes = dims.get(start..end).unwrap_or_default();
    Ok(Constant::vector(sizes.iter().map(|size| *size as i64).collect()))
}

pub(super) fn size(scope: &Scope<'_>) -> Checked<Constant> {
    Ok(Constant::ints(&[], vec![n_elements(scope.dims(0)?)? as i64]))
}

pub(super) fn constant_of_shape(scope: &Scope<'_>) -> Checked<Constant> {
    let dims = sizes(scope.needed(0)?.as_ints()?)?;
    let value = match scope.node.attributes.get("value") {
        None => Constant::floats(&[], vec![0.0]),
        Some(Attribute::Tensor(value)) if value.len() == 1 => value.reshaped(Vec::new()),
        Some(_) => return Err("attribute `value` is no single number".into()),
    };
    expanded(&Constant { origin: None, ..value }, dims)
}

fn sizes(values: &[i64]) -> Checked<Vec<usize>> {
    let sizes = values.iter().map(|value| usize::try_from(*value).ok());
    sizes.collect::<Option<_>>().ok_or_else(|| format!("{values:?} is no shape"))
}

pub(super) fn expand(scope: &Scope<'_>) -> Checked<Constant> {
    let value = scope.needed(0)?;
    let dims = dims::stretched(&value.dims, &sizes(scope.needed(1)?.as_ints()?)?)?;
    expanded(value, dims)
}

/// `value`, repeated along the axes on which it has one entry.
fn expanded(value: &Constant, dims: Vec<usize>) -> Checked<Constant> {
    let n = n_elements(&dims)?;
    if n > MAX_MADE.max(value.len()) {
        return Err(format!("{dims:?} are more numbers than are computed here"));
    }
    let at = places(&value.dims, &dims);
    Ok(picked(value, dims, &at))
}

/// Where in a tensor of `from` each number of one stretched to `to` is.
pub(super) fn places(from: &[usize], to: &[usize]) -> Vec<usize> {
    let missing = to.len() - from.len();
    let steps = strides(from);
    let step = |axis: usize| match axis.checked_sub(missing) {
        Some(i) if from[i] != 1 => steps[i],
        _ => 0,
    };
    walk(to, &(0..to.len()).map(step).collect::<Vec<_>>())
}

/// Places of numbers that lie `steps` apart on each axis of `dims`.
fn walk(dims: &[usize], steps: &[usize]) -> Vec<usize> {
    let mut places = vec![0];
    for (n, step) in dims.iter().zip(steps) {
        let next = |place: &usize| (0..*n).map(move |i| i * step).zip(std::iter::repeat(*place));
        places = places.iter().flat_map(next).map(|(a, b)| a + b).collect();
    }
    places
}

/// The numbers of `value` at the places `at`.
fn picked(value: &Constant, dims: Vec<usize>, at: &[usize]) -> Constant {
    let origin = value.origin.clone();
    let constant = match &value.data {
        Data::Floats(values) => Constant::floats(&dims, at.iter().map(|i| values[*i]).collect()),
        Data::Ints(values) => Constant::ints(&dims, at.iter().map(|i| values[*i]).collect()),
    };
    Constant { origin, ..constant }
}

/// The entries `index` along `axis`.
fn selected(value: &Constant, axis: usize, index: &[usize]) -> Constant {
    let mut dims = value.dims.clone();
    let (n, inner): (usize, usize) = (dims[axis], dims[axis + 1..].iter().product());
    let outer: usize = dims[..axis].iter().product();
    dims[axis] = index.len();
    let rows = (0..outer).flat_map(|i| index.iter().map(move |j| (i * n + j) * inner));
    let at: Vec<usize> = rows.flat_map(|first| first..first + inner).collect();
    Constant { origin: None, ..picked(value, dims, &at) }
}

pub(super) fn gather(scope: &Scope<'_>) -> Checked<Constant> {
    let (value, index) = (scope.needed(0)?, scope.needed(1)?);
    let dims = dims::gather(scope)?;
    if n_elements(&dims)? > MAX_MADE.max(value.len()) {
        return Err(format!("{dims:?} are more numbers than are computed here"));
    }
    let on = axis(scope.int("axis", 0)?, value.dims.len())?;
    let n = value.dims[on];
    let entry = |i: &i64| axis(*i, n).map_err(|_| format!("entry {i} of {n}"));
    let index = index.as_ints()?.iter().map(entry).collect::<Checked<Vec<_>>>()?;
    Ok(selected(value, on, &index).reshaped(dims))
}

pub(super) fn slice(scope: &Scope<'_>) -> Checked<Constant> {
    let mut value = scope.needed(0)?.clone();
    for cut in dims::cuts(scope)? {
        let entries = (0..cut.len() as i64).map(|i| (cut.start + i * cut.step) as usize);
        value = selected(&value, cut.axis, &entries.collect::<Vec<_>>());
    }
    Ok(value)
}

pub(super) fn concat(scope: &Scope<'_>) -> Checked<Constant> {
    let dims = dims::concat(scope)?;
    let parts = (0..scope.node.inputs.len()).map(|i| scope.needed(i));
    let parts = parts.collect::<Checked<Vec<_>>>()?;
    let on = axis(scope.int("axis", 0)?, dims.len())?;
    let n = n_elements(&dims)?;
    if n > MAX_MADE {
        return Err(format!("{dims:?} are more numbers than are computed here"));
    }
    let outer: usize = dims[..on].iter().product();
    // Rows of all parts, one after the other.
    let rows = (0..outer).flat_map(|row| parts.iter().map(move |part| (row, *part)));
    let span = |row: usize, len: usize| row * (len / outer)..(row + 1) * (len / outer);
    match &parts[0].data {
        Data::Floats(_) => {
            let mut values = Vec::with_capacity(n);
            for (row, part) in rows {
                values.extend_from_slice(&part.as_floats()?[span(row, part.len())]);
            }
            Ok(Constant::floats(&dims, values))
        }
        Data::Ints(_) => {
            let mut values = Vec::with_capacity(n);
            for (row, part) in rows {
                values.extend_from_slice(&part.as_ints()?[span(row, part.len())]);
            }
            Ok(Constant::ints(&dims, values))
        }
    }
}

pub(super) fn reshape(scope: &Scope<'_>) -> Checked<Constant> {
    Ok(scope.needed(0)?.reshaped(dims::reshape(scope)?))
}

pub(super) fn transpose(scope: &Scope<'_>) -> Checked<Constant> {
    let value = scope.needed(0)?;
    let (perm, dims) = (dims::permutation(scope)?, dims::transpose(scope)?);
    let steps = strides(&value.dims);
    let steps: Vec<usize> = perm.iter().map(|axis| steps[*axis]).collect();
    Ok(picked(value, dims.clone(), &walk(&dims, &steps)))
}

pub(super) fn cast(scope: &Scope<'_>) -> Checked<Constant> {
    let value = scope.needed(0)?;
    Ok(match (scope.int("to", 0)?, &value.data) {
        (1 | 10 | 11 | 16, _) => as_floats(value),
        (9, Data::Ints(values)) => truths(value, values.iter().map(|v| *v != 0)),
        (9, Data::Floats(values)) => truths(value, values.iter().map(|v| *v != 0.0)),
        (2..=7 | 12 | 13, _) => as_ints(value),
        (other, _) => return Err(format!("to ONNX's type {other}, which is not supported")),
    })
}

fn truths(like: &Constant, values: impl Iterator<Item = bool>) -> Constant {
    Constant::ints(&like.dims, values.map(i64::from).collect())
}

fn as_floats(value: &Constant) -> Constant {
    match &value.data {
        Data::Floats(_) => value.clone(),
        Data::Ints(values) => {
            Constant::floats(&value.dims, values.iter().map(|v| *v as f32).collect())
        }
    }
}

fn as_ints(value: &Constant) -> Constant {
    match &value.data {
        Data::Ints(_) => value.clone(),
        Data::Floats(values) => {
            Constant::ints(&value.dims, values.iter().map(|v| *v as i64).collect())
        }
    }
}

/// Only the type of the second input counts; activations are floating-point numbers.
pub(super) fn cast_like(scope: &Scope<'_>) -> Checked<Constant> {
    let value = scope.needed(0)?;
    Ok(match scope.constant(1).map(|like| &like.data) {
        Some(Data::Ints(_)) => as_ints(value),
        Some(Data::Floats(_)) | None => as_floats(value),
    })
}

pub(super) fn range(scope: &Scope<'_>) -> Checked<Constant> {
    let single = |i: usize| {
        let values = scope.needed(i)?.as_ints()?;
        if values.len() == 1 { Ok(values[0]) } else { Err(format!("input {i} is no number")) }
    };
    let (start, limit, step): (i64, i64, i64) = (single(0)?, single(1)?, single(2)?);
    if step == 0 || limit.abs_diff(start) / step.unsigned_abs() > MAX_MADE as u64 {
        return Err("is longer than what is computed here".into());
    }
    let upwards = step > 0;
    let next = |value: &i64| value.checked_add(step);
    let values = std::iter::successors(Some(start), next);
    let inside = values.take_while(|value| if upwards { *value < limit } else { *value > limit });
    Ok(Constant::vector(inside.collect()))
}

/// Numbers of the second input where the first is true, else of the third.
pub(super) fn select(scope: &Scope<'_>) -> Checked<Constant> {
    let [condition, yes, no] = [scope.needed(0)?, scope.needed(1)?, scope.needed(2)?];
    let dims = dims::stretched(&dims::stretched(&condition.dims, &yes.dims)?, &no.dims)?;
    let all = [condition, yes, no].map(|part| expanded(part, dims.clone()));
    let [condition, yes, no] = all;
    let (condition, yes, no) = (condition?, yes?, no?);
    let choose = condition.as_ints()?.iter().map(|truth| *truth != 0);
    Ok(match (&yes.data, &no.data) {
        (Data::Floats(yes), Data::Floats(no)) => {
            let pick = choose.zip(yes.iter().zip(no.iter()));
            Constant::floats(&dims, pick.map(|(c, (y, n))| if c { *y } else { *n }).collect())
        }
        (Data::Ints(yes), Data::Ints(no)) => {
            let pick = choose.zip(yes.iter().zip(no.iter()));
            Constant::ints(&dims, pick.map(|(c, (y, n))| if c { *y } else { *n }).collect())
        }
        _ => return Err("chooses between numbers of two types".into()),
    })
}
