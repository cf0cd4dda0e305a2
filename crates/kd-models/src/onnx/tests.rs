//! Files of PyTorch's exporters (`tests/golden/onnx`), our own, and ones that are damaged or not
//! supported.

mod faults;
mod folding;
mod golden;
mod real;
mod round_trip;
