//! The frozen part of the students, which is computed once for each version of each image.
//!
//! Key decision: students of a training begin with the same weights, so that they share what is frozen.
//! It runs beside the students' steps, as a teacher does, and what it makes of an image is remembered:
//! when all versions of the images have been seen, no image is decoded any more.

use std::sync::Arc;

use candle_core::Tensor;
use kd_core::{Batch, BatchSource, Classifier, Error, Result};
use parking_lot::Mutex;

use crate::cohort::Cohort;
use crate::evaluate::EvalSet;
use crate::memory::{Known, Memory, places};
use crate::noise::noise;

/// Features that are kept in memory at most, 1 GiB.
const MAX_KEPT: usize = 1 << 28;

/// What no label is.
const UNKNOWN: u32 = u32::MAX;

/// The part of all students that training does not change, and what it said.
pub(crate) struct Trunk<'a> {
    model: Arc<dyn Classifier>,
    source: &'a dyn BatchSource,
    /// Sizes of the features of one image.
    dims: Vec<usize>,
    memory: Option<Memory>,
    labels: Mutex<Vec<u32>>,
}

impl<'a> Trunk<'a> {
    /// That of all students of `cohort`; nothing where they have none in common, or look at images or
    /// at parts before it as well.
    ///
    /// # Errors
    /// Whatever data and networks report.
    pub(crate) fn of(
        cohort: &Cohort,
        source: &'a dyn BatchSource,
        n_epochs: u64,
    ) -> Result<Option<Self>> {
        let Some(first) = cohort.with_trunk() else { return Ok(None) };
        let noise = noise(source)?;
        let Some(features) = first.model.features(&noise)? else { return Ok(None) };
        let bits = bits(&features)?;
        for other in &cohort.students[1..] {
            match other.model.features(&noise)? {
                Some(features) if self::bits(&features)? == bits => {}
                _ => return Ok(None),
            }
        }
        let dims = features.dims()[1..].to_vec();
        let width = dims.iter().product();
        let memory = match source.device().is_cpu() {
            true => Memory::exact(source, n_epochs, (&[width], MAX_KEPT)),
            false => None,
        };
        let labels = Mutex::new(vec![UNKNOWN; source.n_samples()]);
        Ok(Some(Self { model: first.model.clone(), source, dims, memory, labels }))
    }

    /// What it makes of `batch`, which epoch `epoch` shows.
    pub(crate) fn features(&self, epoch: u64, batch: &Batch) -> Result<Tensor> {
        let Some(memory) = &self.memory else { return self.compute(&batch.images) };
        let mut labels = self.labels.lock();
        for (&index, label) in batch.indices.iter().zip(batch.labels.to_vec1()?) {
            labels[index as usize] = label;
        }
        drop(labels);
        let places = places(self.source, epoch, &batch.indices);
        let compute = |images: &Tensor| Ok(vec![self.compute(images)?]);
        let known = memory.rows(&places, &batch.images, compute)?;
        self.shaped(known, places.len())
    }

    /// What it made of these images, which epoch `epoch` shows, with their labels, if it has seen all.
    pub(crate) fn recall(&self, epoch: u64, indices: &[u32]) -> Result<Option<(Tensor, Tensor)>> {
        let Some(memory) = &self.memory else { return Ok(None) };
        let places = places(self.source, epoch, indices);
        let Some(known) = memory.recall(&places)? else { return Ok(None) };
        let labels = self.labels.lock();
        let labels: Vec<u32> = indices.iter().map(|&index| labels[index as usize]).collect();
        let labels = Tensor::from_vec(labels, indices.len(), &self.source.device())?;
        Ok(Some((self.shaped(known, indices.len())?, labels)))
    }

    /// `set` as this part sees it.
    ///
    /// # Errors
    /// Whatever data and networks report.
    pub(crate) fn seen(&self, set: &EvalSet) -> Result<Option<EvalSet>> {
        let n_values = self.dims.iter().product::<usize>().saturating_mul(set.n_images());
        if n_values > MAX_KEPT {
            return Ok(None);
        }
        set.of_features(&|images| self.compute(images)).map(Some)
    }

    fn compute(&self, images: &Tensor) -> Result<Tensor> {
        let lost = || Error::config("freeze", "what was frozen learns");
        self.model.features(images)?.ok_or_else(lost)
    }

    fn shaped(&self, mut known: Known, n: usize) -> Result<Tensor> {
        let dims = [&[n], &self.dims[..]].concat();
        Ok(Tensor::from_vec(known.outputs.swap_remove(0), dims, &self.source.device())?)
    }
}

