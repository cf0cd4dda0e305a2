//! Named parameters and the buffers that receive their gradients.
//!
//! Key decision: a parameter's gradient is written by the layer's backward straight into a buffer
//! that lives as long as the parameter. candle's own `GradStore` allocates, zeroes and adds two
//! more tensors of the parameter's size per step, which costs an MLP about as much as its matrix
//! products. What candle's own graph computes for a parameter is added to the same buffer
//! ([`Params::take_up`]), so that networks of any origin, and mixtures, train alike.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};

use crate::gemm::Write;
use crate::{Error, Result};

/// A trainable tensor with its gradient buffer. Cloning shares both.
#[derive(Debug, Clone)]
pub struct Param {
    var: Var,
    grad: Arc<Grad>,
}

impl Param {
    /// A parameter that starts as a copy of `value`, without a gradient.
    ///
    /// # Errors
    /// When candle cannot allocate.
    pub fn new(value: &Tensor) -> Result<Self> {
        Self::of(Var::from_tensor(value)?)
    }

    /// The variable `var` of somebody else as a parameter; the memory is shared.
    ///
    /// # Errors
    /// When candle cannot allocate.
    pub fn of(var: Var) -> Result<Self> {
        Ok(Self { grad: Arc::new(Grad::like(&var)?), var })
    }

    /// The value, tracked: for training.
    pub fn var(&self) -> &Var {
        &self.var
    }

    /// The value as a constant: no gradient will be computed for it.
    pub fn constant(&self) -> Tensor {
        self.var.as_detached_tensor()
    }

    /// The gradient buffer.
    pub fn grad(&self) -> &Arc<Grad> {
        &self.grad
    }
}

/// The buffer that a layer's backward adds a parameter's gradient to.
#[derive(Debug)]
pub struct Grad {
    var: Var,
    /// The memory of `var`, as a constant.
    buffer: Tensor,
    filled: AtomicBool,
}

impl Grad {
    /// A buffer for the gradient of `tensor`.
    pub(crate) fn like(tensor: &Tensor) -> Result<Self> {
        let var = Var::zeros(tensor.shape(), tensor.dtype(), tensor.device())?;
        Ok(Self { buffer: var.as_detached_tensor(), var, filled: AtomicBool::new(false) })
    }

    /// Adds `gradient` to the sum.
    ///
    /// # Errors
    /// [`Error::Shape`] for another shape than the parameter's; what candle refuses.
    pub fn add(&self, gradient: &Tensor) -> Result<()> {
        if gradient.dims() != self.buffer.dims() {
            let expected = format!("{:?}, as the parameter", self.buffer.dims());
            return Err(Error::shape("gradient", expected, gradient.dims()));
        }
        match self.get() {
            Some(sum) => self.var.set(&(sum + gradient)?)?,
            None => self.var.set(gradient)?,
        }
        self.filled.store(true, Ordering::Release);
        Ok(())
    }

    /// The sum of the gradients since the last [`Grad::clear`], or nothing if there was none.
    pub fn get(&self) -> Option<&Tensor> {
        self.filled.load(Ordering::Acquire).then_some(&self.buffer)
    }

    /// Forgets the gradient; the next one overwrites the buffer.
    pub fn clear(&self) {
        self.filled.store(false, Ordering::Release);
    }

    /// The buffer, filled or not.
    pub(crate) fn buffer(&self) -> &Tensor {
        &self.buffer
    }

    /// The buffer, and how the next gradient is written to it; marks it as filled.
    pub(crate) fn write(&self) -> (&Tensor, Write) {
        let filled = self.filled.swap(true, Ordering::AcqRel);
        (&self.buffer, if filled { Write::Add } else { Write::Set })
    }
}

/// All parameters of a network, by name and in the order of their names; and its buffers, which
/// are not trained but belong to its weights, such as batch norm's running statistics.
#[derive(Debug, Clone, Default)]
pub struct Params {
    params: BTreeMap<String, Param>,
    buffers: BTreeMap<String, Var>,
}

impl Params {
    /// None.
    pub const fn new() -> Self {
        Self { params: BTreeMap::new(), buffers: BTreeMap::new() }
    }

