//! How much a file may describe, counted before anything of it is allocated: an empty message has two
//! bytes in the file and hundreds in memory.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::constant::Checked;

/// The most fields of all messages but tensors; large networks have some ten thousands.
const MAX_FIELDS: usize = 1 << 20;

/// Messages whose fields are counted.
#[derive(Clone, Copy)]
enum Level {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    /// Types of inputs and outputs; every byte counts as a field.
    Described,
}

impl Level {
    /// What the field `tag` is.
    fn inner(self, tag: u32) -> Option<Self> {
        match (self, tag) {
            (Self::Model, 7) => Some(Self::Graph),
            (Self::Model, 8 | 14) | (Self::Graph, 11 | 12) => Some(Self::Described),
            (Self::Graph, 1) => Some(Self::Node),
            (Self::Graph, 5) | (Self::Attribute, 5) => Some(Self::Tensor),
            (Self::Node, 5) => Some(Self::Attribute),
            (Self::Tensor, 13) => Some(Self::Described),
            _ => None,
        }
    }
}

/// Refuses a model with more messages than any network has.
pub(super) fn check(model: &[u8]) -> Checked<()> {
    let mut left = MAX_FIELDS;
    walk(model, Level::Model, &mut left)
}

fn walk(mut message: &[u8], level: Level, left: &mut usize) -> Checked<()> {
    while !message.is_empty() {
        let (tag, wire_type) = decode_key(&mut message).map_err(|e| e.to_string())?;
        spend(left, 1)?;
        if wire_type != WireType::LengthDelimited {
            let context = DecodeContext::default();
            skip_field(wire_type, tag, &mut message, context).map_err(|e| e.to_string())?;
            continue;
        }
        let n = decode_varint(&mut message).map_err(|e| e.to_string())?;
        let n = usize::try_from(n).ok().filter(|n| *n <= message.len());
        let (field, rest) = message.split_at(n.ok_or("a message is cut short")?);
        message = rest;
        match level.inner(tag) {
            Some(Level::Described) => spend(left, field.len())?,
            Some(inner) => walk(field, inner, left)?,
            None => {}
        }
    }
    Ok(())
}

fn spend(left: &mut usize, n: usize) -> Checked<()> {
    *left = left.checked_sub(n).ok_or("describes more than any network has")?;
    Ok(())
}
