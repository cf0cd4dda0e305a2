//! What implements the contracts elsewhere is trained like our own: networks of candle-nn,
//! objectives and optimizers that no registry knows, parts of networks as hints.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::{D, DType, Device, ModuleT, Tensor};
use candle_nn::{BatchNorm, Conv2d, Linear, VarBuilder, VarMap};
use kd_core::ops::{Flatten, Relu, cross_entropy};
use kd_core::record::{self, Record};
use kd_core::testing::random;
use kd_core::{Batch, BatchSource, Classifier, Graph, Mode, Net, Params, Result, Stream, nn, ops};
use kd_train::losses::Labels;
use kd_train::{
    Cohort, Data, EvalSet, Loss, LossInput, Optimize, OptimizerSpec, Outcome, Plan, Student,
    TeacherSource, fit_in,
};

const N_CLASSES: usize = 4;

/// Images of 4 x 4 pixels in noise; the class is the bright quadrant.
struct Quadrants(u64);

impl BatchSource for Quadrants {
    fn n_samples(&self) -> usize {
        96
    }

    fn n_classes(&self) -> usize {
        N_CLASSES
    }

    fn image_shape(&self) -> [usize; 3] {
        [1, 4, 4]
    }

    fn order(&self, epoch: u64) -> Vec<u32> {
        Stream::new(self.0).number(epoch).permutation(96)
    }

    fn batch(&self, _: u64, indices: &[u32]) -> Result<Batch> {
        let image = |&i: &u32| {
            let mut rng = Stream::new(self.0).at("noise").number(u64::from(i)).rng();
            let class = i as usize % N_CLASSES;
            let bright = |at: usize| at / 8 == class / 2 && at % 4 / 2 == class % 2;
            let pixel = |at| rng.uniform_in(0.0, 0.7) + if bright(at) { 0.3 } else { 0.0 };
            (0..16).map(pixel).collect::<Vec<f32>>()
        };
        let pixels = indices.iter().flat_map(image).collect();
        let labels = indices.iter().map(|i| i % N_CLASSES as u32).collect();
        Ok(Batch {
            images: Tensor::from_vec(pixels, (indices.len(), 1, 4, 4), &Device::Cpu)?,
            labels: Tensor::from_vec(labels, indices.len(), &Device::Cpu)?,
            indices: indices.to_vec(),
        })
    }
}

/// A network as candle-nn's users write it.
struct Convolutional {
    conv: Conv2d,
    norm: BatchNorm,
    fc: Linear,
}

impl ModuleT for Convolutional {
    fn forward_t(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        let x = self.norm.forward_t(&x.apply(&self.conv)?, train)?.relu()?;
        x.flatten_from(1)?.apply(&self.fc)
    }
}

fn convolutional() -> (nn::Module<Convolutional>, VarMap) {
    let varmap = VarMap::new();
    let at = VarBuilder::from_varmap(&varmap, DType::F32, &Device::Cpu);
    let padding = candle_nn::Conv2dConfig { padding: 1, ..Default::default() };
    let conv = candle_nn::conv2d(1, 4, 3, padding, at.pp("conv")).unwrap();
    let norm = candle_nn::batch_norm(4, 1e-5, at.pp("norm")).unwrap();
    let fc = candle_nn::linear(64, N_CLASSES, at.pp("fc")).unwrap();
    let model = nn::Module::new(Convolutional { conv, norm, fc }, &varmap, N_CLASSES).unwrap();
    draw(&model);
    (model, varmap)
}

/// Draws the weights from a seed, which candle-nn cannot do on a processor.
fn draw(model: &dyn Classifier) {
    for (name, param) in model.params().iter().filter(|(name, _)| !name.starts_with("norm")) {
        let value = random(Stream::new(7).at(name), param.var().dims());
        param.var().set(&(value * 0.3).unwrap()).unwrap();
    }
}

/// A network of ours with a hidden layer of 12.
fn perceptron(seed: u64) -> Net {
    let mut graph = Graph::new([1, 4, 4]);
    graph.then("flatten", Flatten {});
    graph.then("fc1", ops::Linear::new(12));
    graph.then("relu", Relu {});
    graph.then("fc2", ops::Linear::new(N_CLASSES));
    Net::new(graph, Stream::new(seed), &Device::Cpu).unwrap()
}

/// Trains the student for `n_epochs`; its losses, epoch by epoch.
fn train(
    folder: &Path,
    student: Student,
    teacher: Option<&dyn Classifier>,
    n_epochs: u64,
) -> Result<(Cohort, Vec<f64>)> {
    let (train, test) = (Quadrants(1), EvalSet::new(Arc::new(Quadrants(2)))?);
    let plan = Plan::new(n_epochs, 16, 0.01);
    let teacher = teacher.map(TeacherSource::Network);
    let data =
        Data { train: &train, test: Some(&test), holdout: None, teacher, soft_targets: None };
    let mut cohort = Cohort::new("open", 1, vec![student]);
    assert_eq!(fit_in(folder, &mut cohort, &plan, data)?, Outcome::Finished);
    let loss = |record| match record {
        Record::Epoch(epoch) => Some(epoch.train_loss),
        _ => None,
    };
    Ok((
        cohort,
        record::read(&folder.join("metrics.jsonl"))?.into_iter().filter_map(loss).collect(),
    ))
}

