//! A graph with its tensors: a network that classifies and learns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use parking_lot::Mutex;

use super::group::Convolutions;
use super::pass::Pass;
use super::plan::{self, Network, Plan};
use super::purpose::Purpose;
use super::run::Run;
use super::{border, images, shared, weights};
use crate::act::Act;
use crate::graph::{Graph, IMAGES, Rest, Shapes};
use crate::ops::step::Weight;
use crate::ops::{ConvSums, ParamSpec};
use crate::{Classifier, Error, Mode, Params, Part, Result, Stream, init};

type Plans = BTreeMap<(Purpose, plan::Part), Arc<Plan>>;

/// A network from pixels in `[0, 1]` to logits.
pub struct Net {
    graph: Graph,
    shapes: Shapes,
    params: Params,
    /// The tensors of each node.
    weights: Vec<Vec<Weight>>,
    /// Nodes that parts end with which have a name of their own ([`Graph::stages`]).
    stages: BTreeMap<String, String>,
    /// What does not learn.
    rest: Rest,
    convolutions: Convolutions,
    n_classes: usize,
    device: Device,
    plans: Mutex<Plans>,
}

impl Net {
    /// The network of `graph` with initial values from `stream`: each tensor from the stream of its
    /// own name.
    ///
    /// # Errors
    /// [`Error::Config`] when the graph is none, naming the node.
    pub fn new(graph: Graph, stream: Stream, device: &Device) -> Result<Self> {
        Self::build(graph, device, |name, spec| init::draw(spec, stream.at(name), device))
    }

    /// The network of `graph` with `values` by name.
    ///
    /// # Errors
    /// As [`Net::new`]; [`Error::Config`] for a missing or an extra name, [`Error::Shape`] for
    /// another shape: no more is allocated than `values` have.
    pub fn with_weights(
        graph: Graph,
        values: &BTreeMap<String, Tensor>,
        device: &Device,
    ) -> Result<Self> {
        let wanted = graph.param_shapes()?;
        if let Some(extra) = values.keys().find(|name| !wanted.contains_key(*name)) {
            return Err(Error::config(extra, "the network has no parameter of this name"));
        }
        Self::build(graph, device, |name, spec| match values.get(name) {
            Some(value) if value.dims() == spec.shape => Ok(value.to_device(device)?),
            Some(value) => Err(Error::shape(name, format!("{:?}", spec.shape), value.dims())),
            None => Err(Error::config(name, "the weights lack this parameter")),
        })
    }

    fn build(
        graph: Graph,
        device: &Device,
        value: impl Fn(&str, &ParamSpec) -> Result<Tensor>,
    ) -> Result<Self> {
        let (shapes, n_classes) = (graph.shapes()?, graph.n_classes()?);
        let mut params = Params::default();
        graph.fill(&mut params, value)?;
        let weights = weights::of(&graph, &shapes, &params)?;
        let rest = Rest { nodes: vec![false; graph.nodes.len()], trunk: None };
        let (device, plans) = (device.clone(), Mutex::default());
        let stages = graph.stages()?.into_iter().map(|(name, node)| (name, node.to_owned()));
        Ok(Self {
            stages: stages.filter(|(name, _)| graph.node(name).is_none()).collect(),
            graph,
            shapes,
            params,
            weights,
            rest,
            convolutions: Convolutions::default(),
            n_classes,
            device,
            plans,
        })
    }

    /// The same network, whose convolutions form their sums so.
    pub fn with_conv_sums(self, sums: ConvSums) -> Self {
        let convolutions = Convolutions { sums, ..self.convolutions };
        Self { convolutions, plans: Mutex::default(), ..self }
    }

    /// The same network, which is not trained any more: what evaluation makes of the weights of its
    /// convolutions is kept, in up to ten times their memory.
    pub fn fixed(self) -> Self {
        let convolutions = Convolutions { are_fixed: true, ..self.convolutions };
        Self { convolutions, plans: Mutex::default(), ..self }
    }

    /// Trains the parameters `names` no more: they become buffers ([`Params`]). What has no parameter
    /// left that is trained computes in training as in evaluation, batch norm by its running
    /// statistics; and so does dropout before it, where nothing learns.
    ///
    /// # Errors
    /// [`Error::Config`] for a name that is no trained parameter, and when none is left.
    pub fn freeze(&mut self, names: &BTreeSet<String>) -> Result<()> {
        if let Some(unknown) = names.iter().find(|name| self.params.get(name).is_none()) {
            return Err(Error::config(unknown, "the network trains no parameter of this name"));
        }
        if names.len() == self.params.iter().count() {
            return Err(Error::config("freeze", "this leaves no parameter to train"));
        }
        self.params.freeze(names);
        self.weights = weights::of(&self.graph, &self.shapes, &self.params)?;
        let frozen = self.params.buffers().map(|(name, _)| name.to_owned()).collect();
        self.rest = self.graph.rest(&frozen)?;
        self.plans = Mutex::default();
        Ok(())
    }

