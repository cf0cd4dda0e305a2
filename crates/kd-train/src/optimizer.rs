//! Optimizers over all parameters of a network.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::Tensor;
use kd_core::ops::{Moments, OptimizerSpec};
use kd_core::{Error, Param, Params, Result};

/// A rule by which a network's parameters follow their gradients, with its state.
///
/// [`Optimizer`] has those that suite files name; any other type that implements this trait goes
/// into a [`crate::Student`] just as well.
pub trait Optimize: Send + Sync {
    /// Moves every parameter that has a gradient ([`kd_core::Grad::get`]). `step` is the number of
    /// the step, counted from 1. The training loop forgets the gradients afterwards.
    ///
    /// # Errors
    /// [`kd_core::Error::Config`] when `params` are not those that the optimizer was made for.
    fn step(&mut self, params: &Params, learning_rate: f64, step: u64) -> Result<()>;

    /// Moves the values `part` of one parameter, flattened, by their gradients, as [`Optimize::step`] would
    /// move them: for batches in shards, where each process moves a part.
    ///
    /// # Errors
    /// As [`Optimize::step`]; [`kd_core::Error::Config`] for a rule that looks at more than single values.
    fn step_part(
        &mut self,
        (name, _param): (&str, &Param),
        _part_and_grads: (Range<usize>, &[f32]),
        _rate_and_step: (f64, u64),
    ) -> Result<()> {
        let reason = "the optimizer moves whole networks only, and a training in shards moves parts of them; \
                      leave `shards` out";
        Err(Error::config(name, reason))
    }

    /// The state as tensors by name, for a checkpoint; none for a rule without a state.
    ///
    /// # Errors
    /// When candle cannot allocate.
    fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        Ok(BTreeMap::new())
    }

    /// Takes up the state that [`Optimize::tensors`] gave.
    ///
    /// # Errors
    /// [`kd_core::Error::Config`] or [`kd_core::Error::Shape`] when a part is missing or of another size.
    fn load(&mut self, _tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        Ok(())
    }
}

/// An optimizer of an [`OptimizerSpec`] with its state for each parameter.
#[derive(Debug)]
pub struct Optimizer {
    spec: OptimizerSpec,
    moments: Moments,
}

impl Optimizer {
    /// An optimizer for `params` that has made no step.
    pub fn new(spec: OptimizerSpec, params: &Params) -> Self {
        Self { moments: Moments::new(&spec, params), spec }
    }

    /// The same, with learning rates of their own for the parameters named here: so many times the
    /// rate of a step.
    ///
    /// # Errors
    /// [`kd_core::Error::Config`] for a name that is no parameter, and for a factor that is not above 0.
    pub fn with_factors(self, factors: BTreeMap<String, f64>) -> Result<Self> {
        Ok(Self { moments: self.moments.with_factors(factors)?, ..self })
    }
}

impl Optimize for Optimizer {
    fn step(&mut self, params: &Params, learning_rate: f64, step: u64) -> Result<()> {
        self.moments.step(&self.spec, (learning_rate, step), params)
    }

    fn step_part(
        &mut self,
        param: (&str, &Param),
        part_and_grads: (Range<usize>, &[f32]),
        rate_and_step: (f64, u64),
    ) -> Result<()> {
        self.moments.step_part(&self.spec, rate_and_step, param, part_and_grads)
    }

    fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        self.moments.tensors()
    }

    fn load(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        self.moments.load(tensors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kd_core::ops::{Adam, Sgd};
    use kd_core::testing::random;
    use kd_core::{Classifier, Mode, Stream};

    use crate::testing::Network;

    fn specs() -> [OptimizerSpec; 2] {
        let sgd = Sgd { momentum: 0.9, nesterov: true, weight_decay: 1e-3 };
        [OptimizerSpec::Adam(Adam::default()), OptimizerSpec::Sgd(sgd)]
    }

    /// Steps `from..to` on inputs that depend on the step alone.
    fn steps(optimizer: &mut Optimizer, model: &Network, from: u64, to: u64) {
        for step in from..to {
            let x = random(Stream::new(2).number(step), &[5, 1, 2, 2]);
            let y = model.forward(&x, Mode::Train(Stream::new(0))).unwrap();
            let grads = y.sqr().unwrap().mean_all().unwrap().backward().unwrap();
            model.params().take_up(&grads).unwrap();
            optimizer.step(model.params(), 0.05, step + 1).unwrap();
            model.params().clear_grads();
        }
    }

    fn bits(params: &Params) -> Vec<u32> {
        let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        params.tensors().values().flat_map(values).map(f32::to_bits).collect()
    }

    #[test]
    fn a_loaded_state_goes_on_with_the_same_bits() {
        for spec in specs() {
            let model = Network::new(1);
            let params = model.params();
            let mut whole = Optimizer::new(spec.clone(), params);
            steps(&mut whole, &model, 0, 3);
            let (tensors, weights) = (whole.tensors().unwrap(), copied(params));
            steps(&mut whole, &model, 3, 6);
            let want = bits(params);
            params.load(&weights).unwrap();
            let mut resumed = Optimizer::new(spec.clone(), params);
            resumed.load(&tensors).unwrap();
            steps(&mut resumed, &model, 3, 6);
            assert_eq!(bits(params), want, "{spec:?}");
            assert_eq!(state_bits(&resumed), state_bits(&whole));
        }
    }

    /// A checkpoint of 150 parameters once held the whole state 150 times.
    #[test]
    fn the_state_of_each_parameter_is_stored_alone() {
        let model = Network::new(1);
        let [adam, _] = specs().map(|spec| Optimizer::new(spec, model.params()));
        for (name, tensor) in adam.tensors().unwrap() {
            let (storage, _) = tensor.storage_and_layout();
            let candle_core::Storage::Cpu(storage) = &*storage else { panic!("not in memory") };
            let stored = storage.as_slice::<f32>().unwrap().len();
            assert_eq!(stored, tensor.elem_count(), "{name}");
        }
    }

    fn state_bits(optimizer: &Optimizer) -> Vec<u32> {
        let tensors = optimizer.tensors().unwrap();
        let values = tensors.values().flat_map(|t| t.to_vec1::<f32>().unwrap());
        values.map(f32::to_bits).collect()
    }

    fn copied(params: &Params) -> BTreeMap<String, Tensor> {
        let copy = |(name, t): (String, Tensor)| (name, t.copy().unwrap());
        params.tensors().into_iter().map(copy).collect()
    }

    #[test]
    fn the_state_of_another_network_or_optimizer_is_refused() {
        let model = Network::new(1);
        let [adam, sgd] = specs().map(|spec| Optimizer::new(spec, model.params()));
        let mut other = Optimizer::new(OptimizerSpec::default(), model.params());
        assert!(matches!(other.load(&sgd.tensors().unwrap()), Err(Error::Config { .. })));
        let mut tensors = adam.tensors().unwrap();
        tensors.insert("fc.bias/first".into(), random(Stream::new(0), &[3]));
        assert!(matches!(other.load(&tensors), Err(Error::Shape { .. })));
    }

    /// SGD moves by the learning rate times the gradient: ten times the rate, ten times as far.
    #[test]
    fn a_factor_multiplies_the_learning_rate_of_its_parameter() {
        let moved = |factors: &[(&str, f64)]| {
            let model = Network::new(1);
            let before = model.params().tensors()["fc.bias"].copy().unwrap();
            let factors = factors.iter().map(|(name, factor)| ((*name).into(), *factor)).collect();
            let optimizer = Optimizer::new(Sgd::default().into(), model.params());
            steps(&mut optimizer.with_factors(factors).unwrap(), &model, 0, 1);
            let after = &model.params().tensors()["fc.bias"];
            let weight = bits(model.params())[6..].to_vec();
            ((after - before).unwrap().to_vec1::<f32>().unwrap(), weight)
        };
        let (plain, faster) = (moved(&[]), moved(&[("fc.bias", 10.0)]));
        assert_eq!(plain.1, faster.1, "the other parameter moves as before");
        for (plain, faster) in plain.0.iter().zip(faster.0) {
            assert!((10.0 * plain - faster).abs() < 1e-5 && faster.abs() > 1e-4);
        }
        let model = Network::new(1);
        let error = |name: &str, factor: f64| {
            let optimizer = Optimizer::new(Sgd::default().into(), model.params());
            optimizer.with_factors([(name.into(), factor)].into()).unwrap_err().to_string()
        };
        assert!(error("fc.bias", 0.0).contains("not above 0"));
        assert!(error("conv", 1.0).contains("`conv`"));
    }

    #[test]
    fn a_parameter_without_a_gradient_stays() {
        let model = Network::new(1);
        let before = bits(model.params());
        let sgd = Sgd::default().into();
        Optimizer::new(sgd, model.params()).step(model.params(), 0.1, 1).unwrap();
        assert_eq!(bits(model.params()), before);
    }
}
