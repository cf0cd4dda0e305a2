//! Optimizers over all parameters of a network.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use kd_core::ops::{Adam, AdamState, Moments, Sgd, SgdState};
use kd_core::{Error, Param, Params, Result};
use serde::{Deserialize, Serialize};

/// An optimizer, chosen by `kind` in a suite file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum OptimizerSpec {
    /// Adam with L2 weight decay.
    Adam(Adam),
    /// SGD with momentum.
    Sgd(Sgd),
}

impl Default for OptimizerSpec {
    fn default() -> Self {
        Self::Adam(Adam::default())
    }
}

impl OptimizerSpec {
    /// Refuses settings outside their domain.
    ///
    /// # Errors
    /// [`Error::Config`], naming the setting.
    pub fn check(&self) -> Result<()> {
        let unit = |field: &str, x: f64| match (0.0..1.0).contains(&x) {
            true => Ok(()),
            false => Err(Error::config(field, format!("{x} is not in [0, 1)"))),
        };
        let positive = |field: &str, x: f64| match x >= 0.0 && x.is_finite() {
            true => Ok(()),
            false => Err(Error::config(field, format!("{x} is not a number from 0 on"))),
        };
        match self {
            Self::Adam(adam) => {
                unit("optimizer.beta1", adam.beta1)?;
                unit("optimizer.beta2", adam.beta2)?;
                positive("optimizer.eps", adam.eps)?;
                positive("optimizer.weight_decay", adam.weight_decay)
            }
            Self::Sgd(sgd) => {
                unit("optimizer.momentum", sgd.momentum)?;
                positive("optimizer.weight_decay", sgd.weight_decay)
            }
        }
    }
}

/// A rule by which a network's parameters follow their gradients, with its state.
///
/// [`Optimizer`] has those that suite files name; any other type that implements this trait goes
/// into a [`crate::Student`] just as well.
pub trait Optimize: Send + Sync {
    /// Moves every parameter that has a gradient ([`kd_core::Grad::get`]). `step` is the number of
    /// the step, counted from 1. The training loop forgets the gradients afterwards.
    ///
    /// # Errors
    /// [`Error::Config`] when `params` are not those that the optimizer was made for.
    fn step(&mut self, params: &Params, learning_rate: f64, step: u64) -> Result<()>;

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
    /// [`Error::Config`] or [`Error::Shape`] when a part is missing or of another size.
    fn load(&mut self, _tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        Ok(())
    }
}

/// An optimizer of an [`OptimizerSpec`] with its state for each parameter.
#[derive(Debug)]
pub struct Optimizer {
    spec: OptimizerSpec,
    states: States,
}

/// The state of all parameters, where these are.
#[derive(Debug)]
enum States {
    Cpu(BTreeMap<String, State>),
    Gpu(Moments),
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    Adam(AdamState),
    Sgd(SgdState),
}

impl State {
    fn new(spec: &OptimizerSpec, n: usize) -> Self {
        match spec {
            OptimizerSpec::Adam(_) => Self::Adam(AdamState::new(n)),
            OptimizerSpec::Sgd(_) => Self::Sgd(SgdState::new(n)),
        }
    }

    /// The parts that a checkpoint holds.
    fn parts(&self) -> Vec<(&'static str, &[f32])> {
        match self {
            Self::Adam(state) => vec![("first", &state.first[..]), ("second", &state.second)],
            Self::Sgd(state) => vec![("velocity", &state.velocity[..])],
        }
    }

    fn parts_mut(&mut self) -> Vec<(&'static str, &mut Vec<f32>)> {
        match self {
            Self::Adam(state) => {
                vec![("first", &mut state.first), ("second", &mut state.second)]
            }
            Self::Sgd(state) => vec![("velocity", &mut state.velocity)],
        }
    }
}

impl Optimizer {
    /// An optimizer for `params` that has made no step.
    pub fn new(spec: OptimizerSpec, params: &Params) -> Self {
        let state = |(name, param): (&str, &Param)| {
            (name.to_owned(), State::new(&spec, param.var().elem_count()))
        };
        let states = match (params.device().is_cuda(), &spec) {
            (false, _) => States::Cpu(params.iter().map(state).collect()),
            (true, OptimizerSpec::Adam(_)) => States::Gpu(Moments::adam(params)),
            (true, OptimizerSpec::Sgd(_)) => States::Gpu(Moments::sgd(params)),
        };
        Self { spec, states }
    }
}

