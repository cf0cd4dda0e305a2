//! Operations as operators of ONNX, in plain data: whoever writes files encodes them.

/// An operator of ONNX (opset 17) on activations `(N, C, H, W)` or `(N, F)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Operator {
    /// Its type, such as `Conv`.
    pub op_type: &'static str,
    /// What it reads.
    pub inputs: Vec<Operand>,
    /// Its settings; those that are left out have ONNX's defaults.
    pub attributes: Vec<(&'static str, Attribute)>,
}

/// What an operator reads.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// This input of the operation.
    Input(usize),
    /// The operation's tensor of this name.
    Param(&'static str),
    /// What the operation's operator of this number makes.
    Made(usize),
    /// Constant integers, along one axis.
    Ints(Vec<i64>),
    /// One constant unsigned byte.
    Byte(u8),
    /// Constant numbers of this shape.
    Floats(Vec<usize>, Vec<f32>),
}

/// A setting of an operator.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// An integer
    Int(i64),
    /// Integers
    Ints(Vec<i64>),
    /// A number
    Float(f32),
}

impl Operator {
    /// The operator `op_type` on the operation's first input.
    pub(crate) fn new(op_type: &'static str) -> Self {
        Self { op_type, inputs: vec![Operand::Input(0)], attributes: Vec::new() }
    }

    /// The operator `op_type` on what operator number `made` makes.
    pub(crate) fn after(made: usize, op_type: &'static str) -> Self {
        Self { inputs: vec![Operand::Made(made)], ..Self::new(op_type) }
    }

    /// And on this.
    pub(crate) fn and(mut self, operand: Operand) -> Self {
        self.inputs.push(operand);
        self
    }

    /// And on these integers.
    pub(crate) fn ints(self, values: &[i64]) -> Self {
        self.and(Operand::Ints(values.to_vec()))
    }

    /// And on this number.
    pub(crate) fn number(self, value: f32) -> Self {
        self.and(Operand::Floats(Vec::new(), vec![value]))
    }

    /// And on one number for each channel of an image.
    pub(crate) fn per_channel(self, values: &[f32]) -> Self {
        self.and(Operand::Floats(vec![values.len(), 1, 1], values.to_vec()))
    }

    /// With this attribute.
    pub(crate) fn with(mut self, name: &'static str, value: Attribute) -> Self {
        self.attributes.push((name, value));
        self
    }

    /// With this integer as attribute.
    pub(crate) fn with_int(self, name: &'static str, value: i64) -> Self {
        self.with(name, Attribute::Int(value))
    }

    /// With this number as attribute.
    pub(crate) fn with_float(self, name: &'static str, value: f32) -> Self {
        self.with(name, Attribute::Float(value))
    }

    /// With these sizes as attribute.
    pub(crate) fn with_sizes(self, name: &'static str, sizes: &[usize]) -> Self {
        self.with(name, Attribute::Ints(sizes.iter().map(|size| *size as i64).collect()))
    }
}
