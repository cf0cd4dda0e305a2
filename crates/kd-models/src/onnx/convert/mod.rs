//! From operators of ONNX to operations of a graph: one file per family.

pub(super) mod activation;
pub(super) mod arithmetic;
pub(super) mod conv;
pub(super) mod linear;
pub(super) mod norm;
pub(super) mod pool;
pub(super) mod shape;

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Device, Tensor};
use kd_core::graph::{Graph, IMAGES, Node};
use kd_core::ops::Op;
use kd_core::{Error, Result};

use super::constant::{Checked, Constant};
use super::fold::{Fault, Folded};
use super::names::{self, Names};
use super::operators::operator;
use super::scope::Scope;

/// A value of the file as the graph has it.
#[derive(Debug, Clone)]
pub(super) struct Symbol {
    /// The node whose output it is.
    node: String,
    /// `[C, H, W]` or `[F]`, whatever the file's order of axes.
    shape: Vec<usize>,
    layout: Layout,
    /// Whether the one that reads it is the only one that reads the node.
    sole: bool,
}

/// Where the channels are in the file's value, of those with height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// `(N, C, H, W)`
    ChannelsFirst,
    /// `(N, H, W, C)`
    ChannelsLast,
}

/// The graph so far.
pub(super) struct Builder {
    graph: Graph,
    weights: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    symbols: BTreeMap<String, Symbol>,
    /// How often a value of the file is read.
    n_reads: BTreeMap<String, usize>,
    names: Names,
    /// Layers whose weights have lost their names.
    unnamed: BTreeSet<String>,
    n_dropouts: u64,
    pub(super) notes: Vec<String>,
}

/// The graph of `folded` for images of `image_shape`, its weights and what is to be said.
pub(super) fn convert(
    folded: &Folded,
    input: &str,
    image_shape: [usize; 3],
) -> std::result::Result<Builder, Fault> {
    let mut builder = Builder::new(folded, input, image_shape);
    for node in &folded.nodes {
        let done = operator(&node.op_type).and_then(|operator| {
            let on_images = operator.on_images.ok_or("is supported for constants only")?;
            (on_images.convert)(&mut builder, &folded.scope(node))
        });
        done.map_err(|reason| Fault::at(node, reason))?;
    }
    if let (Some(symbol), Some(last)) = (builder.symbols.get(&folded.output), folded.nodes.last()) {
        let known = folded.known.dims.get(&folded.output);
        if known.is_none_or(|dims| dims.len() != 2) || symbol.shape.len() != 1 {
            let reason = format!("the output is {known:?}; (N, classes) is supported");
            return Err(Fault::at(last, reason));
        }
        builder.graph.output.clone_from(&symbol.node);
    }
    Ok(builder)
}

impl Builder {
    fn new(folded: &Folded, input: &str, image_shape: [usize; 3]) -> Self {
        let mut n_reads = BTreeMap::new();
        let read = folded.nodes.iter().flat_map(|node| &node.inputs);
        for name in read.chain([&folded.output]) {
            *n_reads.entry(name.clone()).or_default() += 1;
        }
        let mut names = Names::default();
        let node = names.unique(IMAGES);
        let (shape, layout) = (image_shape.to_vec(), Layout::ChannelsFirst);
        let images = Symbol { node, shape, layout, sole: true };
        Self {
            graph: Graph::new(image_shape),
            weights: BTreeMap::new(),
            symbols: BTreeMap::from([(input.to_owned(), images)]),
            n_reads,
            names,
            unnamed: BTreeSet::new(),
            n_dropouts: 0,
            notes: Vec::new(),
        }
    }

    /// Graph, weights and notes.
    ///
    /// # Errors
    /// [`Error::Config`] when the graph is none.
    pub(super) fn finish(self) -> Result<(Graph, BTreeMap<String, Tensor>, Vec<String>)> {
        if self.graph.nodes.is_empty() {
            return Err(Error::config("output", "the network computes nothing"));
        }
        let tensor = |(name, (dims, values))| {
            let tensor = Tensor::from_vec::<Vec<usize>, f32>(values, dims, &Device::Cpu)?;
            Ok((name, tensor))
        };
        let weights = self.weights.into_iter().map(tensor).collect::<Result<_>>()?;
        Ok((self.graph, weights, self.notes))
    }

    /// Input `i`, an activation.
    fn symbol(&self, scope: &Scope<'_>, i: usize) -> Checked<Symbol> {
        let name = scope.input(i).ok_or_else(|| format!("lacks input {i}"))?;
        let symbol = self.symbols.get(name).cloned();
        let mut symbol = symbol.ok_or_else(|| format!("input {i}, `{name}`, is a constant"))?;
        symbol.sole &= self.n_reads.get(name) == Some(&1);
        Ok(symbol)
    }

