//! Which operations are joined to one step, and when an activation is read for the last time.

use std::collections::{BTreeMap, BTreeSet};

use super::blocks::Block;
use super::group::{Convolutions, Group, Head, Place};
use super::purpose::Purpose;
use super::sinks::Sinks;
use crate::act::Clamp;
use crate::graph::{Graph, IMAGES, Node, Shapes};
use crate::ops::step::Weight;
use crate::ops::{Normalize, Op};
use crate::{Error, Result};

/// The part of a network that a plan computes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    /// What it reads: the images, or the output of a node.
    pub(super) from: String,
    /// The node whose output is its first.
    pub(super) to: String,
    /// The nodes whose outputs come next.
    pub(super) taps: Vec<String>,
}

/// A network as plans see it.
#[derive(Clone, Copy)]
pub(super) struct Network<'a> {
    pub(super) graph: &'a Graph,
    pub(super) shapes: &'a Shapes,
    /// The tensors of each node.
    pub(super) weights: &'a [Vec<Weight>],
    /// Which nodes compute in training as in evaluation.
    pub(super) rests: &'a [bool],
    pub(super) convolutions: Convolutions,
}

/// Steps in the order in which they run.
pub(super) struct Plan {
    pub(super) purpose: Purpose,
    /// What the images go through before the first step.
    pub(super) normalize: Option<Normalize>,
    pub(super) steps: Vec<Step>,
    /// Number of activations; those that it reads come first.
    pub(super) n_acts: usize,
    /// The network's output, and then what was asked for beside it.
    pub(super) outputs: Vec<Place>,
    /// For the gradients of shards.
    pub(super) sinks: Sinks,
}

/// One step.
pub(super) struct Step {
    pub(super) block: Box<dyn Block>,
    pub(super) inputs: Vec<Place>,
    pub(super) output: Place,
    pub(super) weights: Vec<Weight>,
    /// Whether it computes in training as in evaluation.
    pub(super) rests: bool,
    /// Activations that nothing reads after this step.
    pub(super) last_reads: Vec<usize>,
}

impl Plan {
    /// The plan of one part of a network.
    ///
    /// # Errors
    /// [`Error::Config`] for a tap that is no node, or not one of the part.
    pub(super) fn new(network: Network<'_>, purpose: Purpose, part: &Part) -> Result<Self> {
        let mut planner = Planner::new(network, purpose, part)?;
        for (i, node) in network.graph.nodes.iter().enumerate() {
            if planner.needed[i] {
                planner.add(i, node, &network.weights[i]);
            }
        }
        planner.finish(part)
    }

    /// The plan of one operation.
    pub(super) fn single(
        op: Op,
        inputs: &[&[usize]],
        output: &[usize],
        weights: Vec<Weight>,
        purpose: Purpose,
    ) -> Self {
        let mut head = Group::new(&op, 0);
        head.weights = weights;
        let place = |(act, shape): (usize, &&[usize])| Place { act, shape: shape.to_vec() };
        let inputs: Vec<Place> = inputs.iter().enumerate().map(place).collect();
        let output = Place { act: inputs.len(), shape: output.to_vec() };
        let (n_acts, weights) = (inputs.len() + 1, head.weights.clone());
        let (block, outputs) = (head.block(Convolutions::default()), vec![output.clone()]);
        let mut steps =
            vec![Step { block, inputs, output, weights, rests: false, last_reads: Vec::new() }];
        note_last_reads(&mut steps, &outputs, purpose);
        Self { purpose, normalize: None, steps, n_acts, outputs, sinks: Sinks::default() }
    }
}

struct Planner<'a> {
    network: Network<'a>,
    purpose: Purpose,
    /// Which nodes it computes.
    needed: Vec<bool>,
    /// How often each node is read; what is tapped, once more.
    n_reads: BTreeMap<&'a str, usize>,
    /// Where each node's output is.
    places: BTreeMap<&'a str, Place>,
    normalize: Option<Normalize>,
    groups: Vec<Group>,
}