impl Optimize for Optimizer {
    fn step(&mut self, params: &Params, learning_rate: f64, step: u64) -> Result<()> {
        let states = match (&mut self.states, &self.spec) {
            (States::Cpu(states), _) => states,
            (States::Gpu(moments), OptimizerSpec::Adam(adam)) => {
                return moments.adam_step(adam, learning_rate, step, params);
            }
            (States::Gpu(moments), OptimizerSpec::Sgd(sgd)) => {
                return moments.sgd_step(sgd, learning_rate, step, params);
            }
        };
        for (name, param) in params.iter() {
            let Some(grad) = param.grad().get() else { continue };
            let state = states
                .get_mut(name)
                .ok_or_else(|| Error::config(name, "the optimizer has no such parameter"))?;
            match (&self.spec, state) {
                (OptimizerSpec::Adam(adam), State::Adam(state)) => {
                    state.step(adam, learning_rate, step, param.var(), grad)?;
                }
                (OptimizerSpec::Sgd(sgd), State::Sgd(state)) => {
                    state.step(sgd, learning_rate, step, param.var(), grad)?;
                }
                _ => return Err(Error::config("optimizer", "state of another optimizer")),
            }
        }
        Ok(())
    }

    fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        let states = match &self.states {
            States::Cpu(states) => states,
            States::Gpu(moments) => return moments.tensors(),
        };
        let mut tensors = BTreeMap::new();
        for (name, state) in states {
            for (part, values) in state.parts() {
                let tensor = Tensor::from_slice(values, values.len(), &Device::Cpu)?;
                tensors.insert(format!("{name}/{part}"), tensor);
            }
        }
        Ok(tensors)
    }

    fn load(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        match &mut self.states {
            States::Cpu(states) => {
                states.iter_mut().try_for_each(|(name, state)| load(name, state, tensors))
            }
            States::Gpu(moments) => moments.load(tensors),
        }
    }
}

fn load(name: &str, state: &mut State, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    for (part, values) in state.parts_mut() {
        let key = format!("{name}/{part}");
        let tensor = tensors
            .get(&key)
            .ok_or_else(|| Error::config(&key, "the checkpoint lacks this state"))?;
        if tensor.dims() != [values.len()] {
            let expected = format!("({},)", values.len());
            return Err(Error::shape(key, expected, tensor.dims()));
        }
        *values = tensor.to_vec1()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
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
            let mut whole = Optimizer::new(spec, params);
            steps(&mut whole, &model, 0, 3);
            let (tensors, weights) = (whole.tensors().unwrap(), copied(params));
            steps(&mut whole, &model, 3, 6);
            let want = bits(params);
            params.load(&weights).unwrap();
            let mut resumed = Optimizer::new(spec, params);
            resumed.load(&tensors).unwrap();
            steps(&mut resumed, &model, 3, 6);
            assert_eq!(bits(params), want, "{spec:?}");
            assert_eq!(state_bits(&resumed), state_bits(&whole));
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
        let mut other = Optimizer::new(specs()[0], model.params());
        assert!(matches!(other.load(&sgd.tensors().unwrap()), Err(Error::Config { .. })));
        let mut tensors = adam.tensors().unwrap();
        tensors.insert("fc.bias/first".into(), random(Stream::new(0), &[3]));
        assert!(matches!(other.load(&tensors), Err(Error::Shape { .. })));
    }

    #[test]
    fn a_parameter_without_a_gradient_stays() {
        let model = Network::new(1);
        let before = bits(model.params());
        Optimizer::new(specs()[1], model.params()).step(model.params(), 0.1, 1).unwrap();
        assert_eq!(bits(model.params()), before);
    }

    #[test]
    fn settings_outside_their_domain_are_refused() {
        let adam = |adam| OptimizerSpec::Adam(adam).check().is_err();
        assert!(adam(Adam { beta1: 1.0, ..Adam::default() }));
        assert!(adam(Adam { beta2: -0.1, ..Adam::default() }));
        assert!(adam(Adam { eps: f64::NAN, ..Adam::default() }));
        let sgd = |sgd| OptimizerSpec::Sgd(sgd).check().is_err();
        assert!(sgd(Sgd { momentum: 1.0, ..Sgd::default() }));
        assert!(sgd(Sgd { weight_decay: f64::INFINITY, ..Sgd::default() }));
        assert!(specs().iter().all(|spec| spec.check().is_ok()));
    }
}
