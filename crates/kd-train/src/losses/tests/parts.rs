//! The objectives that look at parts of networks, at two versions of an image, or that learn something
//! themselves, beside the same in f64 and plain loops: values and gradients.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use kd_core::testing::random;
use kd_core::{Params, Stream};

use super::super::*;
use super::arrays::*;
use super::papers::*;
use super::review::review;

type Reference = Box<dyn Fn(&Inputs, &Inputs) -> f64>;

fn all() -> Vec<(LossSpec, Reference)> {
    fn of(f: fn(&Inputs) -> f64) -> Reference {
        Box::new(move |x, _| f(x))
    }
    let itself = Sld { own_after: 3, ..Sld::default() };
    let few = Contrastive { n_dims: 6, ..Contrastive::default() };
    vec![
        (Ctkd::default().into(), of(ctkd)),
        (Wkd::default().into(), of(wkd)),
        (Mlkd::default().into(), of(mlkd)),
        (Sld::default().into(), Box::new(|x, at| sld(x, at, false))),
        (itself.into(), Box::new(|x, at| sld(x, at, true))),
        (Hint::default().into(), of(hint)),
        (Attention::default().into(), of(attention)),
        (Similarity::default().into(), of(similarity)),
        (Relational::default().into(), of(relational)),
        (Probabilistic::default().into(), of(probabilistic)),
        (Variational::default().into(), of(variational)),
        (few.into(), of(contrastive)),
        (Review::default().into(), of(review)),
        (Srd::default().into(), of(srd)),
    ]
}

/// Sizes of the parts: the teacher's are wider, its first map is as large as the student's.
fn parts(n: usize, whose: usize) -> BTreeMap<String, Tensor> {
    let width = [3, 4][whose];
    let shapes = [
        ("stage:1", vec![n, 8, 8, width]),
        ("stage:2", vec![n, 4, 4, width + 1]),
        ("stage:3", vec![n, 2, 2, width + 2]),
        ("stage:last", vec![n, 2, 2, width + 2]),
        ("pooled", vec![n, width + 2]),
    ];
    let part = |(name, shape): (&str, Vec<usize>)| {
        let stream = Stream::new(11).at(name).number(whose as u64);
        (name.to_owned(), random(stream, &shape))
    };
    shapes.into_iter().map(part).collect()
}

/// What student and teacher say of five images.
struct Example {
    logits: Var,
    view: Var,
    teacher: [Tensor; 2],
    taps: BTreeMap<String, Var>,
    teacher_taps: BTreeMap<String, Tensor>,
}

impl Example {
    fn new() -> Self {
        let logits = |name: &str| (random(Stream::new(5).at(name), &[5, 4]) * 3.0).unwrap();
        let var = |tensor: &Tensor| Var::from_tensor(tensor).unwrap();
        Self {
            logits: var(&logits("student")),
            view: var(&logits("view")),
            teacher: [logits("teacher"), logits("teacher's view")],
            taps: parts(5, 0).iter().map(|(name, t)| (name.clone(), var(t))).collect(),
            teacher_taps: parts(5, 1),
        }
    }

    /// Value, and gradients by name, with the inputs as they were before.
    fn computed(&self, spec: &LossSpec) -> (f64, BTreeMap<String, Array>, Inputs) {
        let labels = LABELS.map(|label| label as u32);
        let labels = Tensor::new(&labels, &Device::Cpu).unwrap();
        let taps = self.taps.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone()));
        let taps = taps.collect();
        let views = [View {
            logits: self.view.as_tensor().clone(),
            teacher_logits: Some(self.teacher[1].clone()),
        }];
        let input = LossInput {
            teacher_logits: Some(&self.teacher[0]),
            taps: &taps,
            teacher_taps: &self.teacher_taps,
            views: &views,
            indices: &INDICES,
            n_samples: N_SAMPLES,
            epoch: EPOCH,
            ..LossInput::new(&self.logits, &labels)
        };
        let own = spec.own_params(&input).unwrap();
        let mut inputs = self.inputs(&own);
        let loss = spec.loss(&LossInput { own: &own, ..input }).unwrap();
        for side in ["student", "teacher"] {
            // Whose norm it is: that of the memory it is compared with.
            let other = if side == "student" { "teacher" } else { "student" };
            if let Some(norm) = own.buffer(&format!("{other}.norm")) {
                inputs.insert(format!("norm/{side}"), Array::of(norm));
            }
        }
        let grads = loss.backward().unwrap();
        let mut by_name = BTreeMap::new();
        let mut add = |name: String, var: &Var| {
            if let Some(grad) = grads.get(var) {
                by_name.insert(name, Array::of(grad));
            }
        };
        add("logits".into(), &self.logits);
        add("view".into(), &self.view);
        self.taps.iter().for_each(|(name, var)| add(format!("s/{name}"), var));
        own.take_up(&grads).unwrap();
        for (name, param) in own.iter() {
            let grad = param.grad().get().map(Array::of);
            by_name.extend(grad.map(|grad| (format!("own/{name}"), grad)));
        }
        assert!(self.teacher.iter().all(|t| grads.get(t).is_none()), "{}", spec.name());
        (f64::from(loss.to_scalar::<f32>().unwrap()), by_name, inputs)
    }

    fn inputs(&self, own: &Params) -> Inputs {
        let mut inputs = Inputs::new();
        let mut add = |name: String, tensor: &Tensor| drop(inputs.insert(name, Array::of(tensor)));
        add("logits".into(), &self.logits);
        add("view".into(), &self.view);
        add("teacher".into(), &self.teacher[0]);
        add("view_teacher".into(), &self.teacher[1]);
        self.taps.iter().for_each(|(name, var)| add(format!("s/{name}"), var));
        self.teacher_taps.iter().for_each(|(name, t)| add(format!("t/{name}"), t));
        own.iter().for_each(|(name, param)| add(format!("own/{name}"), param.var()));
        own.buffers().for_each(|(name, var)| add(format!("kept/{name}"), var));
        inputs
    }
}

