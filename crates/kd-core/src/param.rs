//! Named parameters and the buffers that receive their gradients.
//!
//! Key decision: a parameter's gradient is written by the layer's backward straight into a buffer
//! that lives as long as the parameter. candle's own `GradStore` allocates, zeroes and adds two
//! more tensors of the parameter's size per step, which costs an MLP about as much as its matrix
//! products.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{Device, Tensor, Var};

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
    buffer: Tensor,
    filled: AtomicBool,
}

impl Grad {
    /// A buffer for the gradient of `tensor`.
    pub(crate) fn like(tensor: &Tensor) -> Result<Self> {
        Ok(Self { buffer: tensor.zeros_like()?.detach(), filled: AtomicBool::new(false) })
    }

    /// The sum of the gradients since the last [`Grad::clear`], or nothing if there was none.
    pub fn get(&self) -> Option<&Tensor> {
        self.filled.load(Ordering::Acquire).then_some(&self.buffer)
    }

    /// Forgets the gradient; the next one overwrites the buffer.
    pub fn clear(&self) {
        self.filled.store(false, Ordering::Release);
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

    /// Where the parameters are; the CPU for a network without any.
    pub fn device(&self) -> Device {
        let first = self.params.values().next();
        first.map_or(Device::Cpu, |param| param.var().device().clone())
    }

    /// Number of trainable scalars.
    pub fn n_elements(&self) -> usize {
        self.params.values().map(|p| p.var.elem_count()).sum()
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

fn checked<'v>(name: &str, var: &Var, values: &'v BTreeMap<String, Tensor>) -> Result<&'v Tensor> {
    let value =
        values.get(name).ok_or_else(|| Error::config(name, "the weights lack this parameter"))?;
    if value.dims() != var.dims() {
        return Err(Error::shape(name, format!("{:?}", var.dims()), value.dims()));
    }
    Ok(value)
}
