//! A pickle machine that knows data only: what `torch.save` writes (pickle protocol 2), and no
//! opcode that imports, calls or builds anything else.
//!
//! Python's own machine calls whatever function a pickle names; here the few names that a
//! checkpoint of weights needs (`Class`) have a fixed meaning and every other one is refused.
//!
//! Memory is bounded by the number of steps that [`machine`] allows: an opcode makes at most one
//! value, one entry of the stack and one of the memo; values refer to each other by number, so
//! that a value used a thousand times is stored once; and what copies more (a list of pairs into
//! a dictionary) pays a step for each. Nothing here recurses.

mod call;
mod machine;
mod value;

pub(super) use value::{Fault, Id, Pickle, Storage, Tensor, Value};

use machine::Machine;

/// Reads the pickle at the start of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Result<Pickle, Fault> {
    Machine::new(bytes).run()
}
