//! What the few names mean that a pickle may use, and its references to storages.

use super::machine::Machine;
use super::value::{Class, Id, Storage, Tensor, Value};
use crate::weights::checked::Checked;

/// Bytes of the name of a module or class.
const MAX_NAME: usize = 256;
/// Elements of a tuple of arguments.
const MAX_ARGUMENTS: usize = 8;

impl Machine<'_> {
    pub(super) fn class(&mut self) -> Checked<()> {
        let (module, name) = (self.line()?, self.line()?);
        let class = Class::from_name(&module, &name).ok_or_else(|| {
            let whole = format!("{module}.{name}").escape_debug().to_string();
            format!("refuses to load `{whole}`: nothing was run; save model.state_dict() alone")
        })?;
        self.push(Value::Class(class));
        Ok(())
    }

    fn line(&mut self) -> Checked<String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let n = rest.iter().take(MAX_NAME).position(|byte| *byte == b'\n');
        let n = n.ok_or("a class name that does not end")?;
        let line = String::from_utf8_lossy(&rest[..n]).into_owned();
        self.at += n + 1;
        Ok(line)
    }

    pub(super) fn reduce(&mut self) -> Checked<()> {
        let (arguments, class) = (self.pop()?, self.pop()?);
        let arguments = self.items(arguments)?;
        let Value::Class(class) = self.values[class as usize] else {
            return Err("a call of what is no class".into());
        };
        match (class, &arguments[..]) {
            (Class::OrderedDict, []) => self.push(Value::Dict(Vec::new())),
            (Class::OrderedDict, [pairs]) => self.ordered_dict(*pairs)?,
            (Class::Size, [tuple]) => self.stack.push(*tuple),
            (Class::Parameter, [tensor, ..]) => self.stack.push(*tensor),
            (Class::Tensor, [storage, first, shape, strides, ..]) => {
                self.tensor(*storage, *first, *shape, *strides)?;
            }
            _ => return Err(format!("{class:?} with {} arguments", arguments.len())),
        }
        Ok(())
    }

    /// A copy of a short tuple.
    fn items(&self, id: Id) -> Checked<Vec<Id>> {
        match &self.values[id as usize] {
            Value::Tuple(items) if items.len() <= MAX_ARGUMENTS => Ok(items.clone()),
            Value::Tuple(items) => Err(format!("{} values, too many", items.len())),
            _ => Err("a tuple should be here".into()),
        }
    }

    /// `OrderedDict([(key, value), ...])`, as Python 2 writes it.
    fn ordered_dict(&mut self, pairs: Id) -> Checked<()> {
        let n = self.list(pairs)?.len();
        self.pay(n)?;
        let dict = self.list(pairs)?.iter().map(|id| self.pair(*id)).collect::<Checked<_>>()?;
        self.push(Value::Dict(dict));
        Ok(())
    }

    fn list(&self, id: Id) -> Checked<&[Id]> {
        match &self.values[id as usize] {
            Value::List(list) => Ok(list),
            _ => Err("a list should be here".into()),
        }
    }

    fn pair(&self, id: Id) -> Checked<(Id, Id)> {
        match &self.values[id as usize] {
            Value::Tuple(pair) | Value::List(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            _ => Err("a pair should be here".into()),
        }
    }

    fn tensor(&mut self, storage: Id, first: Id, shape: Id, strides: Id) -> Checked<()> {
        let Value::Storage(storage) = self.values[storage as usize] else {
            return Err("a tensor of what is no storage".into());
        };
        let first = self.size(first)? as u64;
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        self.push(Value::Tensor(Box::new(Tensor { storage, first, shape, strides })));
        Ok(())
    }

    fn sizes(&self, id: Id) -> Checked<Vec<usize>> {
        self.items(id)?.into_iter().map(|item| self.size(item)).collect()
    }

    fn size(&self, id: Id) -> Checked<usize> {
        match self.values[id as usize] {
            Value::Int(n) => usize::try_from(n).map_err(|_| format!("a size of {n}")),
            _ => Err("a size that is no integer".into()),
        }
    }

    /// Attributes of a dictionary (`_metadata` of a state_dict), which say nothing to us.
    pub(super) fn build(&mut self) -> Checked<()> {
        self.pop()?;
        match self.top()? {
            Value::Dict(_) => Ok(()),
            _ => Err("attributes for what is no dictionary".into()),
        }
    }

    /// `("storage", class, key, location, number of elements[, view])`.
    pub(super) fn storage(&mut self) -> Checked<()> {
        let id = self.pop()?;
        let items = self.items(id)?;
        let is =
            |id: Id, text: &str| matches!(&self.values[id as usize], Value::Text(t) if t == text);
        match items[..] {
            [tag, ..] if is(tag, "module") => {
                Err("a whole network with its code; save model.state_dict() instead".into())
            }
            [tag, class, key, _, n, ref view @ ..] if is(tag, "storage") && view.len() <= 1 => {
                let Value::Class(Class::Storage(dtype)) = self.values[class as usize] else {
                    return Err("a storage of no known class".into());
                };
                if view.iter().any(|id| !matches!(self.values[*id as usize], Value::None)) {
                    return Err("a view of a storage, which no torch since 0.4 writes".into());
                }
                let n_elements = self.size(n)? as u64;
                self.push(Value::Storage(Storage { dtype, key, n_elements }));
                Ok(())
            }
            _ => Err("a reference to what is no storage".into()),
        }
    }
}