fn refused(student: Student, teacher: Option<&dyn Classifier>) -> String {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), student, teacher, 1).map(|_| ()).unwrap_err().to_string()
}

fn values(params: &Params) -> BTreeMap<String, Vec<f32>> {
    let flat = |t: Tensor| t.flatten_all().unwrap().to_vec1().unwrap();
    params.tensors().into_iter().map(|(name, tensor)| (name, flat(tensor))).collect()
}

fn adam() -> OptimizerSpec {
    OptimizerSpec::default()
}

#[test]
fn a_network_of_candle_nn_learns() {
    let folder = tempfile::tempdir().unwrap();
    let (model, varmap) = convolutional();
    let before = values(model.params());
    assert_eq!(before.len(), 8);
    let student = Student::new("candle", Box::new(model), Labels::default(), adam());
    let (cohort, losses) = train(folder.path(), student, None, 8).unwrap();
    assert!(losses[7] < 0.5 * losses[0], "{losses:?}");
    assert!(cohort.students[0].best().0 > 0.9, "{:?}", cohort.students[0].best());
    let after = values(cohort.students[0].model.params());
    for (name, value) in &before {
        assert_ne!(&after[name], value, "{name}");
    }
    let vars = varmap.data().lock().unwrap();
    let bias = vars["fc.bias"].to_vec1::<f32>().unwrap();
    assert_eq!(bias, after["fc.bias"], "the VarMap has what was learned");
}

#[test]
fn a_network_of_candle_nn_learns_what_its_twin_of_ours_learns() {
    let ours = perceptron(1);
    let varmap = VarMap::new();
    let at = VarBuilder::from_varmap(&varmap, DType::F32, &Device::Cpu);
    let fc1 = candle_nn::linear(16, 12, at.pp("fc1")).unwrap();
    let fc2 = candle_nn::linear(12, N_CLASSES, at.pp("fc2")).unwrap();
    let forward = move |x: &Tensor| x.flatten_from(1)?.apply(&fc1)?.relu()?.apply(&fc2);
    let twin = nn::Module::new(candle_nn::func(forward), &varmap, N_CLASSES).unwrap();
    twin.params().load(&ours.params().tensors()).unwrap();
    let learned = |model: Box<dyn Classifier>| {
        let folder = tempfile::tempdir().unwrap();
        let student = Student::new("twin", model, Labels::default(), adam());
        let cohort = train(folder.path(), student, None, 3).unwrap().0;
        values(cohort.students[0].model.params())
    };
    let before = values(ours.params());
    let (ours, theirs) = (learned(Box::new(ours)), learned(Box::new(twin)));
    for (name, want) in &ours {
        assert_ne!(want, &before[name], "{name}");
        for (got, want) in theirs[name].iter().zip(want) {
            assert!((got - want).abs() < 1e-3, "{name}: {got}, ours {want}");
        }
    }
}

/// Forgets how its logits came about.
struct Detached(Net);

impl Classifier for Detached {
    fn forward(&self, pixels: &Tensor, mode: Mode) -> Result<Tensor> {
        Ok(self.0.forward(pixels, mode)?.detach())
    }

    fn n_classes(&self) -> usize {
        N_CLASSES
    }

    fn params(&self) -> &Params {
        self.0.params()
    }
}

#[test]
fn a_network_that_cannot_learn_is_refused_by_name() {
    let model = Box::new(Detached(perceptron(1)));
    let error = refused(Student::new("stone", model, Labels::default(), adam()), None);
    assert!(error.starts_with("`stone`: no parameter of this network received"), "{error}");
}

/// Sum of squared differences between probabilities and labels (Brier 1950).
struct Brier;

impl Loss for Brier {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let exp = input.logits.broadcast_sub(&input.logits.max_keepdim(D::Minus1)?)?.exp()?;
        let probabilities = exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)?;
        let classes = Tensor::arange(0u32, N_CLASSES as u32, &Device::Cpu)?;
        let labels = input.labels.unsqueeze(1)?.broadcast_eq(&classes.unsqueeze(0)?)?;
        let difference = (probabilities - labels.to_dtype(DType::F32)?)?;
        Ok(difference.sqr()?.sum(D::Minus1)?.mean_all()?)
    }
}

/// Steps along the signs of a running mean of the gradients.
#[derive(Default)]
struct SignOfMean(BTreeMap<String, Tensor>);