/// By central differences.
fn gradient(of: &Reference, inputs: &Inputs, name: &str) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let moved = |i: usize, by: f64| {
        let mut moved = inputs.clone();
        moved.get_mut(name).unwrap().values[i] += by;
        of(&moved, inputs)
    };
    let n = inputs[name].values.len();
    (0..n).map(|i| (moved(i, STEP) - moved(i, -STEP)) / (2.0 * STEP)).collect()
}

#[test]
fn values_and_gradients_are_those_of_the_papers() {
    let example = Example::new();
    for (spec, reference) in all() {
        let (value, grads, inputs) = example.computed(&spec);
        let want = reference(&inputs, &inputs);
        let error = (value - want).abs() / want.abs().max(1.0);
        assert!(error < 1e-6, "{}: {value}, want {want}", spec.name());
        for (name, grad) in &grads {
            let mut want = gradient(&reference, &inputs, name);
            if name == "own/theta" {
                // Learned against the student, in the tenth epoch of the ramp of ten.
                want.iter_mut().for_each(|g| *g = -*g);
            }
            let scale = want.iter().fold(1.0f64, |scale, g| scale.max(g.abs()));
            for (got, want) in grad.values.iter().zip(&want) {
                let error = (got - want).abs();
                assert!(error < 1e-6 * scale, "{} {name}: {got}, want {want}", spec.name());
            }
        }
        let own_taps = spec.taps().into_iter().map(|tap| format!("s/{tap}"));
        for name in own_taps.chain(["logits".to_owned()]) {
            assert!(grads.contains_key(&name), "{} does not teach {name}", spec.name());
        }
    }
}

/// One image, two classes, features of zeros, equal networks: a number or a refusal.
#[test]
fn nothing_degenerate_gives_a_nan() {
    let zeros = |parts: BTreeMap<String, Tensor>| -> BTreeMap<String, Tensor> {
        parts.iter().map(|(name, part)| (name.clone(), part.zeros_like().unwrap())).collect()
    };
    let cases = [
        (1, parts(1, 0), parts(1, 1)),
        (3, zeros(parts(3, 0)), parts(3, 1)),
        (3, zeros(parts(3, 0)), zeros(parts(3, 1))),
        (3, parts(3, 0), parts(3, 0)),
    ];
    let looks = |spec: &LossSpec| !spec.teacher_taps().is_empty();
    for spec in LossSpec::all().into_iter().filter(looks) {
        for (n, taps, teacher_taps) in &cases {
            if spec.name() == "features" && taps["pooled"].dims() != teacher_taps["pooled"].dims() {
                continue;
            }
            let vars: BTreeMap<_, _> =
                taps.iter().map(|(name, t)| (name.clone(), Var::from_tensor(t).unwrap())).collect();
            let taps = vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone()));
            let taps = taps.collect();
            let logits = Var::from_tensor(&random(Stream::new(1), &[*n, 2])).unwrap();
            let labels = Tensor::zeros(*n, DType::U32, &Device::Cpu).unwrap();
            let (teacher, indices) = (random(Stream::new(2), &[*n, 2]), [2u32, 0, 1]);
            let input = LossInput {
                teacher_logits: Some(&teacher),
                taps: &taps,
                teacher_taps,
                indices: &indices[..*n],
                n_samples: 3,
                ..LossInput::new(&logits, &labels)
            };
            let own = spec.own_params(&input).unwrap();
            let loss = spec.loss(&LossInput { own: &own, ..input }).unwrap();
            assert!(loss.to_scalar::<f32>().unwrap().is_finite(), "{} {n}", spec.name());
            let grads = loss.backward().unwrap();
            own.take_up(&grads).unwrap();
            let of_own = own.iter().filter_map(|(_, param)| param.grad().get());
            let given = vars.values().chain([&logits]).filter_map(|var| grads.get(var));
            for grad in given.chain(of_own) {
                let grad: Vec<f32> = grad.flatten_all().unwrap().to_vec1().unwrap();
                assert!(grad.iter().all(|g| g.is_finite()), "{} {n}: {grad:?}", spec.name());
            }
        }
    }
}
