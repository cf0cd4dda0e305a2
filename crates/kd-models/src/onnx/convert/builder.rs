//! The graph under construction.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Device, Tensor};
use kd_core::graph::{Graph, IMAGES, Node};
use kd_core::ops::Op;
use kd_core::{Error, Result};

use crate::onnx::constant::{Checked, Constant};
use crate::onnx::names::{self, Names};
use crate::onnx::scope::Scope;

/// A value of the file as the graph has it.
#[derive(Debug, Clone)]
pub(crate) struct Symbol {
    /// The node whose output it is.
    pub(crate) node: String,
    /// `[C, H, W]` or `[F]`, whatever the file's order of axes.
    pub(crate) shape: Vec<usize>,
    pub(crate) layout: Layout,
    /// Whether the one that reads it is the only one that reads the node.
    pub(crate) sole: bool,
}

/// Where the channels are in the file's value, of those with height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `(N, C, H, W)`
    ChannelsFirst,
    /// `(N, H, W, C)`
    ChannelsLast,
}

/// The graph so far.
pub(crate) struct Builder {
    graph: Graph,
    pub(crate) weights: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    symbols: BTreeMap<String, Symbol>,
    /// How often a value of the file is read.
    n_reads: BTreeMap<String, usize>,
    pub(crate) names: Names,
    /// Layers whose weights have lost their names.
    pub(crate) unnamed: BTreeSet<String>,
    pub(crate) n_dropouts: u64,
    pub(crate) notes: Vec<String>,
}

impl Builder {
    /// A graph without nodes, for the images that the file calls `input`; `reads` are the names of
    /// all that is read.
    pub(crate) fn new<'a>(
        input: &str,
        image_shape: [usize; 3],
        reads: impl Iterator<Item = &'a String>,
    ) -> Self {
        let mut n_reads = BTreeMap::new();
        for name in reads {
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

    /// Makes what the file calls `name` the output.
    ///
    /// # Errors
    /// When it is no vector of classes.
    pub(crate) fn set_output(&mut self, name: &str, dims: Option<&[usize]>) -> Checked<()> {
        match self.symbols.get(name) {
            Some(symbol) if symbol.shape.len() == 1 && dims.is_some_and(|dims| dims.len() == 2) => {
                self.graph.output.clone_from(&symbol.node);
                Ok(())
            }
            _ => Err(format!("the output is {dims:?}; (N, classes) is supported")),
        }
    }

    /// Graph, weights and notes.
    ///
    /// # Errors
    /// [`Error::Config`] when the graph is none.
    pub(crate) fn finish(self) -> Result<(Graph, BTreeMap<String, Tensor>, Vec<String>)> {
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
    pub(crate) fn symbol(&self, scope: &Scope<'_>, i: usize) -> Checked<Symbol> {
        let name = scope.input(i).ok_or_else(|| format!("lacks input {i}"))?;
        let symbol = self.symbols.get(name).cloned();
        let mut symbol = symbol.ok_or_else(|| format!("input {i}, `{name}`, is a constant"))?;
        symbol.sole &= self.n_reads.get(name) == Some(&1);
        Ok(symbol)
    }

    /// Input `i`, a map of features with the channels first.
    pub(crate) fn image(&self, scope: &Scope<'_>, i: usize) -> Checked<Symbol> {
        let symbol = self.symbol(scope, i)?;
        let is_image = symbol.layout == Layout::ChannelsFirst && symbol.shape.len() == 3;
        if is_image { Ok(symbol) } else { Err("needs an image of the order (N, C, H, W)".into()) }
    }

    /// Adds `op` under the name of the operator; the output has `layout`.
    pub(crate) fn push(
        &mut self,
        scope: &Scope<'_>,
        op: impl Into<Op>,
        inputs: &[&Symbol],
    ) -> Checked<()> {
        let name = names::of_node(&scope.node.name, false);
        let layout = inputs[0].layout;
        self.push_named(scope, &name, op.into(), (inputs, layout)).map(|_| ())
    }

    /// Adds `op` as `name`, or what makes that a new name, and gives the name.
    pub(crate) fn push_named(
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

    /// Adds an operation that is no operator of its own.
    pub(crate) fn inner(&mut self, name: &str, op: impl Into<Op>, x: &Symbol) -> Checked<Symbol> {
        let op = op.into();
        let shape = op.as_dyn().shape(&[&x.shape])?;
        let node = self.names.unique(name);
        self.graph.push(node.clone(), op, &[&x.node]);
        Ok(Symbol { node, shape, layout: x.layout, sole: true })
    }

    /// The operator's output is `symbol`, whose shape must be what ONNX says.
    pub(crate) fn define(&mut self, scope: &Scope<'_>, symbol: Symbol) -> Checked<()> {
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
    pub(crate) fn weight(&mut self, node: &str, part: &str, dims: &[usize], values: Vec<f32>) {
        self.weights.insert(format!("{node}.{part}"), (dims.to_vec(), values));
    }

    /// Calls the layer that makes `symbol` after its bias, if nothing else of it has a name.
    pub(crate) fn name_after_bias(&mut self, symbol: Symbol, name: &str) -> Symbol {
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
    pub(crate) fn rename(&mut self, scope: &Scope<'_>, symbol: Symbol) -> Symbol {
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
    pub(crate) fn own_node(&mut self, symbol: &Symbol) -> Option<&mut Node> {
        let last = self.graph.nodes.iter_mut().rev().find(|node| node.name == symbol.node);
        last.filter(|_| symbol.sole)
    }
}

/// The name of a node with parameters: that of the parameter that still has one.
pub(crate) fn module_name(scope: &Scope<'_>, weight: &Constant, bias: Option<&Constant>) -> String {
    let of_weight = names::of_parameter(weight.origin.as_deref(), "weight");
    let of_bias = || names::of_parameter(bias?.origin.as_deref(), "bias");
    let name = of_weight.or_else(of_bias).map(str::to_owned);
    name.unwrap_or_else(|| names::of_node(&scope.node.name, true))
}