fn bits(features: &Tensor) -> Result<Vec<u32>> {
    let values = features.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.into_iter().map(f32::to_bits).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use candle_core::Device;
    use kd_core::ops::{BatchNorm, Conv2d, Dropout, Flatten, Linear, Relu};
    use kd_core::{Graph, Mode, Net, Params, Stream};

    use super::*;
    use crate::losses::Distill;
    use crate::testing::{Dots, N_CLASSES, Network};
    use crate::{Data, OptimizerSpec, Plan, Student, TeacherSource, fit_in};

    /// A network of which all but the head is frozen.
    fn frozen(seed: u64) -> Net {
        let mut graph = Graph::new([1, 2, 2]);
        graph.then("conv", Conv2d::new(8, 2));
        graph.then("bn", BatchNorm::default());
        graph.then("relu", Relu {});
        graph.then("flatten", Flatten {});
        graph.then("dropout", Dropout { p: 0.25, stream: None });
        graph.then("fc", Linear::new(N_CLASSES));
        let mut net = Net::new(graph, Stream::new(seed), &Device::Cpu).unwrap();
        let body = ["conv.weight", "bn.weight", "bn.bias"];
        net.freeze(&body.map(String::from).into_iter().collect::<BTreeSet<_>>()).unwrap();
        net
    }

    /// The same network, which does not say that a part of it is frozen.
    struct Whole(Net);

    impl Classifier for Whole {
        fn forward(&self, pixels: &Tensor, mode: Mode) -> Result<Tensor> {
            self.0.forward(pixels, mode)
        }

        fn n_classes(&self) -> usize {
            self.0.n_classes()
        }

        fn params(&self) -> &Params {
            self.0.params()
        }
    }

    /// Counts what is decoded.
    struct Counting {
        dots: Dots,
        n_decoded: AtomicUsize,
    }

    impl BatchSource for Counting {
        fn n_samples(&self) -> usize {
            self.dots.n_samples()
        }

        fn n_classes(&self) -> usize {
            self.dots.n_classes()
        }

        fn image_shape(&self) -> [usize; 3] {
            self.dots.image_shape()
        }

        fn order(&self, epoch: u64) -> Vec<u32> {
            self.dots.order(epoch)
        }

        fn batch(&self, epoch: u64, indices: &[u32]) -> Result<Batch> {
            self.n_decoded.fetch_add(indices.len(), Ordering::Relaxed);
            self.dots.batch(epoch, indices)
        }

        fn n_views(&self) -> Option<usize> {
            self.dots.n_views()
        }

        fn view(&self, epoch: u64, index: u32) -> usize {
            self.dots.view(epoch, index)
        }
    }

    const N_IMAGES: usize = 40;

    /// A network's tensors by name.
    type Values = BTreeMap<String, Vec<f32>>;

    /// The weights of two students after nine epochs of three versions, how many images were decoded
    /// and what was recorded of the test images.
    fn train(model: impl Fn() -> Box<dyn Classifier>) -> (Vec<Values>, usize, Vec<f64>) {
        let folder = tempfile::tempdir().unwrap();
        let n_decoded = AtomicUsize::new(0);
        let source = Counting { dots: Dots::new(N_IMAGES), n_decoded };
        let (teacher, test) = (Network::new(9), EvalSet::new(Arc::new(Dots::new(30))).unwrap());
        let student = |name: &str, alpha| {
            let loss = Distill { alpha, temperature: 2.0, ..Distill::default() };
            Student::new(name, model(), loss, OptimizerSpec::default())
        };
        let students = vec![student("a", 0.5), student("b", 1.0)];
        let mut cohort = Cohort::new("frozen", 1, students);
        let teacher = Some(TeacherSource::Network(&teacher));
        let data =
            Data { train: &source, test: Some(&test), holdout: None, teacher, soft_targets: None };
        let _ = fit_in(folder.path(), &mut cohort, &Plan::new(9, 16, 0.05), data).unwrap();
        let values = |student: &Student| {
            let tensors = student.model.params().tensors().into_iter();
            let values = |t: Tensor| t.flatten_all().unwrap().to_vec1().unwrap();
            tensors.map(|(name, t)| (name, values(t))).collect()
        };
        let best = cohort.students.iter().map(|student| student.best().0).collect();
        let n_decoded = source.n_decoded.load(Ordering::Relaxed);
        (cohort.students.iter().map(values).collect(), n_decoded, best)
    }

    #[test]
    fn each_version_of_an_image_goes_through_the_frozen_part_once_and_no_bit_changes() {
        let (whole, n_decoded, best) = train(|| Box::new(Whole(frozen(1))));
        assert_eq!(n_decoded, 9 * N_IMAGES);
        let (split, n_decoded, split_best) = train(|| Box::new(frozen(1)));
        assert_eq!((split, split_best), (whole, best));
        // A batch of versions that are known and others is decoded as a whole.
        assert_eq!(n_decoded, 3 * N_IMAGES);
    }

    #[test]
    fn students_of_other_frozen_weights_do_not_share_them() {
        let n = AtomicUsize::new(0);
        let next = || -> Box<dyn Classifier> {
            Box::new(frozen(n.fetch_add(1, Ordering::Relaxed) as u64))
        };
        let (_, n_decoded, _) = train(next);
        assert_eq!(n_decoded, 9 * N_IMAGES);
    }
}