impl<'a> Planner<'a> {
    fn new(network: Network<'a>, purpose: Purpose, part: &'a Part) -> Result<Self> {
        let Part { from, to, taps } = part;
        let graph = network.graph;
        if let Some(tap) = taps.iter().find(|tap| **tap != IMAGES && graph.node(tap).is_none()) {
            return Err(Error::config(tap, "the network has no node of this name"));
        }
        let outputs: Vec<&str> = taps.iter().chain([to]).map(String::as_str).collect();
        let mut n_reads: BTreeMap<&str, usize> = BTreeMap::new();
        let read = graph.nodes.iter().flat_map(|node| &node.inputs).map(String::as_str);
        // What is tapped must stay: no group goes on beyond it.
        for name in read.chain(outputs.iter().flat_map(|output| [*output; 2])) {
            *n_reads.entry(name).or_default() += 1;
        }
        let first = Place { act: 0, shape: network.shapes.get(from).to_vec() };
        let (places, groups) = (BTreeMap::from([(from.as_str(), first)]), Vec::new());
        let needed = graph.needed(&outputs, from);
        Ok(Self { network, purpose, needed, n_reads, places, normalize: None, groups })
    }

    fn add(&mut self, i: usize, node: &'a Node, weights: &[Weight]) {
        let shape = self.network.shapes.get(&node.name).to_vec();
        if self.begins(node) || self.changes_nothing(i, node) {
            let place = Place { shape, ..self.places[node.inputs[0].as_str()].clone() };
            self.places.insert(&node.name, place);
            return;
        }
        if !self.join(i, node, weights) {
            let inputs = node.inputs.iter().map(|input| self.places[input.as_str()].clone());
            let (inputs, weights) = (inputs.collect(), weights.to_vec());
            let rests = self.network.rests[i];
            self.groups.push(Group { inputs, weights, rests, ..Group::new(&node.op, i) });
        }
        self.places.insert(&node.name, Place { act: i + 1, shape });
    }

    /// Whether `node` normalizes the images, which nothing else reads: then they come normalized.
    fn begins(&mut self, node: &Node) -> bool {
        let alone = self.n_reads.get(IMAGES) == Some(&1) && node.inputs == [IMAGES];
        match &node.op {
            Op::Normalize(normalize) if alone => self.normalize = Some(normalize.clone()),
            _ => return false,
        }
        true
    }

    /// Dropout in evaluation, and what only calls the same values otherwise.
    fn changes_nothing(&self, i: usize, node: &Node) -> bool {
        let input = self.network.shapes.inputs(node)[0];
        match &node.op {
            Op::Dropout(dropout) => !self.trains(i) || dropout.p == 0.0,
            Op::Flatten(_) => input.len() < 3 || input[0] == 1 || input[1..] == [1, 1],
            _ => false,
        }
    }

    /// Whether node number `i` computes as in training.
    fn trains(&self, i: usize) -> bool {
        self.purpose == Purpose::Train && !self.network.rests[i]
    }

    /// Joins `node` with the group that makes its input, if it can.
    fn join(&mut self, i: usize, node: &Node, weights: &[Weight]) -> bool {
        let evaluates = self.purpose == Purpose::Evaluate;
        let (in_training, rests) = (self.trains(i), self.network.rests[i]);
        let Some((at, other)) = self.joinable(node) else { return false };
        let group = &mut self.groups[at];
        if group.rests != rests {
            return false;
        }
        let is_plain = !group.residual && group.clamp.is_none() && group.map.is_none();
        let clamp = node.op.as_dyn().clamp();
        match (&mut group.head, &node.op) {
            (Head::Conv { conv, norm: norm @ None }, Op::BatchNorm(batch_norm))
                if is_plain && !(conv.bias && in_training) =>
            {
                *norm = Some(*batch_norm);
                group.weights.extend_from_slice(weights);
            }
            (Head::Conv { .. } | Head::Norm(_), Op::Add(_)) if is_plain => {
                let Some(other) = other else { return false };
                group.inputs.push(other);
                group.residual = true;
            }
            (Head::Linear, Op::Dropout(dropout))
                if group.dropout.is_none() && group.clamp.is_some() =>
            {
                group.dropout = Some(*dropout);
            }
            (Head::Linear, _)
                if clamp == Some(Clamp::RELU)
                    && group.clamp.is_none()
                    && group.dropout.is_none() =>
            {
                group.clamp = clamp;
            }
            (Head::Conv { .. } | Head::Norm(_) | Head::Sum, _)
                if clamp.is_some() && group.clamp.is_none() && group.map.is_none() =>
            {
                group.clamp = clamp;
            }
            (Head::Conv { .. }, op)
                if evaluates
                    && group.clamp.is_none()
                    && group.map.is_none()
                    && op.as_dyn().map(&mut []) =>
            {
                group.map = Some(op.clone());
            }
            _ => return false,
        }
        group.tail = i;
        // It runs when its last input is there.
        let group = self.groups.remove(at);
        self.groups.push(group);
        true
    }

