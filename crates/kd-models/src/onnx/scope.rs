//! An operator together with all that is known of its inputs.

use std::collections::BTreeMap;

use super::constant::{Checked, Constant};
use super::model::{Attribute, Node};

/// Shapes and numbers, by the names of values, for images of one batch size.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) constants: BTreeMap<String, Constant>,
    /// Shapes of what depends on the images, with the batch as first axis.
    pub(super) dims: BTreeMap<String, Vec<usize>>,
}

/// One operator and what is known.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) node: &'a Node,
    pub(super) known: &'a Known,
    pub(super) opset: i64,
}

impl<'a> Scope<'a> {
    /// Name of the value that input `i` is; nothing where it is left out.
    pub(super) fn input(&self, i: usize) -> Option<&'a str> {
        self.node.inputs.get(i).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Input `i`, where it is known.
    pub(super) fn constant(&self, i: usize) -> Option<&'a Constant> {
        self.known.constants.get(self.input(i)?)
    }

    /// Input `i`, which must be known before any image is.
    pub(super) fn needed(&self, i: usize) -> Checked<&'a Constant> {
        let unknown = || format!("input {i} must be a constant, or follow from shapes alone");
        self.constant(i).ok_or_else(unknown)
    }

    /// Shape of input `i`.
    pub(super) fn dims(&self, i: usize) -> Checked<&'a [usize]> {
        let name = self.input(i).ok_or_else(|| format!("lacks input {i}"))?;
        let constant = || self.known.constants.get(name).map(|constant| &constant.dims);
        let dims = self.known.dims.get(name).or_else(constant);
        dims.map(Vec::as_slice).ok_or_else(|| format!("the shape of `{name}` is not known"))
    }

    /// Shape of the first input, an image.
    pub(super) fn image(&self) -> Checked<&'a [usize; 4]> {
        let x = self.dims(0)?;
        x.try_into().map_err(|_| format!("of {x:?}; images of 4 axes are supported"))
    }

    /// Shape of the output, where it depends on the images.
    pub(super) fn output_dims(&self) -> Checked<&'a [usize]> {
        let name = self.node.outputs.first().ok_or("has no output")?;
        let dims = self.known.dims.get(name).map(Vec::as_slice);
        dims.ok_or_else(|| format!("the shape of `{name}` is not known"))
    }

    fn attribute(&self, name: &str) -> Option<&'a Attribute> {
        self.node.attributes.get(name)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> Checked<i64> {
        match self.attribute(name) {
            None => Ok(default),
            Some(Attribute::Int(value)) => Ok(*value),
            Some(_) => Err(format!("attribute `{name}` is no integer")),
        }
    }

    pub(super) fn float(&self, name: &str, default: f32) -> Checked<f32> {
        match self.attribute(name) {
            None => Ok(default),
            Some(Attribute::Float(value)) => Ok(*value),
            Some(_) => Err(format!("attribute `{name}` is no floating-point number")),
        }
    }

    pub(super) fn text(&self, name: &str, default: &'a str) -> Checked<&'a str> {
        match self.attribute(name) {
            None => Ok(default),
            Some(Attribute::Text(value)) => Ok(value),
            Some(_) => Err(format!("attribute `{name}` is no text")),
        }
    }

    pub(super) fn ints(&self, name: &str) -> Checked<Option<&'a [i64]>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Ints(values)) => Ok(Some(values)),
            Some(_) => Err(format!("attribute `{name}` is no list of integers")),
        }
    }

    /// Integers that are an attribute in some opsets and input `i` in others.
    pub(super) fn ints_or_input(&self, name: &str, i: usize) -> Checked<Option<&'a [i64]>> {
        match self.input(i) {
            Some(_) => self.needed(i)?.as_ints().map(Some),
            None => self.ints(name),
        }
    }

    /// A number that is an attribute in some opsets and input `i` in others.
    pub(super) fn float_or_input(&self, name: &str, i: usize, default: f32) -> Checked<f32> {
        match self.input(i) {
            Some(_) => {
                self.needed(i)?.scalar().ok_or_else(|| format!("input {i} is no single number"))
            }
            None => self.float(name, default),
        }
    }

    /// Refuses a value of an attribute other than `only`.
    pub(super) fn only_int(&self, name: &str, only: i64) -> Checked<()> {
        match self.int(name, only)? {
            value if value == only => Ok(()),
            value => Err(format!("attribute `{name}` is {value}; {only} is supported")),
        }
    }

    /// Sizes such as those of a kernel: two, at least `least`; `default` where they are left out.
    pub(super) fn pair(&self, name: &str, default: usize, least: usize) -> Checked<[usize; 2]> {
        let Some(values) = self.ints(name)? else { return Ok([default; 2]) };
        let pair: Option<Vec<usize>> = values.iter().map(|v| usize::try_from(*v).ok()).collect();
        match pair.as_deref() {
            Some(&[a, b]) if a >= least && b >= least => Ok([a, b]),
            _ => Err(format!("attribute `{name}` is {values:?}; two sizes are supported")),
        }
    }
}
