//! Arithmetic on constants, number by number.

use super::places;
use crate::onnx::constant::{Checked, Constant, Data, n_elements};
use crate::onnx::dims;
use crate::onnx::scope::Scope;

/// Add, Sub, Mul, Div, Pow, Equal.
pub(crate) fn binary(scope: &Scope<'_>) -> Checked<Constant> {
    let (a, b) = (scope.needed(0)?, scope.needed(1)?);
    let dims = dims::stretched(&a.dims, &b.dims)?;
    if n_elements(&dims)? > super::MAX_MADE.max(a.len()).max(b.len()) {
        return Err(format!("{dims:?} are more numbers than are computed here"));
    }
    let pairs = places(&a.dims, &dims).into_iter().zip(places(&b.dims, &dims));
    let op_type = scope.node.op_type.as_str();
    match (&a.data, &b.data) {
        (Data::Floats(x), Data::Floats(y)) if op_type == "Equal" => {
            let values = pairs.map(|(i, j)| i64::from(x[i].to_bits() == y[j].to_bits()));
            Ok(Constant::ints(&dims, values.collect()))
        }
        (Data::Floats(x), Data::Floats(y)) => {
            let values = pairs.map(|(i, j)| of_floats(op_type, x[i], y[j]));
            Ok(Constant::floats(&dims, values.collect::<Checked<_>>()?))
        }
        (Data::Ints(x), Data::Ints(y)) => {
            let values = pairs.map(|(i, j)| of_ints(op_type, x[i], y[j]));
            Ok(Constant::ints(&dims, values.collect::<Checked<_>>()?))
        }
        _ => Err("computes with numbers of two types".into()),
    }
}

fn of_floats(op_type: &str, x: f32, y: f32) -> Checked<f32> {
    Ok(match op_type {
        "Add" => x + y,
        "Sub" => x - y,
        "Mul" => x * y,
        "Div" => x / y,
        "Pow" => x.powf(y),
        _ => return Err("does not compute with constants".into()),
    })
}

/// Division truncates.
fn of_ints(op_type: &str, x: i64, y: i64) -> Checked<i64> {
    let value = match op_type {
        "Add" => x.checked_add(y),
        "Sub" => x.checked_sub(y),
        "Mul" => x.checked_mul(y),
        "Div" => x.checked_div(y),
        "Equal" => Some(i64::from(x == y)),
        _ => return Err("does not compute with integers".into()),
    };
    value.ok_or_else(|| format!("{x} and {y} have no result"))
}

/// Ceil, Floor, Neg, Sqrt.
pub(crate) fn unary(scope: &Scope<'_>) -> Checked<Constant> {
    let x = scope.needed(0)?;
    let op_type = scope.node.op_type.as_str();
    match &x.data {
        Data::Ints(values) if op_type == "Neg" => {
            Ok(Constant::ints(&x.dims, values.iter().map(|x| x.wrapping_neg()).collect()))
        }
        Data::Ints(_) => Err("does not compute with integers".into()),
        Data::Floats(values) => {
            let f = match op_type {
                "Ceil" => f32::ceil,
                "Floor" => f32::floor,
                "Sqrt" => f32::sqrt,
                _ => std::ops::Neg::neg,
            };
            Ok(Constant::floats(&x.dims, values.iter().map(|x| f(*x)).collect()))
        }
    }
}

pub(crate) fn clip(scope: &Scope<'_>) -> Checked<Constant> {
    let x = scope.needed(0)?;
    let low = scope.float_or_input("min", 1, f32::NEG_INFINITY)?;
    let high = scope.float_or_input("max", 2, f32::INFINITY)?;
    match &x.data {
        Data::Floats(values) => {
            let clipped = values.iter().map(|x| x.max(low).min(high));
            Ok(Constant::floats(&x.dims, clipped.collect()))
        }
        Data::Ints(values) => {
            let (low, high) = (low as i64, high as i64);
            let clipped = values.iter().map(|x| (*x).max(low).min(high));
            Ok(Constant::ints(&x.dims, clipped.collect()))
        }
    }
}
