//! A pickle machine that knows data only: all opcodes of protocols 0 to 5, and none of them imports,
//! calls or builds anything.
//!
//! Python's own machine calls whatever function a pickle names; here the few names that weights need
//! ([`Class`](value::Class)) have a fixed meaning, and what any other one would have made is an inert
//! [`Value::Object`] that knows the name, and its elements and attributes as plain data. So weights are
//! found beside whatever a training script kept with them, and within what is like a dictionary.
//!
//! Memory is bounded by the number of steps that [`machine`] allows: an opcode makes at most three
//! small values, one entry of the stack and one of the memo; values refer to each other by number, so
//! that a value used a thousand times is stored once; and what copies more (a list of pairs into
//! a dictionary) pays a step for each. Nothing here recurses.

mod call;
mod literal;
mod machine;
mod tensor;
mod value;

pub(super) use value::{Fault, Id, Object, Pickle, Storage, Tensor, Value};

use machine::Machine;

/// Reads the pickle at the start of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Result<Pickle, Fault> {
    Machine::new(bytes).run()
}
