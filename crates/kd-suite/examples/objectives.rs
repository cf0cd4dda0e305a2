//! What each objective costs: a training step of ResNet-20 on 128 images of 100 classes, beside that of plain
//! distillation, without and with the forward pass of the teacher, a ResNet-56. The objectives take turns; medians
//! and their ratios are printed. Takes the number of rounds, and names of objectives: all where there are none.
//!
//! ```sh
//! cargo run --release --package kd-suite --example objectives -- 11 attention review
//! ```
#![expect(clippy::print_stdout, reason = "it prints its results")]

use std::time::Instant;

use candle_core::{Device, Tensor};
use kd_core::ops::Sgd;
use kd_core::testing::random;
use kd_core::{Batch, Classifier, Error, Mode, Net, Result, Stream};
use kd_train::{Cohort, Loss, LossSpec, OptimizerSpec, Prepared, Student, prepare, train_step};

const N_IMAGES: usize = 128;
const N_CLASSES: usize = 100;
const N_WARMUP: usize = 2;
const N_SETTLING: u64 = 20;

fn main() -> Result<()> {
    kd_suite::prepare_process();
    let mut args = std::env::args().skip(1);
    let rounds = args.next().map_or(Ok(7), |text| text.parse());
    let rounds: usize = rounds.map_err(|_| Error::config("rounds", "give a whole number"))?;
    let wanted: Vec<String> = args.collect();
    let teacher = network("resnet56")?;
    // Running statistics that fit the images: without them its features grow from block to block.
    for i in 0..N_SETTLING {
        teacher.forward(&images(), Mode::Train(Stream::new(i)))?;
    }
    let is_wanted = |spec: &LossSpec| {
        wanted.is_empty()
            || spec.name() == "distill"
            || wanted.iter().any(|name| name == spec.name())
    };
    let alone = |spec: &LossSpec| !spec.as_dyn().needs_peers();
    let specs: Vec<LossSpec> =
        LossSpec::all().into_iter().filter(alone).filter(is_wanted).collect();
    let mut courses =
        specs.iter().map(|spec| course(spec, &*teacher)).collect::<Result<Vec<_>>>()?;
    let seen = images();
    let (mut times, mut of_teacher) = (vec![Vec::new(); specs.len()], Vec::new());
    for round in 0..N_WARMUP + rounds {
        let begun = Instant::now();
        teacher.forward(&seen, Mode::Eval)?;
        of_teacher.push(1e3 * begun.elapsed().as_secs_f64());
        for ((cohort, prepared), times) in courses.iter_mut().zip(&mut times) {
            let begun = Instant::now();
            train_step(cohort, prepared, 1e-3, Stream::new(0).number(round as u64))?;
            if round >= N_WARMUP {
                times.push(1e3 * begun.elapsed().as_secs_f64());
            }
        }
    }
    let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
    let plain = specs.iter().position(|spec| spec.name() == "distill").unwrap_or(0);
    let (plain, teacher) = (medians[plain], self::median(&mut of_teacher));
    for (spec, own) in specs.iter().zip(&medians) {
        let (name, views) = (spec.name(), spec.n_views());
        let whole = (own + views as f64 * teacher) / (plain + teacher);
        println!("{name:20} {own:8.1} ms {:6.2} {whole:6.2} {views} x", own / plain);
    }
    Ok(())
}

fn images() -> Tensor {
    random(Stream::new(2), &[N_IMAGES, 3, 32, 32])
}

fn network(name: &str) -> Result<Box<dyn Classifier>> {
    let graph = kd_suite::model(name)?.as_dyn().graph([3, 32, 32], N_CLASSES)?;
    Ok(Net::new(graph, Stream::new(0), &Device::Cpu)?.into())
}

/// A student of `spec` with the batch that it learns from again and again.
fn course(spec: &LossSpec, teacher: &dyn Classifier) -> Result<(Cohort, Prepared)> {
    let sgd = Sgd { momentum: 0.9, nesterov: false, weight_decay: 5e-4 };
    let optimizer = OptimizerSpec::Sgd(sgd);
    let student = Student::new(spec.name(), network("resnet20")?, spec.clone(), optimizer);
    let mut rng = Stream::new(1).rng();
    let labels: Vec<u32> = (0..N_IMAGES).map(|_| rng.below(N_CLASSES as u32)).collect();
    let batch = Batch {
        images: images(),
        labels: Tensor::new(labels, &Device::Cpu)?,
        indices: (0..N_IMAGES as u32).map(|i| i * 390).collect(),
    };
    let mut prepared = prepare(batch.clone(), Some(teacher), &spec.teacher_taps())?;
    for _ in 1..spec.n_views() {
        prepared = prepared.with_view(&batch, Some(teacher))?;
    }
    Ok((Cohort::new("bench", 0, vec![student]), prepared))
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