    /// Adds the parameter `name` with the given initial value.
    ///
    /// # Errors
    /// [`Error::Config`] when the name is taken.
    pub fn insert(&mut self, name: &str, value: &Tensor) -> Result<Param> {
        self.check_free(name)?;
        let param = Param::new(value)?;
        self.params.insert(name.into(), param.clone());
        Ok(param)
    }

    /// Adds the variable `var` of somebody else as the parameter `name`; the memory is shared.
    ///
    /// # Errors
    /// [`Error::Config`] when the name is taken or the variable is not f32.
    pub fn insert_var(&mut self, name: &str, var: Var) -> Result<Param> {
        self.check_free(name)?;
        check_f32(name, &var)?;
        let param = Param::of(var)?;
        self.params.insert(name.into(), param.clone());
        Ok(param)
    }

    /// Adds the variable `var` of somebody else as the buffer `name`; the memory is shared.
    ///
    /// # Errors
    /// As [`Params::insert_var`].
    pub fn insert_buffer_var(&mut self, name: &str, var: Var) -> Result<()> {
        self.check_free(name)?;
        check_f32(name, &var)?;
        self.buffers.insert(name.into(), var);
        Ok(())
    }

    /// Adds the buffer `name` with the given initial value.
    ///
    /// # Errors
    /// [`Error::Config`] when the name is taken.
    pub fn insert_buffer(&mut self, name: &str, value: &Tensor) -> Result<Var> {
        self.check_free(name)?;
        let buffer = Var::from_tensor(value)?;
        self.buffers.insert(name.into(), buffer.clone());
        Ok(buffer)
    }

    /// Makes the parameters `names` buffers: they keep their values.
    pub(crate) fn freeze(&mut self, names: &BTreeSet<String>) {
        for name in names {
            if let Some(param) = self.params.remove(name) {
                self.buffers.insert(name.clone(), param.var);
            }
        }
    }

    fn check_free(&self, name: &str) -> Result<()> {
        if self.params.contains_key(name) || self.buffers.contains_key(name) {
            return Err(Error::config(name, "this parameter exists already"));
        }
        Ok(())
    }

    /// Names and parameters, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Param)> {
        self.params.iter().map(|(name, param)| (name.as_str(), param))
    }

    /// The parameter `name`.
    pub fn get(&self, name: &str) -> Option<&Param> {
        self.params.get(name)
    }

    /// The buffer `name`.
    pub fn buffer(&self, name: &str) -> Option<&Var> {
        self.buffers.get(name)
    }

    /// Names and values of the buffers, in the order of the names; the memory is shared.
    pub fn buffers(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.buffers.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// Where the parameters are; the CPU for a network without any.
    pub fn device(&self) -> Device {
        let first = self.params.values().next();
        first.map_or(Device::Cpu, |param| param.var().device().clone())
    }

    /// Number of trainable scalars.
    pub fn n_elements(&self) -> usize {
        self.params.values().map(|p| p.var.elem_count()).sum()
    }

    /// Adds the gradients that candle computed for parameters to their buffers.
    ///
    /// A [`crate::Net`] writes its gradients there itself, and `grads` has none of them; for a
    /// network of candle's own operations it has all.
    ///
    /// # Errors
    /// When candle cannot allocate.
    pub fn take_up(&self, grads: &GradStore) -> Result<()> {
        let pairs = self.params.values().map(|param| (param, grads.get(param.var())));
        for (param, grad) in pairs {
            grad.map_or(Ok(()), |grad| param.grad.add(grad))?;
        }
        Ok(())
    }

    /// The parameter whose gradient goes to `grad`, with its name.
    pub fn of_grad(&self, grad: &Arc<Grad>) -> Option<(&str, &Param)> {
        self.iter().find(|(_, param)| Arc::ptr_eq(&param.grad, grad))
    }

    /// Whether any parameter has a gradient.
    pub fn have_grads(&self) -> bool {
        self.params.values().any(|param| param.grad.get().is_some())
    }

    /// Forgets all gradients.
    pub fn clear_grads(&self) {
        self.params.values().for_each(|p| p.grad.clear());
    }

    /// Every parameter and buffer, in the order of the names.
    fn vars(&self) -> BTreeMap<&str, &Var> {
        let params = self.params.iter().map(|(name, param)| (name.as_str(), &param.var));
        params.chain(self.buffers.iter().map(|(name, var)| (name.as_str(), var))).collect()
    }

    /// The values of parameters and buffers, as constants that share memory with them.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        let vars = self.vars().into_iter();
        vars.map(|(name, var)| (name.to_owned(), var.as_detached_tensor())).collect()
    }

    /// Sets every parameter and buffer from `values`; all or nothing.
    ///
    /// # Errors
    /// [`Error::Config`] for a missing or an extra name, [`Error::Shape`] for another shape;
    /// nothing has changed then.
    pub fn load(&self, values: &BTreeMap<String, Tensor>) -> Result<()> {
        let vars = self.vars();
        for name in values.keys() {
            if !vars.contains_key(name.as_str()) {
                return Err(Error::config(name, "the network has no parameter of this name"));
            }
        }
        let pairs = vars.into_iter().map(|(name, var)| Ok((var, checked(name, var, values)?)));
        for (var, value) in pairs.collect::<Result<Vec<_>>>()? {
            var.set(value)?;
        }
        Ok(())
    }
}

