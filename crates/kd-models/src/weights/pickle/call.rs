//! What names mean that a pickle uses, and what becomes of calls of them.

use super::machine::Machine;
use super::value::{Class, Id, Object, Value, text};
use crate::weights::checked::Checked;

/// Elements of a tuple of arguments that are looked at.
const MAX_ARGUMENTS: usize = 9;
/// An object of more attributes is none that holds weights.
const MAX_ATTRIBUTES: usize = 1000;
/// Attributes that every `torch.nn.Module` has.
const PARAMETERS: &str = "_parameters";

impl Machine<'_> {
    /// Pushes what a module and a name stand for.
    pub(super) fn global(&mut self, opcode: u8) -> Checked<()> {
        let (module, name) = match opcode {
            b'c' => self.lines()?,
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                (module, name)
            }
            _ => {
                self.take(1 << (opcode - 0x82))?;
                let text = |text: &str| Value::Text(text.into());
                (self.keep(text("copyreg")), self.keep(text("extension")))
            }
        };
        let (Some(m), Some(n)) = (text(&self.values, module), text(&self.values, name)) else {
            return Err("a name that is no text".into());
        };
        let value = Class::from_name(m, n).map_or(Value::Global(module, name), Value::Class);
        self.push(value);
        Ok(())
    }

    /// Two lines, as values.
    fn lines(&mut self) -> Checked<(Id, Id)> {
        let line = |machine: &mut Self| -> Checked<Id> {
            let line = String::from_utf8_lossy(machine.line()?).into_owned();
            Ok(machine.keep(Value::Text(line)))
        };
        Ok((line(self)?, line(self)?))
    }

    /// Pushes what a call of a class or function stands for; nothing is called.
    pub(super) fn make(&mut self, opcode: u8) -> Checked<()> {
        match opcode {
            b'R' => {
                let (arguments, class) = (self.pop()?, self.pop()?);
                let arguments = self.items(arguments)?;
                self.call(class, &arguments)
            }
            b'i' => {
                self.global(b'c')?;
                let class = self.pop()?;
                let arguments = self.pop_to_mark()?;
                self.call(class, &arguments)
            }
            b'o' => match self.pop_to_mark()?[..] {
                [class, ref arguments @ ..] => self.call(class, arguments),
                [] => Err("an object of no class".into()),
            },
            _ => {
                if opcode == 0x92 {
                    self.pop()?;
                }
                let (_, class) = (self.pop()?, self.pop()?);
                self.instance(class);
                Ok(())
            }
        }
    }

    fn call(&mut self, class: Id, arguments: &[Id]) -> Checked<()> {
        let Value::Class(known) = self.values[class as usize] else {
            self.object(class);
            return Ok(());
        };
        match (known, arguments) {
            (Class::Dict | Class::DefaultDict, []) | (Class::DefaultDict, [_]) => {
                self.push(Value::Dict(Vec::new()));
            }
            (Class::Dict, [pairs]) | (Class::DefaultDict, [_, pairs]) => self.dict(*pairs)?,
            (Class::Size, [tuple]) | (Class::Parameter, [tuple, ..]) => self.stack.push(*tuple),
            (Class::Tensor | Class::TypedTensor, _) => self.tensor(known, arguments)?,
            (Class::Subclass, [function, _, inner, ..]) => self.subclass(*function, *inner)?,
            (Class::Special(what), _) => {
                self.pay(1)?;
                self.push(Value::NoTensor(what.into()));
            }
            (Class::Instance, [class, ..]) => self.instance(*class),
            _ => self.object(class),
        }
        Ok(())
    }

    fn object(&mut self, class: Id) {
        self.push(Value::Object(Object { class, items: Vec::new(), is_network: false }));
    }

    /// An object of `class` before its attributes are set.
    fn instance(&mut self, class: Id) {
        match self.values[class as usize] {
            Value::Class(Class::Dict | Class::DefaultDict) => {
                self.push(Value::Dict(Vec::new()));
            }
            _ => self.object(class),
        }
    }

    /// A tensor of a class of its own: `function` makes it of the arguments `inner`.
    fn subclass(&mut self, function: Id, inner: Id) -> Checked<()> {
        let nested = matches!(self.values[function as usize], Value::Class(Class::Subclass));
        match self.values[function as usize] {
            Value::Class(_) if !nested => {
                let arguments = self.items(inner)?;
                self.call(function, &arguments)
            }
            _ => {
                let reason = "a tensor of a class of its own; save a plain copy of it";
                self.push(Value::NoTensor(reason.into()));
                Ok(())
            }
        }
    }

    /// A copy of a short tuple, or of the first elements of a long one.
    pub(super) fn items(&self, id: Id) -> Checked<Vec<Id>> {
        match &self.values[id as usize] {
            Value::Tuple(items) => Ok(items[..items.len().min(MAX_ARGUMENTS)].to_vec()),
            _ => Err("a tuple should be here".into()),
        }
    }

    /// `OrderedDict([(key, value), ...])`, as Python 2 writes it, or `Counter({...})`.
    fn dict(&mut self, content: Id) -> Checked<()> {
        let n = match &self.values[content as usize] {
            Value::List(list) | Value::Tuple(list) => list.len(),
            Value::Dict(dict) => dict.len(),
            _ => return Err("pairs should be here".into()),
        };
        self.pay(n)?;
        let dict = match &self.values[content as usize] {
            Value::Dict(dict) => dict.clone(),
            Value::List(list) | Value::Tuple(list) => {
                list.iter().map(|id| self.pair(*id)).collect::<Checked<_>>()?
            }
            _ => Vec::new(),
        };
        self.push(Value::Dict(dict));
        Ok(())
    }

    fn pair(&self, id: Id) -> Checked<(Id, Id)> {
        match &self.values[id as usize] {
            Value::Tuple(pair) | Value::List(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            _ => Err("a pair should be here".into()),
        }
    }

    /// Attributes of an object; those of what has elements by name only repeat them.
    pub(super) fn build(&mut self) -> Checked<()> {
        let state = self.pop()?;
        let pairs = match &self.values[state as usize] {
            Value::Dict(pairs) if pairs.len() <= MAX_ATTRIBUTES => pairs.clone(),
            _ => return Ok(()),
        };
        self.pay(pairs.len())?;
        let is_name = |(key, _): &(Id, Id)| text(&self.values, *key) == Some(PARAMETERS);
        let is_module = pairs.iter().take(64).any(is_name);
        if let Value::Object(object) = self.top()? {
            object.is_network |= is_module;
            if object.items.is_empty() {
                object.items = pairs;
            }
        }
        Ok(())
    }
}
