//! From the values of a pickle to named tensors, and words for all that is none.

use std::collections::BTreeSet;

use super::checked::Checked;
use super::classes;
use super::pickle::{Id, Object, Pickle, Storage, Tensor, Value};
use super::stored::{Places, Stored};
use super::tree::{Dict, Node, check_name};

/// Named values of a file, those within nested dictionaries included.
const MAX_NODES: usize = 100_000;
/// Bytes of all their names.
const MAX_NAMES: usize = 8 << 20;
/// Dictionaries within each other.
const MAX_DEPTH: usize = 16;
/// A longer dictionary without tensors is a table of something else, and not listed.
const MAX_TABLE: usize = 1000;
/// A longer list is not listed.
const MAX_LIST: usize = 64;
/// Characters that are shown of a text, and of a name that is none of a tensor.
const SHOWN: usize = 40;

/// The named values of a pickle.
pub(super) fn tree(pickle: &Pickle, places: &Places) -> Checked<Node> {
    let opened = BTreeSet::new();
    let mut builder = Builder { pickle, places, n_nodes: 0, n_name_bytes: 0, opened };
    builder.node(pickle.root, 0)
}

struct Builder<'a> {
    pickle: &'a Pickle,
    places: &'a Places,
    n_nodes: usize,
    n_name_bytes: usize,
    /// Objects that have been listed: they may refer to each other.
    opened: BTreeSet<Id>,
}