    /// The latest group that `node` alone reads, and where the other input of a sum is.
    fn joinable(&self, node: &Node) -> Option<(usize, Option<Place>)> {
        let at = |input: &String| {
            let tail = self.network.graph.nodes.iter().position(|node| node.name == *input)?;
            let alone = self.n_reads.get(input.as_str()) == Some(&1);
            self.groups.iter().position(|group| group.tail == tail).filter(|_| alone)
        };
        let place = |i: usize| self.places.get(node.inputs.get(i)?.as_str()).cloned();
        match node.inputs.as_slice() {
            [x] => Some((at(x)?, None)),
            [x, y] => match (at(x), at(y)) {
                (Some(i), j) if j.is_none_or(|j| j < i) => Some((i, place(1))),
                (_, Some(j)) => Some((j, place(0))),
                _ => None,
            },
            _ => None,
        }
    }

    /// Leaves it to the linear layer that alone reads gray images, if one does, to subtract their mean: what
    /// is black stays zero, which matrix products leave out. A GPU's do not.
    fn shift(&mut self, outputs: &[Place]) {
        let mut readers = self.groups.iter_mut().filter(|group| reads_images(&group.inputs));
        let (Some(normalize), Some(first), None) =
            (&mut self.normalize, readers.next(), readers.next())
        else {
            return;
        };
        let is_on_gpu = first.weights.iter().any(|weight| weight.value.device().is_cuda());
        if let (Head::Linear, [mean], [std]) =
            (&first.head, &mut normalize.mean[..], &normalize.std[..])
            && !is_on_gpu
            && !reads_images(outputs)
        {
            first.shift = Some(-std::mem::take(mean) / std);
        }
    }

    fn finish(mut self, part: &Part) -> Result<Plan> {
        let place = |name: &String| {
            let reason = "is not computed from what the network goes on from";
            self.places.get(name.as_str()).cloned().ok_or_else(|| Error::config(name, reason))
        };
        let outputs = [&part.to].into_iter().chain(&part.taps).map(place);
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        self.shift(&outputs);
        let Network { graph, shapes, convolutions, .. } = self.network;
        let n_acts = graph.nodes.len() + 1;
        let step = |group: Group| {
            let shape = shapes.get(&graph.nodes[group.tail].name).to_vec();
            let output = Place { act: group.tail + 1, shape };
            let (inputs, weights) = (group.inputs.clone(), group.weights.clone());
            let (rests, last_reads) = (group.rests, Vec::new());
            Step { block: group.block(convolutions), inputs, output, weights, rests, last_reads }
        };
        let mut steps: Vec<Step> = self.groups.into_iter().map(step).collect();
        note_last_reads(&mut steps, &outputs, self.purpose);
        let (purpose, normalize, sinks) = (self.purpose, self.normalize, Sinks::default());
        Ok(Plan { purpose, normalize, steps, n_acts, outputs, sinks })
    }
}

/// Whether what the first activation holds is among `places`.
fn reads_images(places: &[Place]) -> bool {
    places.iter().any(|place| place.act == 0)
}

/// Notes at each step which activations it is the last to read, forward and backward.
fn note_last_reads(steps: &mut [Step], outputs: &[Place], purpose: Purpose) {
    let mut kept: BTreeSet<usize> = outputs.iter().map(|place| place.act).collect();
    if purpose != Purpose::Evaluate {
        for step in &*steps {
            let reads = step.block.reads(purpose == Purpose::Train && !step.rests);
            if reads.inputs {
                kept.extend(step.inputs.iter().map(|place| place.act));
            }
            if reads.output || step.block.is_clamped() {
                kept.insert(step.output.act);
            }
        }
    }
    for step in steps.iter_mut().rev() {
        let read = step.inputs.iter().map(|place| place.act).chain([step.output.act]);
        step.last_reads = read.filter(|act| kept.insert(*act)).collect();
    }
}
