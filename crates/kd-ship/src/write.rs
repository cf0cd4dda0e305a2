//! What a shipment ends with: files for those who use the network, and its card.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;
use kd_adv::encode_png;
use kd_core::checkpoint::Description;
use kd_core::record::{Evaluation, FinalRecord};
use kd_core::{Classifier, Net, Result, fsx};
use kd_models::onnx::{self, ExportInfo};
use kd_models::weights::{ExportConfig, save_network};
use kd_report::{Card, Seed, Shipped, Tried};
use kd_train::{EvalSet, calibrated_temperature};

use crate::Order;
use crate::images::Images;
use crate::int8::quantized;
use crate::judge::{Judged, lost};
use crate::latency::latencies;
use crate::objectives::LABELS;
use crate::schedule::Schedule;
use crate::stress::{examples, stressed};

/// What a file says of who wrote it.
const VERSION: &str = concat!("kd ", env!("CARGO_PKG_VERSION"));
/// Accuracy that tells the last training from one that failed: the student shall have nine tenths of its
/// teacher's.
const WEAK: f64 = 0.9;

/// Everything that was made.
pub(crate) struct Made<'a> {
    pub(crate) order: &'a Order,
    pub(crate) images: &'a Images,
    pub(crate) schedule: Schedule,
    pub(crate) teacher: &'a Net,
    pub(crate) student: &'a Net,
    /// The record of the student.
    pub(crate) shipped: &'a FinalRecord,
    /// All records of the last training.
    pub(crate) last: &'a [FinalRecord],
    pub(crate) tried: Vec<Tried>,
    /// Accuracies of the teachers on the images that judge, by seed.
    pub(crate) teachers: BTreeMap<u64, f64>,
}