impl Builder<'_> {
    /// Value `id`, `depth` dictionaries deep.
    fn node(&mut self, id: Id, depth: usize) -> Checked<Node> {
        self.n_nodes += 1;
        if self.n_nodes > MAX_NODES || self.n_name_bytes > MAX_NAMES {
            return Err(format!("more than {MAX_NODES} values or {MAX_NAMES} bytes of names"));
        }
        match self.pickle.get(id) {
            // One that cannot be read does no harm where nobody asks for it.
            Value::Tensor(tensor) => Ok(self.tensor(tensor).map_or_else(Node::Other, Node::Tensor)),
            Value::Dict(pairs) if depth < MAX_DEPTH && !self.is_table(pairs) => {
                self.dict(pairs, depth)
            }
            Value::List(items) | Value::Tuple(items)
                if depth < MAX_DEPTH && self.is_listed(items) =>
            {
                self.list(items, depth)
            }
            plain @ (Value::None
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)) => Ok(Node::Plain(describe(self.pickle, plain))),
            Value::Object(object) if object.is_network => {
                Ok(Node::Network(self.pickle.name(object.class)))
            }
            Value::Object(object) if depth < MAX_DEPTH && self.opens(id, &object.items) => {
                self.dict(&object.items, depth)
            }
            other => Ok(Node::Other(describe(self.pickle, other))),
        }
    }

    fn is_table(&self, pairs: &[(Id, Id)]) -> bool {
        let holds = |(_, value): &(Id, Id)| {
            matches!(self.pickle.get(*value), Value::Tensor(_) | Value::Dict(_))
        };
        pairs.len() > MAX_TABLE && !pairs.iter().any(holds)
    }

    /// Whether an object has tensors, or what has some, by name.
    fn opens(&mut self, id: Id, items: &[(Id, Id)]) -> bool {
        let pickle = self.pickle;
        let is_tensor = |id: Id| matches!(pickle.get(id), Value::Tensor(_));
        let holds = |id: Id| match pickle.get(id) {
            Value::Dict(pairs) | Value::Object(Object { items: pairs, .. }) => {
                pairs.iter().take(MAX_LIST).any(|(_, value)| is_tensor(*value))
            }
            _ => is_tensor(id),
        };
        items.iter().take(MAX_TABLE).any(|(_, value)| holds(*value)) && self.opened.insert(id)
    }

    /// Whether there is something in a list that may be weights.
    fn is_listed(&self, items: &[Id]) -> bool {
        let holds = |item: &Id| matches!(self.pickle.get(*item), Value::Tensor(_) | Value::Dict(_));
        items.len() <= MAX_LIST && items.iter().any(holds)
    }

    /// A list, whose elements have their numbers as names.
    fn list(&mut self, items: &[Id], depth: usize) -> Checked<Node> {
        let node = |(i, item): (usize, &Id)| Ok((i.to_string(), self.node(*item, depth + 1)?));
        Ok(Node::Dict(items.iter().enumerate().map(node).collect::<Checked<_>>()?))
    }

    fn dict(&mut self, pairs: &[(Id, Id)], depth: usize) -> Checked<Node> {
        let mut dict = Dict::new();
        let is_text = |(key, _): &&(Id, Id)| matches!(self.pickle.get(*key), Value::Text(_));
        let (texts, others): (Vec<&(Id, Id)>, Vec<_>) = pairs.iter().partition(is_text);
        // Texts keep their names, whatever else is written in the same way.
        for &(key, value) in texts.into_iter().chain(others) {
            let name = self.name(key, &dict)?;
            self.n_name_bytes += name.len();
            let node = match classes::names(self.pickle, &name, value) {
                Some(names) => self.classes(names),
                None => self.node(value, depth + 1)?,
            };
            dict.insert(name, node);
        }
        Ok(Node::Dict(dict))
    }

    fn classes(&mut self, names: Vec<String>) -> Node {
        self.n_nodes += names.len();
        self.n_name_bytes += names.iter().map(String::len).sum::<usize>();
        Node::Classes(names)
    }

    /// What a key of a dictionary is called, unlike the others.
    fn name(&self, key: Id, others: &Dict) -> Checked<String> {
        let name = match self.pickle.get(key) {
            Value::Text(text) if check_name(text).is_ok() => {
                return match others.contains_key(text) {
                    true => Err(format!("the name `{text}` twice")),
                    false => Ok(text.clone()),
                };
            }
            Value::Text(text) => format!("{}...", shown(text)),
            Value::Int(n) => n.to_string(),
            other => format!("({})", describe(self.pickle, other)),
        };
        let numbered = format!("{name} #{}", others.len());
        let free = [name, numbered].into_iter().find(|name| !others.contains_key(name));
        free.ok_or_else(|| "names that cannot be told apart".into())
    }

    fn tensor(&self, tensor: &Tensor) -> Checked<Stored> {
        let Storage { dtype, key, n_elements } = tensor.storage;
        let key = check_name(self.pickle.text(key).ok_or("a storage without a name")?)?;
        let span = *self.places.get(key).ok_or_else(|| format!("storage `{key}` is missing"))?;
        if n_elements.checked_mul(dtype.size()) != Some(span.n_bytes) {
            return Err(format!(
                "storage `{key}` has {} bytes, but {n_elements} numbers of type {dtype} are \
                 expected",
                span.n_bytes
            ));
        }
        let layout = (tensor.shape.clone(), tensor.strides.clone());
        let stored = Stored::strided(tensor.dtype, layout, tensor.first, span)?;
        Ok(stored.negated(tensor.is_negative))
    }
}

/// A value in a few words.
fn describe(pickle: &Pickle, value: &Value) -> String {
    match value {
        Value::None => "none".into(),
        Value::Bool(x) => format!("bool {x}"),
        Value::Int(x) => format!("int {x}"),
        Value::Float(x) => format!("float {x}"),
        Value::Text(x) => format!("text \"{}\"", shown(x)),
        Value::Tuple(x) => format!("tuple of {}", x.len()),
        Value::List(x) => format!("list of {}", x.len()),
        Value::Dict(x) => format!("dict of {}", x.len()),
        Value::Plain(what) => (*what).into(),
        Value::Class(_) => "class".into(),
        Value::Global(module, name) => match (pickle.text(*module), pickle.text(*name)) {
            (Some("torch"), Some(dtype)) => format!("torch.{}", shown(dtype)),
            (Some(module), Some(name)) => {
                format!("name {}.{}, not loaded", shown(module), shown(name))
            }
            _ => "name, not loaded".into(),
        },
        Value::Object(object) => format!("object {}, not loaded", pickle.name(object.class)),
        Value::Storage(x) => format!("storage of {} {}", x.n_elements, x.dtype),
        Value::Tensor(x) => format!("tensor {:?}", x.shape),
        Value::NoTensor(reason) => reason.clone(),
    }
}

/// The start of a text, printable.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect::<String>().escape_debug().to_string()
}
