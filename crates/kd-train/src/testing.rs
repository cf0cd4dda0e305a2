//! A small data set and a small network for tests.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{Device, Tensor};
use kd_core::ops::{Flatten, Linear};
use kd_core::{Batch, BatchSource, Classifier, Graph, Mode, Net, Params, Result, Stream};

use crate::cohort::Cohort;
use crate::student::Student;

/// Classes of [`Dots`] and [`Network`].
pub(crate) const N_CLASSES: usize = 6;

/// Images of four pixels.
pub(crate) struct Dots {
    /// How many.
    pub(crate) n: usize,
    /// Versions of each, which change from epoch to epoch.
    pub(crate) n_views: usize,
    /// Indices of those that cannot be read.
    pub(crate) bad: Vec<u32>,
}

impl Dots {
    /// `n` images that can all be read, in three versions.
    pub(crate) fn new(n: usize) -> Self {
        Self { n, n_views: 3, bad: Vec::new() }
    }
}

impl BatchSource for Dots {
    fn n_samples(&self) -> usize {
        self.n
    }

    fn n_classes(&self) -> usize {
        N_CLASSES
    }

    fn image_shape(&self) -> [usize; 3] {
        [1, 2, 2]
    }

    fn order(&self, epoch: u64) -> Vec<u32> {
        Stream::new(5).number(epoch).permutation(self.n as u32)
    }

    fn batch(&self, epoch: u64, indices: &[u32]) -> Result<Batch> {
        let good = indices.iter().copied().filter(|i| !self.bad.contains(i));
        let indices: Vec<u32> = good.collect();
        let seed = |i: u32| u64::from(i) * 100 + self.view(epoch, i) as u64;
        let pixels = |&i: &u32| Stream::new(6).number(seed(i)).block(0);
        let pixels = indices.iter().flat_map(pixels).map(kd_core::rng::unit_f32);
        let n = indices.len();
        let labels = indices.iter().map(|i| i % N_CLASSES as u32).collect();
        Ok(Batch {
            images: Tensor::from_vec(pixels.collect(), (n, 1, 2, 2), &Device::Cpu)?,
            labels: Tensor::from_vec(labels, n, &Device::Cpu)?,
            indices,
        })
    }

    fn n_views(&self) -> Option<usize> {
        Some(self.n_views)
    }

    fn view(&self, epoch: u64, index: u32) -> usize {
        (epoch as usize * 2 + index as usize) % self.n_views
    }
}

/// A linear network that counts the images that it sees.
pub(crate) struct Network {
    net: Net,
    n_seen: AtomicUsize,
}

impl Network {
    /// With random weights.
    pub(crate) fn new(seed: u64) -> Self {
        let mut graph = Graph::new([1, 2, 2]);
        graph.then("flatten", Flatten {});
        graph.then("fc", Linear::new(N_CLASSES));
        let net = Net::new(graph, Stream::new(seed), &Device::Cpu).unwrap();
        Self { net, n_seen: AtomicUsize::new(0) }
    }

    /// How many images it has seen.
    pub(crate) fn n_seen(&self) -> usize {
        self.n_seen.load(Ordering::Relaxed)
    }
}

impl Classifier for Network {
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        self.n_seen.fetch_add(images.dims()[0], Ordering::Relaxed);
        self.net.forward(images, mode)
    }

    fn n_classes(&self) -> usize {
        N_CLASSES
    }

    fn params(&self) -> &Params {
        self.net.params()
    }
}

/// The bits of the weights of each student.
pub(crate) fn weights(cohort: &Cohort) -> Vec<Vec<u32>> {
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let student = |student: &Student| {
        let tensors = student.model.params().tensors();
        bits(&tensors.values().flat_map(values).collect::<Vec<_>>())
    };
    cohort.students.iter().map(student).collect()
}

/// The bits of all values.
pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