impl Optimize for SignOfMean {
    fn step(&mut self, params: &Params, learning_rate: f64, _step: u64) -> Result<()> {
        for (name, param) in params.iter() {
            let Some(grad) = param.grad().get() else { continue };
            let mean = match self.0.get(name) {
                Some(mean) => ((mean * 0.9)? + (grad * 0.1)?)?,
                None => grad.copy()?,
            };
            let var = param.var();
            var.set(&(var.as_tensor() - (mean.sign()? * learning_rate)?)?.detach())?;
            self.0.insert(name.to_owned(), mean.detach());
        }
        Ok(())
    }

    fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        Ok(self.0.clone())
    }

    fn load(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        self.0.clone_from(tensors);
        Ok(())
    }
}

#[test]
fn an_objective_and_an_optimizer_of_ones_own_are_used_and_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let student = || {
        let mut student = Student::new("own", Box::new(perceptron(1)), Brier, adam());
        student.optimizer = Box::new(SignOfMean::default());
        student
    };
    let (cohort, losses) = train(folder.path(), student(), None, 12).unwrap();
    assert!(losses[11] < 0.5 * losses[0], "{losses:?}");
    // It is finished: what the checkpoint holds is taken up, and nothing more is done.
    let (resumed, _) = train(folder.path(), student(), None, 12).unwrap();
    let state = |cohort: &Cohort| {
        let tensors = cohort.students[0].optimizer.tensors().unwrap().into_iter();
        let bits = |t: Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        tensors.map(|(name, tensor)| (name, bits(tensor))).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(state(&resumed).len(), 4);
    assert_eq!(state(&resumed), state(&cohort));
}

/// Cross entropy, and the squared distance of the hidden units from the teacher's (FitNets, Romero
/// et al. 2015), from the second epoch on.
struct Hints {
    part: &'static str,
    weight: f64,
}

impl Loss for Hints {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let difference = (input.tap(self.part)? - input.teacher_tap(self.part)?)?;
        assert_eq!(input.teacher()?.dims(), input.logits.dims());
        let weight = if input.epoch > 0 { self.weight } else { 0.0 };
        let hints = (difference.sqr()?.mean_all()? * weight)?;
        Ok((cross_entropy(input.logits, input.labels, 0.0)? + hints)?)
    }

    fn needs_teacher(&self) -> bool {
        true
    }

    fn taps(&self) -> Vec<String> {
        vec![self.part.to_owned()]
    }

    fn teacher_taps(&self) -> Vec<String> {
        self.taps()
    }
}

/// Mean squared difference of the hidden units.
fn distance(one: &dyn Classifier, other: &dyn Classifier) -> f32 {
    let batch = Quadrants(1).batch(0, &[0, 1, 2, 3, 4]).unwrap();
    let hidden = |model: &dyn Classifier| {
        model.forward_with_taps(&batch.images, Mode::Eval, &["relu"]).unwrap().1["relu"].clone()
    };
    let difference = (hidden(one) - hidden(other)).unwrap();
    difference.sqr().unwrap().mean_all().unwrap().to_scalar().unwrap()
}

#[test]
fn a_students_parts_learn_from_its_teachers() {
    let teacher = perceptron(2);
    let student = |part, weight| {
        Student::new("hinted", Box::new(perceptron(1)), Hints { part, weight }, adam())
    };
    let distance_after = |weight| {
        let folder = tempfile::tempdir().unwrap();
        let student = student("relu", weight);
        let trained = train(folder.path(), student, Some(&teacher), 20).unwrap().0;
        assert_eq!(trained.teacher_rows(), (96 * 20, 96 * 20));
        distance(&*trained.students[0].model, &teacher)
    };
    let (without, with) = (distance_after(0.0), distance_after(10.0));
    assert!(with < 0.2 * without, "{with}, without hints {without}");

    let error = refused(student("relu", 1.0), None);
    assert_eq!(error, "`hinted`: the objective needs a teacher, and there is none");
    let error = refused(student("layer4", 1.0), Some(&teacher));
    let want =
        "`hinted`: the objective needs the student's part `layer4`; it has pooled, flatten, fc1";
    assert!(error.starts_with(want), "{error}");
    let (plain, _) = convolutional();
    let error = refused(student("relu", 1.0), Some(&plain));
    assert!(error.contains("the teacher's part `relu`; it has none"), "{error}");
}

#[test]
fn a_network_of_candle_nn_teaches() {
    let folder = tempfile::tempdir().unwrap();
    let (teacher, _) = convolutional();
    let before = values(teacher.params());
    let distill = kd_train::losses::Distill::default();
    let student = Student::new("pupil", Box::new(perceptron(1)), distill, adam());
    train(folder.path(), student, Some(&teacher), 1).unwrap();
    assert_eq!(values(teacher.params()), before, "a teacher does not change");
}

#[test]
fn a_loss_that_is_no_number_is_refused() {
    struct Rows;
    impl Loss for Rows {
        fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
            Ok(input.logits.sum(D::Minus1)?)
        }
    }
    let error = refused(Student::new("rows", Box::new(perceptron(1)), Rows, adam()), None);
    assert!(error.starts_with("loss of rows: expected shape ()"), "{error}");
}
