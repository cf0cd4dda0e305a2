//! A network as data: nodes in the order in which they are computed.
//!
//! Key decision: the graph holds no tensors and no code. Whoever has it can count, cut, tap, execute,
//! convert or store the network; nothing else in the workspace knows a network's structure.

mod check;
mod params;
mod rest;
mod stages;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ops::{Normalize, Op, ParamSpec};
use crate::{Error, Result};

/// The name of the images, which every graph begins with.
pub const IMAGES: &str = "images";

/// A network from images to its output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    /// `[C, H, W]` of the images, pixels in `[0, 1]`.
    pub image_shape: [usize; 3],
    /// The nodes; each reads only the images and nodes before it.
    pub nodes: Vec<Node>,
    /// Name of the node whose output is the network's: the logits.
    pub output: String,
}

/// An operation at its place in a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name, which its parameters' names begin with: `conv1` has `conv1.weight`.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Names of what it reads.
    pub inputs: Vec<String>,
}

impl Node {
    /// The full name of its parameter of this spec.
    pub(crate) fn param(&self, spec: &ParamSpec) -> String {
        format!("{}.{}", self.name, spec.name)
    }
}

pub use check::{Counts, Shapes};
pub(crate) use rest::Rest;

impl Graph {
    /// A network for images of `[C, H, W]` that has no node yet.
    pub fn new(image_shape: [usize; 3]) -> Self {
        Self { image_shape, nodes: Vec::new(), output: IMAGES.into() }
    }

    /// Adds a node that reads `inputs`, makes it the output, and gives its name.
    pub fn push(&mut self, name: impl Into<String>, op: impl Into<Op>, inputs: &[&str]) -> String {
        let name = name.into();
        let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
        self.nodes.push(Node { name: name.clone(), op: op.into(), inputs });
        self.output.clone_from(&name);
        name
    }

    /// Adds a node that reads the present output.
    pub fn then(&mut self, name: impl Into<String>, op: impl Into<Op>) -> String {
        let input = self.output.clone();
        self.push(name, op, &[&input])
    }

    /// The node `name`.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// Without what comes after the node `name`, which becomes the output: a network without its
    /// head, or a feature of one.
    ///
    /// # Errors
    /// [`Error::Config`] when there is no such node.
    pub fn cut(&self, name: &str) -> Result<Self> {
        if name != IMAGES && self.node(name).is_none() {
            return Err(Error::config(name, "the network has no node of this name"));
        }
        let needed = self.needed(&[name], IMAGES);
        let kept = self.nodes.iter().zip(needed).filter(|(_, needed)| *needed);
        let nodes = kept.map(|(node, _)| node.clone()).collect();
        Ok(Self { image_shape: self.image_shape, nodes, output: name.into() })
    }

    /// Which nodes are computed for the outputs of the nodes `to`, where that of `from` is known.
    pub(crate) fn needed(&self, to: &[&str], from: &str) -> Vec<bool> {
        let mut wanted: BTreeSet<&str> = to.iter().copied().collect();
        let needed = self.nodes.iter().rev().map(|node| {
            let needed = node.name != from && wanted.contains(node.name.as_str());
            if needed {
                wanted.extend(node.inputs.iter().map(String::as_str));
            }
            needed
        });
        let mut needed: Vec<bool> = needed.collect();
        needed.reverse();
        needed
    }

    /// The same network, which normalizes its images first.
    ///
    /// # Errors
    /// [`Error::Config`] when it does so already, or when the means do not fit the images.
    pub fn normalized(mut self, mean: &[f32], std: &[f32]) -> Result<Self> {
        const NAME: &str = "normalize";
        if self.normalization().is_some() {
            return Err(Error::config(NAME, "the network normalizes its images already"));
        }
        let reads_images = |input: &&mut String| *input == IMAGES;
        let inputs = self.nodes.iter_mut().flat_map(|node| node.inputs.iter_mut());
        inputs.filter(reads_images).for_each(|input| *input = NAME.into());
        let op = Normalize { mean: mean.to_vec(), std: std.to_vec() }.into();
        self.nodes.insert(0, Node { name: NAME.into(), op, inputs: vec![IMAGES.into()] });
        self.shapes()?;
        Ok(self)
    }

    /// How the network normalizes its images, where it does.
    pub fn normalization(&self) -> Option<&Normalize> {
        self.nodes.iter().find_map(|node| match &node.op {
            Op::Normalize(normalize) if node.inputs == [IMAGES] => Some(normalize),
            _ => None,
        })
    }

    /// Without dropout, which does nothing but in training: the same function. Graphs that are
    /// equal then take the same weights to the same logits.
    #[must_use]
    pub fn without_dropout(&self) -> Self {
        let kept = self.nodes.iter().filter(|node| !matches!(node.op, Op::Dropout(_)));
        let nodes = kept.map(|node| Node {
            inputs: node.inputs.iter().map(|input| self.before_dropout(input)).collect(),
            ..node.clone()
        });
        let nodes = nodes.collect();
        Self { image_shape: self.image_shape, nodes, output: self.before_dropout(&self.output) }
    }

    /// The node `name`, or the one before it that is no dropout.
    fn before_dropout<'g>(&'g self, mut name: &'g str) -> String {
        while let Some(Node { op: Op::Dropout(_), inputs, .. }) = self.node(name)
            && let Some(input) = inputs.first()
        {
            name = input;
        }
        name.into()
    }

    /// Number of classes: values of the output.
    ///
    /// # Errors
    /// Those of [`Graph::shapes`]; [`Error::Config`] when the output is no vector.
    pub fn n_classes(&self) -> Result<usize> {
        match self.shapes()?.get(&self.output) {
            [n] => Ok(*n),
            other => {
                let reason = format!("{other:?} are no logits of classes");
                Err(Error::config(&self.output, reason))
            }
        }
    }

    /// Names and shapes of all parameters and buffers.
    ///
    /// # Errors
    /// Those of [`Graph::shapes`].
    pub fn param_shapes(&self) -> Result<BTreeMap<String, Vec<usize>>> {
        let shapes = self.shapes()?;
        let params = self.nodes.iter().flat_map(|node| {
            let params = node.op.as_dyn().params(&shapes.inputs(node)).into_iter();
            params.map(|param| (node.param(&param), param.shape))
        });
        Ok(params.collect())
    }
}
