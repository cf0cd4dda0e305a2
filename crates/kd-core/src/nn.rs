//! Networks written with candle-nn as classifiers.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use candle_core::{ModuleT, Tensor, Var};
use candle_nn::VarMap;

use crate::{Classifier, Error, Mode, Params, Result};

/// A network of candle-nn, from pixels `(N, C, H, W)` to logits `(N, K)`: trained, distilled,
/// attacked and evaluated like any other.
///
/// `M` is whatever implements candle's `Module` or `ModuleT`, such as a struct of layers or
/// [`candle_nn::func_t`]. (`candle_nn::Sequential` may not be sent to another thread; a closure
/// over its layers may.)
///
/// Parameters have their names in the `VarMap`, and share its memory: what is trained here is what
/// `VarMap::save` writes.
///
/// # Differs from
/// a [`crate::Net`]: candle-nn draws initial values and dropout from generators of its own, so that
/// a seed does not determine them (`params().load` sets values that it does); and in evaluation, an
/// attack's backward computes the gradients of the parameters as well, and throws them away.
pub struct Module<M> {
    model: M,
    params: Params,
    n_classes: usize,
}

impl<M: ModuleT + Send + Sync> Module<M> {
    /// `model`, whose variables are those of `varmap`. What is called `running_mean` or
    /// `running_var`, batch norm's statistics, is kept with the weights but not trained.
    ///
    /// # Errors
    /// [`Error::Config`] for a variable that is not f32.
    pub fn new(model: M, varmap: &VarMap, n_classes: usize) -> Result<Self> {
        Self::with_buffers(model, varmap, n_classes, is_running_statistic)
    }

    /// The same, where `is_buffer` tells by its name which variable is not trained.
    ///
    /// # Errors
    /// As [`Module::new`].
    pub fn with_buffers(
        model: M,
        varmap: &VarMap,
        n_classes: usize,
        is_buffer: impl Fn(&str) -> bool,
    ) -> Result<Self> {
        let vars = varmap.data().lock().unwrap_or_else(PoisonError::into_inner);
        let vars: BTreeMap<String, Var> =
            vars.iter().map(|(name, var)| (name.clone(), var.clone())).collect();
        let mut params = Params::default();
        for (name, var) in vars {
            if is_buffer(&name) {
                params.insert_buffer_var(&name, var)?;
            } else {
                params.insert_var(&name, var)?;
            }
        }
        Ok(Self { model, params, n_classes })
    }
}

fn is_running_statistic(name: &str) -> bool {
    matches!(name.rsplit('.').next(), Some("running_mean" | "running_var"))
}

impl<M: ModuleT + Send + Sync> Classifier for Module<M> {
    fn forward(&self, pixels: &Tensor, mode: Mode) -> Result<Tensor> {
        let logits = self.model.forward_t(pixels, matches!(mode, Mode::Train(_)))?;
        if logits.dims() != [pixels.dims()[0], self.n_classes] {
            let expected = format!("(N, {})", self.n_classes);
            return Err(Error::shape("logits", expected, logits.dims()));
        }
        match mode {
            Mode::Eval if !pixels.track_op() => Ok(logits.detach()),
            _ => Ok(logits),
        }
    }

    fn n_classes(&self) -> usize {
        self.n_classes
    }

    fn params(&self) -> &Params {
        &self.params
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use candle_nn::{BatchNorm, Linear, VarBuilder};

    use super::*;
    use crate::testing::random;
    use crate::{Stream, ops};

    struct Small {
        norm: BatchNorm,
        fc: Linear,
    }

    impl ModuleT for Small {
        fn forward_t(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
            let x = self.norm.forward_t(x, train)?.flatten_from(1)?;
            x.apply(&self.fc)
        }
    }

    fn small() -> (Module<Small>, VarMap) {
        let varmap = VarMap::new();
        let at = VarBuilder::from_varmap(&varmap, DType::F32, &Device::Cpu);
        let norm = candle_nn::batch_norm(2, 1e-5, at.pp("norm")).unwrap();
        let fc = candle_nn::linear(8, 3, at.pp("fc")).unwrap();
        (Module::new(Small { norm, fc }, &varmap, 3).unwrap(), varmap)
    }

    fn pixels() -> Tensor {
        random(Stream::new(1), &[5, 2, 2, 2])
    }

    #[test]
    fn what_is_trained_and_what_is_kept_is_told_apart_by_name() {
        let (net, varmap) = small();
        let trained: Vec<&str> = net.params().iter().map(|(name, _)| name).collect();
        assert_eq!(trained, ["fc.bias", "fc.weight", "norm.bias", "norm.weight"]);
        assert_eq!(net.params().tensors().len(), varmap.all_vars().len());
        assert_eq!(net.params().n_elements(), 8 * 3 + 3 + 2 * 2);
        let all = |_: &str| true;
        let frozen = Module::with_buffers(net.model, &varmap, 3, all).unwrap();
        assert_eq!((frozen.params().n_elements(), frozen.params().tensors().len()), (0, 6));
    }

    #[test]
    fn training_moves_statistics_and_gives_every_parameter_its_gradient() {
        let (net, _) = small();
        let mean = || net.params().tensors()["norm.running_mean"].to_vec1::<f32>().unwrap();
        let before = mean();
        let logits = net.forward(&pixels(), Mode::Train(Stream::new(2))).unwrap();
        let labels = Tensor::new(&[0u32, 1, 2, 0, 1], &Device::Cpu).unwrap();
        let loss = ops::cross_entropy(&logits, &labels, 0.0).unwrap();
        net.params().take_up(&loss.backward().unwrap()).unwrap();
        assert!(net.params().iter().all(|(_, param)| param.grad().get().is_some()));
        assert_ne!(mean(), before);
        let after = mean();
        net.forward(&pixels(), Mode::Eval).unwrap();
        assert_eq!(mean(), after);
    }

    #[test]
    fn evaluation_is_tracked_only_for_the_sake_of_the_pixels() {
        let (net, _) = small();
        assert!(!net.forward(&pixels(), Mode::Eval).unwrap().track_op());
        let tracked = Var::from_tensor(&pixels()).unwrap();
        let logits = net.forward(&tracked, Mode::Eval).unwrap();
        let grads = logits.sum_all().unwrap().backward().unwrap();
        assert!(grads.get(&tracked).is_some());
    }

    #[test]
    fn logits_of_another_number_of_classes_are_refused() {
        let (net, varmap) = small();
        let wrong = Module::new(net.model, &varmap, 4).unwrap();
        let error = wrong.forward(&pixels(), Mode::Eval).unwrap_err().to_string();
        assert_eq!(error, "logits: expected shape (N, 4), got [5, 3]");
    }
}