    /// Input `i`, a map of features with the channels first.
    fn image(&self, scope: &Scope<'_>, i: usize) -> Checked<Symbol> {
        let symbol = self.symbol(scope, i)?;
        let is_image = symbol.layout == Layout::ChannelsFirst && symbol.shape.len() == 3;
        if is_image { Ok(symbol) } else { Err("needs an image of the order (N, C, H, W)".into()) }
    }

    /// Adds `op` under the name of the operator; the output has `layout`.
    fn push(&mut self, scope: &Scope<'_>, op: impl Into<Op>, inputs: &[&Symbol]) -> Checked<()> {
        let name = names::of_node(&scope.node.name, false);
        let layout = inputs[0].layout;
        self.push_named(scope, &name, op.into(), (inputs, layout)).map(|_| ())
    }

    /// Adds `op` as `name`, or what makes that a new name, and gives the name.
    fn push_named(
        &mut self,
        scope: &Scope<'_>,
        name: &str,
        op: Op,
        (inputs, layout): (&[&Symbol], Layout),
    ) -> Checked<String> {
        let shapes: Vec<&[usize]> = inputs.iter().map(|input| input.shape.as_slice()).collect();
        let shape = op.as_dyn().shape(&shapes)?;
        let node = self.names.unique(name);
        let inputs = inputs.iter().map(|input| input.node.clone()).collect();
        self.graph.nodes.push(Node { name: node.clone(), op, inputs });
        self.define(scope, Symbol { node: node.clone(), shape, layout, sole: true })?;
        Ok(node)
    }

    /// The operator's output is `symbol`, whose shape must be what ONNX says.
    fn define(&mut self, scope: &Scope<'_>, symbol: Symbol) -> Checked<()> {
        let dims = scope.output_dims()?;
        let numbers: usize = symbol.shape.iter().product();
        let fits = match (dims, symbol.shape.as_slice(), symbol.layout) {
            (&[_, c, h, w], shape, Layout::ChannelsFirst) if shape.len() == 3 => shape == [c, h, w],
            (&[_, h, w, c], shape, Layout::ChannelsLast) if shape.len() == 3 => shape == [c, h, w],
            (&[_, ref rest @ ..], &[f], _) => {
                rest.iter().product::<usize>() == f
                    && rest.iter().filter(|side| **side > 1).count() < 2
            }
            _ => false,
        };
        if !fits || numbers == 0 {
            let shape = &symbol.shape;
            return Err(format!("makes {dims:?}, where one image becomes {shape:?}"));
        }
        let output = scope.node.outputs.first().ok_or("has no output")?;
        self.symbols.insert(output.clone(), symbol);
        Ok(())
    }

    /// Adds the numbers of a parameter.
    fn weight(&mut self, node: &str, part: &str, dims: &[usize], values: Vec<f32>) {
        self.weights.insert(format!("{node}.{part}"), (dims.to_vec(), values));
    }

    /// Calls the layer that makes `symbol` after its bias, if nothing else of it has a name.
    fn name_after_bias(&mut self, symbol: Symbol, name: &str) -> Symbol {
        let old = symbol.node.clone();
        if !self.unnamed.remove(&old) {
            return symbol;
        }
        let name = self.names.unique(name);
        for part in ["weight", "bias"] {
            if let Some(values) = self.weights.remove(&format!("{old}.{part}")) {
                self.weights.insert(format!("{name}.{part}"), values);
            }
        }
        if let Some(node) = self.own_node(&symbol) {
            node.name.clone_from(&name);
        }
        Symbol { node: name, ..symbol }
    }

    /// Calls the node that makes `symbol` after the operator, which became a part of it.
    fn rename(&mut self, scope: &Scope<'_>, symbol: Symbol) -> Symbol {
        let name = self.names.unique(&names::of_node(&scope.node.name, false));
        match self.own_node(&symbol) {
            Some(node) => {
                node.name.clone_from(&name);
                Symbol { node: name, ..symbol }
            }
            None => symbol,
        }
    }

    /// The node that makes `symbol`, where nothing else reads it: it may be changed.
    fn own_node(&mut self, symbol: &Symbol) -> Option<&mut Node> {
        let last = self.graph.nodes.iter_mut().rev().find(|node| node.name == symbol.node);
        last.filter(|_| symbol.sole)
    }
}

/// The name of a node with parameters: that of the parameter that still has one.
fn module_name(scope: &Scope<'_>, weight: &Constant, bias: Option<&Constant>) -> String {
    let of_weight = names::of_parameter(weight.origin.as_deref(), "weight");
    let of_bias = || names::of_parameter(bias?.origin.as_deref(), "bias");
    let name = of_weight.or_else(of_bias).map(str::to_owned);
    name.unwrap_or_else(|| names::of_node(&scope.node.name, true))
}
