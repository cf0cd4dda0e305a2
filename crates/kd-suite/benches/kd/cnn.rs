//! Convolutional networks: training steps, evaluation, and the batches that they need.

use std::sync::Arc;
use std::time::Instant;

use candle_core::Device;
use kd_core::ops::{Normalize, Sgd};
use kd_core::{BatchSource, Classifier, Mode, Net, Result, Stream};
use kd_data::Augment;
use kd_suite::{model, weights};
use kd_train::losses::Labels;
use kd_train::{Cohort, EvalSet, Loss, LossSpec, OptimizerSpec, Student, prepare, train_step};

use crate::{BATCH_SIZE, On, loader};

/// `[C, H, W]` of CIFAR-10's images.
pub(crate) const CIFAR: [usize; 3] = [3, 32, 32];
/// `[C, H, W]` of MNIST's images.
pub(crate) const MNIST: [usize; 3] = [1, 28, 28];
/// Number and shape of the images of an evaluation: small ones.
pub(crate) const CIFAR_IMAGES: (usize, [usize; 3]) = (2000, CIFAR);
/// Large ones.
pub(crate) const PHOTOGRAPHS: (usize, [usize; 3]) = (52, [3, 224, 224]);
/// Batches that steps go round over.
const N_BATCHES: usize = 4;
const N_WARMUP: usize = 2;
/// Forward passes by which a teacher's running statistics settle, and their images.
const SETTLING: (u64, usize) = (20, 2);

/// Students that learn from one teacher.
pub(crate) struct Class {
    pub(crate) students: &'static str,
    pub(crate) teacher: &'static str,
    pub(crate) shape: [usize; 3],
    pub(crate) batch_size: usize,
}

/// On CIFAR's images.
pub(crate) const RESNET20S: Class =
    Class { students: "resnet20", teacher: "resnet56", shape: CIFAR, batch_size: BATCH_SIZE };
/// On photographs.
pub(crate) const RESNET18: Class =
    Class { students: "resnet18", teacher: "resnet50", shape: PHOTOGRAPHS.1, batch_size: 32 };

/// Milliseconds of training steps of the network `name` on labels, with SGD, momentum and weight
/// decay.
pub(crate) fn steps(name: &str, shape: [usize; 3], n_steps: usize, on: &On) -> Result<Vec<f64>> {
    let device = &on.device;
    let sgd = Sgd { momentum: 0.9, nesterov: false, weight_decay: 5e-4 };
    let (loss, optimizer) = (LossSpec::Labels(Labels::default()), OptimizerSpec::Sgd(sgd));
    let student = Student::new(name, network(name, shape, on)?, loss, optimizer);
    let mut cohort = Cohort::new("bench", 0, vec![student]);
    let loader = loader(N_BATCHES * BATCH_SIZE, shape, Augment::default())?;
    let loader = loader.on(device)?;
    let order = loader.order(0);
    let batches =
        order.chunks(BATCH_SIZE).map(|indices| prepare(loader.batch(0, indices)?, None, &[]));
    let batches = batches.collect::<Result<Vec<_>>>()?;
    clock(n_steps, device, |i| {
        train_step(&mut cohort, &batches[i % N_BATCHES], 1e-3, Stream::new(0).number(i as u64))
    })
}

/// One of each objective on logits but that of labels alone.
pub(crate) fn methods() -> Vec<LossSpec> {
    let is_meant = |loss: &LossSpec| {
        let on_logits = loss.taps().is_empty() && loss.teacher_taps().is_empty();
        let alone = !loss.as_dyn().needs_peers();
        on_logits && alone && loss.n_views() == 1 && loss.name() != "labels"
    };
    LossSpec::all().into_iter().filter(is_meant).collect()
}

