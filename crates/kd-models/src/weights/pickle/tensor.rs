//! Tensors as views of storages, which lie outside the pickle.

use super::machine::Machine;
use super::value::{Class, Id, Storage, Tensor, Value, name, text};
use crate::weights::Dtype;
use crate::weights::checked::Checked;

/// Steps that a tensor costs, which takes more memory than other values.
const COST: usize = 8;
/// Dimensions that are looked at: more than any tensor has.
const MAX_DIMS: usize = 16;

impl Machine<'_> {
    /// `("storage", class, key, location, number of elements[, view])`, or a module with its source,
    /// which is as good as the module.
    pub(super) fn storage(&mut self) -> Checked<()> {
        self.pay(COST)?;
        let id = self.pop()?;
        let items = self.items(id).unwrap_or_default();
        let is = |id: Id, word: &str| text(&self.values, id) == Some(word);
        match items[..] {
            [tag, class, ..] if is(tag, "module") => self.stack.push(class),
            [tag, class, key, _, n, ref view @ ..] if is(tag, "storage") => {
                let is_whole =
                    view.iter().all(|id| matches!(self.values[*id as usize], Value::None));
                let value = match (&self.values[class as usize], self.size(n)) {
                    (Value::Class(Class::Storage(dtype)), Ok(n)) if is_whole => {
                        Value::Storage(Storage { dtype: *dtype, key, n_elements: n as u64 })
                    }
                    (Value::Class(Class::Storage(_)), Ok(_)) => Value::Plain("view of a storage"),
                    (_, Err(reason)) => return Err(reason),
                    _ => Value::NoTensor(format!("numbers of `{}`", name(&self.values, class))),
                };
                self.push(value);
            }
            _ => {
                self.push(Value::Plain("reference"));
            }
        }
        Ok(())
    }

    /// Pushes a tensor, or why it is none.
    pub(super) fn tensor(&mut self, class: Class, arguments: &[Id]) -> Checked<()> {
        self.pay(COST)?;
        let value = match self.view(class, arguments) {
            Ok(tensor) => Value::Tensor(Box::new(tensor)),
            Err(reason) => Value::NoTensor(reason),
        };
        self.push(value);
        Ok(())
    }

    /// `(storage, first, shape, strides, requires_grad, hooks[, dtype][, metadata])`.
    fn view(&self, class: Class, arguments: &[Id]) -> Checked<Tensor> {
        let [storage, first, shape, strides, ref rest @ ..] = *arguments else {
            return Err("a tensor of too few values".into());
        };
        let storage = match &self.values[storage as usize] {
            Value::Storage(storage) => *storage,
            Value::NoTensor(reason) => return Err(reason.clone()),
            Value::Plain("reference") => {
                return Err("numbers that pickle protocol 0 cannot refer to; save it again".into());
            }
            _ => return Err("a tensor of what is no storage".into()),
        };
        let (dtype, metadata) = match (class, rest) {
            (Class::TypedTensor, [_, _, dtype, metadata @ ..]) => {
                (self.dtype(*dtype)?, metadata.first())
            }
            (Class::TypedTensor, _) => return Err("a tensor of no type".into()),
            (_, rest) => (storage.dtype, rest.get(2)),
        };
        Ok(Tensor {
            storage,
            dtype,
            first: self.size(first)? as u64,
            shape: self.sizes(shape)?,
            strides: self.sizes(strides)?,
            is_negative: metadata.map_or(Ok(false), |id| self.is_negative(*id))?,
        })
    }

    fn dtype(&self, id: Id) -> Checked<Dtype> {
        let known = match self.values[id as usize] {
            Value::Global(module, name) if text(&self.values, module) == Some("torch") => {
                text(&self.values, name).and_then(Dtype::from_torch)
            }
            _ => None,
        };
        known.ok_or_else(|| format!("numbers of type `{}`", name(&self.values, id)))
    }

    /// Whether `{"neg": true}` is said of a tensor; `conj` says nothing of real numbers.
    fn is_negative(&self, metadata: Id) -> Checked<bool> {
        let pairs = match &self.values[metadata as usize] {
            Value::Dict(pairs) => &pairs[..],
            Value::None => &[],
            _ => return Err("a tensor with what is unknown about it".into()),
        };
        let mut is_negative = false;
        for (key, value) in pairs {
            match (text(&self.values, *key), &self.values[*value as usize]) {
                (Some("neg"), Value::Bool(is)) => is_negative = *is,
                (Some("conj"), Value::Bool(_)) => {}
                _ => return Err("a tensor with what is unknown about it".into()),
            }
        }
        Ok(is_negative)
    }

    fn sizes(&self, id: Id) -> Checked<Vec<usize>> {
        let items = match &self.values[id as usize] {
            Value::List(items) | Value::Tuple(items) => &items[..items.len().min(MAX_DIMS)],
            _ => return Err("a shape that is no tuple".into()),
        };
        items.iter().map(|item| self.size(*item)).collect()
    }

    fn size(&self, id: Id) -> Checked<usize> {
        match self.values[id as usize] {
            Value::Int(n) => usize::try_from(n).map_err(|_| format!("a size of {n}")),
            _ => Err("a size that is no integer".into()),
        }
    }
}
