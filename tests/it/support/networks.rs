//! Every registered network, and objectives by name.

use candle_core::Device;
use kd_core::{Classifier, Net, Stream};
use kd_models::{ModelSpec, ResNet};
use kd_train::LossSpec;

/// Of the images that the networks are built for.
pub(crate) const SHAPE: [usize; 3] = [1, 28, 28];
/// How many classes they tell apart.
pub(crate) const N_CLASSES: usize = 10;

/// Every network, the large one thin.
pub(crate) fn networks() -> Vec<ModelSpec> {
    let thin = |spec| match spec {
        ModelSpec::ResNet(net) => ModelSpec::ResNet(ResNet { width: 4, ..net }),
        other => other,
    };
    let described = |spec: &ModelSpec| !spec.as_dyn().is_in_a_file();
    ModelSpec::all().into_iter().filter(described).map(thin).collect()
}

/// The network with the initial values of `seed`.
pub(crate) fn build(spec: &ModelSpec, seed: u64) -> Box<dyn Classifier> {
    let graph = spec.as_dyn().graph(SHAPE, N_CLASSES).unwrap();
    let graph = graph.normalized(&[0.1], &[0.3]).unwrap();
    Net::new(graph, Stream::new(seed), &Device::Cpu).unwrap().into()
}

/// The objective of this name with its default settings.
pub(crate) fn loss(name: &str) -> LossSpec {
    LossSpec::all().into_iter().find(|loss| loss.name() == name).unwrap()
}