    /// What the network is.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    fn plan(&self, purpose: Purpose, part: plan::Part) -> Result<Arc<Plan>> {
        let mut plans = self.plans.lock();
        let key = (purpose, part);
        if let Some(plan) = plans.get(&key) {
            return Ok(plan.clone());
        }
        let Self { graph, shapes, weights, rest, .. } = self;
        let are_fixed = self.convolutions.are_fixed && purpose != Purpose::Train;
        let (rests, convolutions) =
            (&rest.nodes[..], Convolutions { are_fixed, ..self.convolutions });
        let network = Network { graph, shapes, weights, rests, convolutions };
        let plan = Arc::new(Plan::new(network, purpose, &key.1)?);
        Ok(plans.entry(key).or_insert(plan).clone())
    }

    /// From the output of `from` to the logits and the nodes `taps`.
    fn part(&self, from: &str, to: &str, taps: &[&str]) -> plan::Part {
        let taps = taps.iter().map(|tap| self.node_of(tap).to_owned()).collect();
        plan::Part { from: from.into(), to: to.into(), taps }
    }

    /// The node that the part `tap` ends with.
    fn node_of<'n>(&'n self, tap: &'n str) -> &'n str {
        self.stages.get(tap).map_or(tap, String::as_str)
    }

    /// Refuses images of another shape.
    fn check(&self, pixels: &Tensor) -> Result<()> {
        let [channels, height, width] = self.graph.image_shape;
        if pixels.dims().get(1..) == Some(&[channels, height, width]) {
            return Ok(());
        }
        let expected = format!("(N, {channels}, {height}, {width})");
        Err(Error::shape("images", expected, pixels.dims()))
    }

    /// The images as a plan reads them.
    fn images(&self, pixels: &Tensor, plan: &Plan) -> Result<Act> {
        let [channels, height, width] = self.graph.image_shape;
        let made = shared::images(pixels, plan.normalize.as_ref())?;
        let dims = vec![pixels.dims()[0], height, width, channels];
        Ok(Act::of_shared(0, dims, made, pixels.track_op()))
    }

    /// The outputs of a part that reads the images.
    fn run(&self, pixels: &Tensor, mode: Mode, part: plan::Part) -> Result<Vec<Tensor>> {
        let [channels, height, width] = self.graph.image_shape;
        self.check(pixels)?;
        let purpose = Purpose::of(mode, pixels.track_op());
        let plan = self.plan(purpose, part)?;
        let dims = [pixels.dims()[0], height, width, channels];
        let run = Run::forward(plan.clone(), vec![self.images(pixels, &plan)?], mode)?;
        let backward = move |run: Run, of_outputs| {
            let grad = run.backward(of_outputs)?.swap_remove(0);
            let to_pixels = |grad| images::gradient(grad, &dims, plan.normalize.as_ref());
            Ok(vec![grad.map(to_pixels).transpose()?])
        };
        border::outputs(run, &[pixels], purpose, Box::new(backward))
    }

    /// The outputs of what comes after the frozen part, from the output of that.
    fn run_after(&self, trunk: &str, features: &Tensor, mode: Mode) -> Result<Vec<Tensor>> {
        let expected = super::run::dims(features.dims()[0], self.shapes.get(trunk));
        if features.dims() != expected {
            return Err(Error::shape("features", format!("{expected:?}"), features.dims()));
        }
        let purpose = Purpose::of(mode, false);
        let plan = self.plan(purpose, self.part(trunk, &self.graph.output, &[]))?;
        let features = features.detach();
        let run = Run::forward(plan, vec![border::input(0, &features)?], mode)?;
        let backward = |run: Run, of_outputs| run.backward(of_outputs).map(|_| vec![None]);
        border::outputs(run, &[&features], purpose, Box::new(backward))
    }
}

impl Classifier for Net {
    fn forward(&self, pixels: &Tensor, mode: Mode) -> Result<Tensor> {
        let part = self.part(IMAGES, &self.graph.output, &[]);
        Ok(self.run(pixels, mode, part)?.swap_remove(0))
    }

    fn forward_with_taps(
        &self,
        pixels: &Tensor,
        mode: Mode,
        taps: &[&str],
    ) -> Result<(Tensor, BTreeMap<String, Tensor>)> {
        let part = self.part(IMAGES, &self.graph.output, taps);
        let mut outputs = self.run(pixels, mode, part)?.into_iter();
        let logits = outputs.next().expect("invariant: the first output is the logits");
        let names = taps.iter().map(|tap| (*tap).to_owned());
        Ok((logits, names.zip(outputs).collect()))
    }

    fn features(&self, pixels: &Tensor) -> Result<Option<Tensor>> {
        let Some(trunk) = &self.rest.trunk else { return Ok(None) };
        let part = self.part(IMAGES, trunk, &[]);
        Ok(Some(self.run(&pixels.detach(), Mode::Eval, part)?.swap_remove(0)))
    }

    fn forward_features(&self, features: &Tensor, mode: Mode) -> Result<Tensor> {
        match &self.rest.trunk {
            Some(trunk) => Ok(self.run_after(trunk, features, mode)?.swap_remove(0)),
            None => Err(Error::config("features", "no part of this network is frozen")),
        }
    }

    fn forward_shards(&self, shards: &[Tensor], mode: Mode, part: &Part) -> Result<Pass> {
        if !self.device.is_cpu() {
            let reason = "a batch in shards is computed on processors only: --device cpu";
            return Err(Error::config("shards", reason));
        }
        let plan = self.plan(Purpose::Train, self.part(IMAGES, &self.graph.output, &[]))?;
        let images = |pixels: &Tensor| {
            self.check(pixels)?;
            Ok(vec![self.images(&pixels.detach(), &plan)?])
        };
        let images = shards.iter().map(images).collect::<Result<_>>()?;
        Pass::new(Run::of_shards(plan, images, mode, part.clone())?)
    }

    fn tap_names(&self) -> Vec<String> {
        let nodes = self.graph.nodes.iter().map(|node| &node.name);
        self.stages.keys().chain(nodes).cloned().collect()
    }

    fn n_classes(&self) -> usize {
        self.n_classes
    }

    fn params(&self) -> &Params {
        &self.params
    }

    fn graph(&self) -> Option<&Graph> {
        Some(&self.graph)
    }
}

impl From<Net> for Box<dyn Classifier> {
    fn from(net: Net) -> Self {
        Box::new(net)
    }
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net").field("graph", &self.graph).field("device", &self.device).finish()
    }
}