/// Judges both networks, and writes all files.
pub(crate) fn write(made: &Made<'_>) -> Result<Card> {
    let Made { order, images, teacher, student, .. } = made;
    let out = &order.out;
    let set = |part: &kd_data::Part| EvalSet::new(part.in_order(&Device::Cpu)?);
    let (held_out, judged) = (&set(&images.held_out)?, &set(&images.judged)?);
    eprintln!("judging, on images that nothing was chosen by");
    let theirs = Judged::of(teacher, judged)?;
    let own = Judged::of(student, judged)?.agreeing(&theirs);
    let examples = examples(&images.judged)?;
    let first = examples.image(0);
    let name = made.shipped.id.training.clone();
    let big = file_name(&order.teacher.network.path);
    let card_teacher = shipped(&big, (*teacher, &theirs), held_out, first)?;
    let card_student = shipped(&name, (*student, &own), held_out, first)?;
    let (integers, int8) = quantized(student, &images.train, held_out, (judged, &own))?;
    let known = Description {
        class_names: images.train.class_names().to_vec(),
        resize: Some(images.resize),
        temperature: Some(card_student.calibrated.0),
        ..Description::new(&*name, student.graph().clone())
    };
    let info = ExportInfo::of(&known);
    onnx::save(&out.join("model.onnx"), student.graph(), &student.params().tensors(), &info)?;
    if int8.kept {
        onnx::save_quantized(&out.join("model.int8.onnx"), &integers, &info)?;
    }
    safetensors(student, &known, out)?;
    let mut lost = lost(&theirs, &own);
    for one in lost.iter_mut().filter(|one| one.place < examples.len()) {
        one.png = encode_png(student.graph().image_shape, examples.image(one.place))?;
    }
    let card = Card {
        name: format!("{name}, taught by {big}"),
        class_names: known.class_names,
        facts: facts(made),
        notices: notices(&theirs.evaluation, &own.evaluation),
        teacher: card_teacher,
        student: card_student,
        files: files(int8.kept),
        int8,
        seeds: seeds(made.last, &made.teachers),
        tried: made.tried.clone(),
        stressed: stressed(&[teacher, student], &examples)?,
        lost,
    };
    card.write(out)?;
    Ok(card)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// A network of the card.
fn shipped(
    name: &str,
    (network, judged): (&Net, &Judged),
    held_out: &EvalSet,
    image: &[f32],
) -> Result<Shipped> {
    let (logits, labels) = held_out.logits(network)?;
    let temperature = calibrated_temperature(&logits, &labels, network.n_classes());
    Ok(Shipped {
        name: name.into(),
        evaluation: judged.evaluation.clone(),
        calibrated: (temperature, judged.at(temperature)),
        multiply_adds: network.graph().counts()?.multiply_adds,
        n_parameters: network.params().n_elements(),
        latency: latencies(network, image)?,
    })
}

/// The weights with what they belong to, and the words for other programs beside them.
fn safetensors(student: &Net, known: &Description, out: &Path) -> Result<()> {
    let labels = known.class_names.join("\n") + "\n";
    fsx::write_atomic(&out.join("labels.txt"), labels.as_bytes())?;
    let path = out.join("model.safetensors");
    save_network(&path, &student.params().tensors(), known)?;
    ExportConfig::of(known)?.save_beside(&path).map(drop)
}

fn facts(made: &Made<'_>) -> Vec<(&'static str, String)> {
    let Made { order, images, schedule, shipped, last, .. } = made;
    let teacher = match order.teacher.is_tuned {
        true => "as it came".to_owned(),
        false => format!(
            "a new head for {} epochs, then all of it for {}, {} seeds; the best on the images to choose by",
            schedule.probe, schedule.tune, order.seeds
        ),
    };
    let seconds: f64 = last.iter().map(|record| record.seconds).fold(0.0, f64::max);
    vec![
        (
            "images",
            format!(
                "{}: {} to learn from, {} to choose by, {} to judge by",
                images.words,
                images.train.len(),
                images.held_out.len(),
                images.judged.len()
            ),
        ),
        ("teacher", format!("{}: {teacher}", order.teacher.network.path.display())),
        (
            "student",
            format!(
                "{}, {} epochs, objective {}, seed {}, {}; Adam, cosine, {} seeded views of each image",
                shipped.id.training,
                shipped.how.n_epochs,
                shipped.id.model,
                shipped.seed,
                kd_report::duration(seconds),
                schedule.views
            ),
        ),
        ("made by", format!("{VERSION}; the suites in `work` repeat it with `kd run`")),
    ]
}

fn notices(teacher: &Evaluation, student: &Evaluation) -> Vec<String> {
    if student.top1 >= WEAK * teacher.top1 {
        return Vec::new();
    }
    vec![format!(
        "The student has {:.0} % of its teacher's accuracy only: give it more --minutes, or a larger --student.",
        100.0 * student.top1 / teacher.top1
    )]
}

/// The teachers and the students of the last training, seed by seed.
fn seeds(last: &[FinalRecord], teachers: &BTreeMap<u64, f64>) -> Vec<Seed> {
    let labels = last.iter().filter(|record| record.id.model == LABELS);
    labels
        .filter_map(|labels| {
            let seed = labels.seed;
            let is_other = |r: &&FinalRecord| r.seed == seed && r.id.model != LABELS;
            let distilled = last.iter().find(is_other)?.last.top1;
            let teacher = teachers.get(&seed).copied();
            Some(Seed { seed, teacher, distilled, labels: labels.last.top1 })
        })
        .collect()
}

fn files(has_int8: bool) -> Vec<(String, String)> {
    let mut files = vec![
        (
            "model.onnx",
            "the network, from pixels in [0, 1] to logits; class names, resize and temperature in its metadata",
        ),
        ("model.safetensors", "its weights, with the network in the header: for kd"),
        ("config.json", "sizes, normalization and class names, in timm's form"),
        ("labels.txt", "the classes, in the order of the logits"),
        ("report.html", "this card with its pictures, in one file"),
        ("work", "images, trainings and suites that it was made by"),
    ];
    if has_int8 {
        files.insert(1, ("model.int8.onnx", "the same in 8-bit integers"));
    }
    files.into_iter().map(|(name, what)| (name.into(), what.into())).collect()
}