fn check_f32(name: &str, var: &Var) -> Result<()> {
    if var.dtype() == DType::F32 {
        return Ok(());
    }
    let reason = format!("is {:?}; networks are trained in f32", var.dtype());
    Err(Error::config(name, reason))
}

fn checked<'v>(name: &str, var: &Var, values: &'v BTreeMap<String, Tensor>) -> Result<&'v Tensor> {
    let value =
        values.get(name).ok_or_else(|| Error::config(name, "the weights lack this parameter"))?;
    if value.dims() != var.dims() {
        return Err(Error::shape(name, format!("{:?}", var.dims()), value.dims()));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    fn two() -> Params {
        let mut params = Params::default();
        params.insert("a", &tensor(&[1.0, 2.0])).unwrap();
        params.insert("b", &tensor(&[3.0, 4.0])).unwrap();
        params
    }

    fn grad(params: &Params, name: &str) -> Option<Vec<f32>> {
        params.get(name).unwrap().grad().get().map(|grad| grad.to_vec1().unwrap())
    }

    #[test]
    fn gradients_of_candle_are_added_up() {
        let params = two();
        let var = |name| params.get(name).unwrap().var();
        // d/da sum(a b) = b, and d/da sum(a a) = 2 a.
        let product = (var("a").as_tensor() * var("b").as_tensor()).unwrap().sum_all().unwrap();
        params.take_up(&product.backward().unwrap()).unwrap();
        assert_eq!(grad(&params, "a"), Some(vec![3.0, 4.0]));
        assert_eq!(grad(&params, "b"), Some(vec![1.0, 2.0]));
        let square = var("a").sqr().unwrap().sum_all().unwrap();
        params.take_up(&square.backward().unwrap()).unwrap();
        assert_eq!(grad(&params, "a"), Some(vec![5.0, 8.0]));
        params.clear_grads();
        assert!(!params.have_grads());
        params.take_up(&square.backward().unwrap()).unwrap();
        assert_eq!((grad(&params, "a"), grad(&params, "b")), (Some(vec![2.0, 4.0]), None));
        assert!(params.have_grads());
    }

    #[test]
    fn a_gradient_of_another_shape_is_refused() {
        let params = two();
        let result = params.get("a").unwrap().grad().add(&tensor(&[1.0]));
        assert!(matches!(result, Err(Error::Shape { .. })));
        assert!(!params.have_grads());
    }

    #[test]
    fn variables_of_others_are_shared_once_and_in_f32() {
        let mut params = two();
        let var = Var::from_tensor(&tensor(&[5.0])).unwrap();
        params.insert_var("c", var.clone()).unwrap();
        var.set(&tensor(&[6.0])).unwrap();
        assert_eq!(params.tensors()["c"].to_vec1::<f32>().unwrap(), [6.0]);
        assert!(params.insert_var("c", var.clone()).is_err());
        assert!(params.insert_buffer_var("a", var).is_err());
        let wide = Var::zeros(1, DType::F64, &Device::Cpu).unwrap();
        let error = params.insert_var("d", wide).unwrap_err().to_string();
        assert_eq!(error, "`d`: is F64; networks are trained in f32");
    }
}