/// Milliseconds of a step of students in a cohort, one for each objective, with one forward pass of their teacher.
pub(crate) fn cohort(
    class: &Class,
    losses: Vec<LossSpec>,
    n_steps: usize,
    on: &On,
) -> Result<Vec<f64>> {
    let &Class { students, teacher, shape, batch_size } = class;
    let sgd = Sgd { momentum: 0.9, nesterov: false, weight_decay: 5e-4 };
    let student = |(i, loss): (usize, LossSpec)| {
        let model = network(students, shape, on)?;
        Ok(Student::new(i.to_string(), model, loss, OptimizerSpec::Sgd(sgd)))
    };
    let students = losses.into_iter().enumerate().map(student);
    let mut cohort = Cohort::new("bench", 0, students.collect::<Result<_>>()?);
    let teacher = network(teacher, shape, on)?;
    let loader = loader(N_BATCHES * batch_size, shape, Augment::default())?.on(&on.device)?;
    let order = loader.order(0);
    let batches = order.chunks(batch_size).map(|indices| loader.batch(0, indices));
    let batches = batches.collect::<Result<Vec<_>>>()?;
    // Running statistics that fit the images: without them its logits grow from block to block.
    let (n_passes, n_images) = SETTLING;
    let few = batches[0].images.narrow(0, 0, n_images)?;
    for i in 0..n_passes {
        teacher.forward(&few, Mode::Train(Stream::new(i)))?;
    }
    clock(n_steps, &on.device, |i| {
        let prepared = prepare(batches[i % N_BATCHES].clone(), Some(&*teacher), &[])?;
        train_step(&mut cohort, &prepared, 1e-3, Stream::new(0).number(i as u64))
    })
}

/// Milliseconds of the evaluation of so many images of this shape.
pub(crate) fn evaluations(
    name: &str,
    (n_images, shape): (usize, [usize; 3]),
    n_steps: usize,
    on: &On,
) -> Result<Vec<f64>> {
    let device = &on.device;
    let network = network(name, shape, on)?;
    let loader = loader(n_images, shape, Augment::default())?.on(device)?;
    let images = EvalSet::new(Arc::new(loader))?;
    clock(n_steps, device, |_| images.logits(&*network).map(drop))
}

/// Milliseconds of the assembly of batches: crops out of 4 pixels of padding, mirrored images.
pub(crate) fn batches(n_steps: usize, device: &Device) -> Result<Vec<f64>> {
    const N_IMAGES: usize = 50_000;
    let augment = Augment { crop_padding: 4, flip: true, ..Augment::default() };
    let loader = loader(N_IMAGES, CIFAR, augment)?.on(device)?;
    let order = loader.order(0);
    clock(n_steps, device, |i| {
        let start = i * BATCH_SIZE % (N_IMAGES - BATCH_SIZE);
        loader.batch(0, &order[start..start + BATCH_SIZE])?;
        Ok(())
    })
}

fn network(name: &str, shape: [usize; 3], on: &On) -> Result<Box<dyn Classifier>> {
    // To a mean of 0 and a standard deviation of 1, near enough.
    let (mean, std) = (vec![0.5; shape[0]], vec![0.25; shape[0]]);
    let graph = weights::graph(&model(name)?, (shape, 10), Some(&Normalize { mean, std }))?;
    Ok(Net::new(graph, Stream::new(0), &on.device)?.with_conv_sums(on.conv_sums).into())
}

/// Steps between two waits for a GPU, of which a sample is the mean: a training does not wait after
/// each step either.
const GPU_GROUP: usize = 20;

/// Milliseconds of each of `n_steps` calls of `step`, after the warm-up.
pub(crate) fn clock(
    n_steps: usize,
    device: &Device,
    mut step: impl FnMut(usize) -> Result<()>,
) -> Result<Vec<f64>> {
    let group = if device.is_cpu() { 1 } else { GPU_GROUP };
    let mut samples = Vec::with_capacity(N_WARMUP + n_steps);
    for i in 0..N_WARMUP + n_steps {
        let started = Instant::now();
        (i * group..(i + 1) * group).try_for_each(&mut step)?;
        device.synchronize()?;
        samples.push(started.elapsed().as_secs_f64() * 1e3 / group as f64);
    }
    Ok(samples.split_off(N_WARMUP))
}
