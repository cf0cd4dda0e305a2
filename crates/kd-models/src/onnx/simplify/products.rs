//! Functions that are written as products and quotients.

use super::pattern::{Pattern, Rewrite, close};
use crate::onnx::model::{Attribute, Node};

/// The most factors of a pattern, and the most nodes of a product.
const MAX_FACTORS: usize = 3;
const MAX_NODES: usize = 4;

/// `number * factors[0] * factors[1] ...`
struct Product<'a> {
    number: f32,
    factors: Vec<&'a str>,
    n_nodes: usize,
}

/// The product that ends at `node`, through products and quotients by numbers before it.
fn product<'a>(pattern: &Pattern<'a>, node: &'a Node) -> Option<Product<'a>> {
    let mut product = Product { number: 1.0, factors: Vec::new(), n_nodes: 0 };
    collect(pattern, node, &mut product)?;
    Some(product)
}

fn collect<'a>(pattern: &Pattern<'a>, node: &'a Node, into: &mut Product<'a>) -> Option<()> {
    let [a, b] = node.inputs.as_slice() else { return None };
    into.n_nodes += 1;
    match node.op_type.as_str() {
        "Mul" => [a, b].into_iter().try_for_each(|value| factor(pattern, value, into)),
        "Div" => {
            into.number /= pattern.scalar(b)?;
            factor(pattern, a, into)
        }
        _ => None,
    }
}

fn factor<'a>(pattern: &Pattern<'a>, value: &'a str, into: &mut Product<'a>) -> Option<()> {
    if let Some(number) = pattern.scalar(value) {
        into.number *= number;
        return Some(());
    }
    if into.factors.len() >= MAX_FACTORS {
        return None;
    }
    match pattern.maker(value).filter(|node| matches!(&*node.op_type, "Mul" | "Div")) {
        Some(node) if into.n_nodes < MAX_NODES => {
            let n = (into.number, into.factors.len());
            collect(pattern, node, into).or_else(|| {
                into.number = n.0;
                into.factors.truncate(n.1);
                into.factors.push(value);
                Some(())
            })
        }
        _ => {
            into.factors.push(value);
            Some(())
        }
    }
}

/// `clip(x + 3, 0, 6) / 6` is `HardSigmoid` with 1/6 and 1/2.
pub(super) fn hard_sigmoid(pattern: &Pattern<'_>, node: &Node) -> Option<Rewrite> {
    let node = own(pattern, node)?;
    let product = product(pattern, node)?;
    let [clip] = product.factors.as_slice() else { return None };
    let x = shifted_clip(pattern, clip)?;
    let sixth = Attribute::Float(1.0 / 6.0);
    close(product.number, 1.0 / 6.0).then(|| {
        Rewrite::new("HardSigmoid", &[x]).with("alpha", sixth).with("beta", Attribute::Float(0.5))
    })
}

/// The same node, borrowed for as long as the network.
fn own<'a>(pattern: &Pattern<'a>, node: &Node) -> Option<&'a Node> {
    pattern.maker(node.outputs.first()?)
}

/// x of `clip(x + 3, 0, 6)`.
fn shifted_clip<'a>(pattern: &Pattern<'a>, value: &str) -> Option<&'a str> {
    let clip = pattern.made_by(value, "Clip")?;
    let scope = pattern.folded.scope(clip);
    let (low, high) = (scope.float_or_input("min", 1, 0.0), scope.float_or_input("max", 2, 0.0));
    let (x, shift) = pattern.with_scalar(pattern.made_by(clip.inputs.first()?, "Add")?)?;
    let is_it = low.is_ok_and(|low| low.abs() < 1e-6)
        && high.is_ok_and(|high| close(high, 6.0))
        && close(shift, 3.0);
    is_it.then_some(x)
}

/// x times a function of x: SiLU, hard swish, GELU.
pub(super) fn gated(pattern: &Pattern<'_>, node: &Node) -> Option<Rewrite> {
    let product = product(pattern, own(pattern, node)?)?;
    let &[a, b] = product.factors.as_slice() else { return None };
    gate(pattern, a, b, product.number).or_else(|| gate(pattern, b, a, product.number))
}

fn gate(pattern: &Pattern<'_>, x: &str, gate: &str, number: f32) -> Option<Rewrite> {
    let made = pattern.maker(gate)?;
    let of_x = made.inputs.first().is_some_and(|input| input == x);
    let rewrite = match made.op_type.as_str() {
        "Sigmoid" if of_x && close(number, 1.0) => "kd.Silu",
        "HardSigmoid" if of_x && close(number, 1.0) && is_sixth(pattern, made) => "HardSwish",
        "Clip" if close(number, 1.0 / 6.0) && shifted_clip(pattern, gate) == Some(x) => "HardSwish",
        "Add" if close(number, 0.5) && is_erf_part(pattern, x, made) => "Gelu",
        _ => return None,
    };
    Some(Rewrite::new(rewrite, &[x]))
}

fn is_sixth(pattern: &Pattern<'_>, hard_sigmoid: &Node) -> bool {
    let scope = pattern.folded.scope(hard_sigmoid);
    let (slope, shift) = (scope.float("alpha", 0.2), scope.float("beta", 0.5));
    slope.is_ok_and(|slope| close(slope, 1.0 / 6.0)) && shift.is_ok_and(|shift| close(shift, 0.5))
}

/// Whether `node` is `erf(x / sqrt(2)) + 1`.
fn is_erf_part(pattern: &Pattern<'_>, x: &str, node: &Node) -> bool {
    let find = || {
        let (erf, one) = pattern.with_scalar(own(pattern, node)?)?;
        let scaled = pattern.made_by(erf, "Erf")?.inputs.first()?;
        let product = product(pattern, pattern.maker(scaled)?)?;
        let root = std::f32::consts::FRAC_1_SQRT_2;
        Some(close(one, 1.0) && close(product.number, root) && product.factors == [x])
    };
    find().unwrap_or(false)
}

/// `softmax(x / T)`.
pub(super) fn softmax_of_quotient(pattern: &Pattern<'_>, node: &Node) -> Option<Rewrite> {
    let before = pattern.maker(node.inputs.first()?).filter(|_| node.op_type == "Softmax")?;
    let (x, number) = pattern.with_scalar(before)?;
    let temperature = match before.op_type.as_str() {
        "Div" if before.inputs[0] == x => number,
        "Mul" => 1.0 / number,
        _ => return None,
    };
    let rewrite = Rewrite { attributes: node.attributes.clone(), ..Rewrite::new("Softmax", &[x]) };
    Some(rewrite.with("kd.temperature", Attribute::Float(temperature)))
}
