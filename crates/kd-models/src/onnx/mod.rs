//! Networks from ONNX files and to them.
//!
//! Key decision: the messages are our own few of onnx.proto, so that building needs no protocol
//! compiler. A file becomes a graph in four passes: what follows from weights and shapes alone is
//! computed (`fold`), patterns of several operators become one (`simplify`), and every operator
//! that is left becomes an operation (`translate`), after all names, sizes and orders were checked
//! (`model`, `file`). What cannot be expressed is refused with the node's name.

mod budget;
mod constant;
mod convert;
mod dims;
mod encode;
mod eval;
mod export;
mod file;
mod fold;
mod import;
mod model;
mod names;
mod operators;
mod proto;
mod scope;
mod simplify;
mod translate;
mod window;

pub use export::{ExportInfo, save, save_quantized};
pub use import::{ImportOptions, Imported, import};

#[cfg(test)]
mod tests;
