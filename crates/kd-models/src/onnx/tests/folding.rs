//! What operators make of constants and shapes, by hand.

use std::collections::BTreeMap;

use crate::onnx::constant::{Constant, Data};
use crate::onnx::dims;
use crate::onnx::model::{Attribute, Node};
use crate::onnx::operators::operator;
use crate::onnx::scope::{Known, Scope};
use crate::onnx::window::Window;

fn node(op_type: &str, n_inputs: usize, attributes: &[(&str, Attribute)]) -> Node {
    Node {
        name: "it".into(),
        op_type: op_type.into(),
        attributes: attributes.iter().map(|(name, a)| ((*name).into(), a.clone())).collect(),
        inputs: (0..n_inputs).map(|i| i.to_string()).collect(),
        outputs: vec!["out".into()],
    }
}

/// The output of `op_type` for constant inputs.
fn eval(op_type: &str, inputs: &[Constant], attributes: &[(&str, Attribute)]) -> Constant {
    let constants = inputs.iter().enumerate().map(|(i, c)| (i.to_string(), c.clone())).collect();
    let known = Known { constants, dims: BTreeMap::new() };
    let node = node(op_type, inputs.len(), attributes);
    let scope = Scope { node: &node, known: &known, opset: 17 };
    operator(op_type).unwrap().eval.unwrap()(&scope).unwrap_or_else(|e| panic!("{op_type}: {e}"))
}

fn ints(values: &[i64]) -> Constant {
    Constant::vector(values.to_vec())
}

fn scalar(value: i64) -> Constant {
    Constant::ints(&[], vec![value])
}

#[track_caller]
fn is(got: &Constant, dims: &[usize], values: &[i64]) {
    assert_eq!((got.dims.as_slice(), got.as_ints().unwrap()), (dims, values));
}

fn axis(value: i64) -> (&'static str, Attribute) {
    ("axis", Attribute::Int(value))
}

#[test]
fn constants_are_moved() {
    let matrix = Constant::ints(&[2, 3], vec![1, 2, 3, 4, 5, 6]);
    is(&eval("Transpose", std::slice::from_ref(&matrix), &[]), &[3, 2], &[1, 4, 2, 5, 3, 6]);
    is(&eval("Gather", &[matrix.clone(), scalar(-1)], &[axis(1)]), &[2], &[3, 6]);
    is(&eval("Gather", &[matrix.clone(), ints(&[1, 0])], &[axis(0)]), &[2, 3], &[4, 5, 6, 1, 2, 3]);
    let both = [matrix.clone(), matrix.clone()];
    let beside = [1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6];
    is(&eval("Concat", &both, &[axis(1)]), &[2, 6], &beside);
    let reversed = [matrix.clone(), ints(&[-1]), ints(&[-i64::MAX]), ints(&[0]), ints(&[-1])];
    is(&eval("Slice", &reversed, &[]), &[2, 3], &[4, 5, 6, 1, 2, 3]);
    let every_second = [matrix.clone(), ints(&[0]), ints(&[i64::MAX]), ints(&[1]), ints(&[2])];
    is(&eval("Slice", &every_second, &[]), &[2, 2], &[1, 3, 4, 6]);
    is(
        &eval("Reshape", &[matrix.clone(), ints(&[0, -1, 1])], &[]),
        &[2, 3, 1],
        &[1, 2, 3, 4, 5, 6],
    );
    is(&eval("Unsqueeze", &[ints(&[7]), ints(&[0, -1])], &[]), &[1, 1, 1], &[7]);
    is(&eval("Squeeze", &[Constant::ints(&[1, 2, 1], vec![8, 9])], &[]), &[2], &[8, 9]);
    is(
        &eval("Expand", &[Constant::ints(&[2, 1], vec![1, 2]), ints(&[3])], &[]),
        &[2, 3],
        &[1, 1, 1, 2, 2, 2],
    );
    is(&eval("Shape", &[matrix], &[("start", Attribute::Int(-1))]), &[1], &[3]);
}

#[test]
fn constants_are_computed() {
    is(&eval("Div", &[ints(&[7, -7]), scalar(2)], &[]), &[2], &[3, -3]);
    is(
        &eval("Mul", &[Constant::ints(&[2, 1], vec![2, 3]), ints(&[1, 10])], &[]),
        &[2, 2],
        &[2, 20, 3, 30],
    );
    is(&eval("Equal", &[ints(&[1, 2]), ints(&[1, 3])], &[]), &[2], &[1, 0]);
    is(&eval("Where", &[ints(&[1, 0]), ints(&[5, 6]), scalar(9)], &[]), &[2], &[5, 9]);
    is(&eval("Range", &[scalar(5), scalar(0), scalar(-2)], &[]), &[3], &[5, 3, 1]);
    let quotient = Constant::floats(&[2], vec![2.5, -2.5]);
    let up = eval("Ceil", &[quotient], &[]);
    is(&eval("Cast", std::slice::from_ref(&up), &[("to", Attribute::Int(7))]), &[2], &[3, -2]);
    is(&eval("Cast", &[up], &[("to", Attribute::Int(9))]), &[2], &[1, 1]);
    let zero = Constant::floats(&[], vec![0.0]);
    let clipped = eval("Clip", &[Constant::floats(&[2], vec![-1.0, 2.0]), zero], &[]);
    assert_eq!(clipped.as_floats().unwrap(), [0.0, 2.0]);
    let made = eval("ConstantOfShape", &[ints(&[2])], &[]);
    assert!(matches!(made.data, Data::Floats(values) if *values == [0.0, 0.0]));
}

/// Padding and output of windows on an image of 5x6.
fn window(kernel: i64, stride: i64, more: &[(&str, Attribute)]) -> ([usize; 4], [usize; 2]) {
    let two = |n: i64| Attribute::Ints(vec![n, n]);
    let sizes = [("kernel_shape", two(kernel)), ("strides", two(stride))];
    let node = node("MaxPool", 1, &[&sizes, more].concat());
    let known =
        Known { constants: BTreeMap::new(), dims: [("0".to_owned(), vec![1, 1, 5, 6])].into() };
    let scope = Scope { node: &node, known: &known, opset: 17 };
    let window = Window::of_pool(&scope).unwrap();
    assert_eq!(dims::pool(&scope).unwrap()[2..], window.sides());
    (window.whole_padding(), window.sides())
}

#[test]
fn windows_are_those_of_onnx() {
    let auto = |how: &str| ("auto_pad", Attribute::Text(how.into()));
    assert_eq!(window(3, 2, &[]), ([0; 4], [2, 2]));
    assert_eq!(window(3, 2, &[auto("VALID")]), ([0; 4], [2, 2]));
    assert_eq!(window(3, 2, &[auto("SAME_UPPER")]), ([1, 0, 1, 1], [3, 3]));
    assert_eq!(window(3, 2, &[auto("SAME_LOWER")]), ([1, 1, 1, 0], [3, 3]));
    let rounds_up = ("ceil_mode", Attribute::Int(1));
    assert_eq!(window(3, 2, std::slice::from_ref(&rounds_up)), ([0, 0, 0, 1], [2, 3]));
    // The third window would begin in the padding behind the image, so there is none.
    let padded = ("pads", Attribute::Ints(vec![0, 0, 1, 0]));
    assert_eq!(window(2, 3, &[rounds_up, padded]), ([0, 0, 1, 0], [2, 2]));
}
