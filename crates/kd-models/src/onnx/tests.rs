//! Files of PyTorch's exporters (`tests/golden/onnx`), and ones that are damaged or not supported.

mod golden;
