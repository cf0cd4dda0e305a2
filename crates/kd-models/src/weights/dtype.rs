//! Types of stored numbers and their conversion to f32.

use std::fmt;

/// Type of the numbers of a stored tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE 754 binary64
    F64,
    /// IEEE 754 binary32
    F32,
    /// IEEE 754 binary16
    F16,
    /// The upper half of an f32
    Bf16,
    /// Signed, 64 bits
    I64,
    /// Signed, 32 bits
    I32,
    /// Signed, 16 bits
    I16,
    /// Signed, 8 bits
    I8,
    /// Unsigned, 8 bits
    U8,
    /// One byte each
    Bool,
    /// Unsigned, 16 bits
    U16,
    /// Unsigned, 32 bits
    U32,
    /// Unsigned, 64 bits
    U64,
    /// Floating-point numbers of one byte, of any kind; they mean little without their scales
    F8,
    /// Two f32
    Complex64,
    /// Two f64
    Complex128,
    /// Integers of one byte that stand for other numbers
    Quantized8,
    /// Integers of four bytes that stand for other numbers
    Quantized32,
}

impl Dtype {
    /// Bytes of one number.
    pub fn size(self) -> u64 {
        match self {
            Self::Complex128 => 16,
            Self::F64 | Self::I64 | Self::U64 | Self::Complex64 => 8,
            Self::F32 | Self::I32 | Self::U32 | Self::Quantized32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool | Self::F8 | Self::Quantized8 => 1,
        }
    }

    /// The type that PyTorch calls `torch.NAME`.
    pub(crate) fn from_torch(name: &str) -> Option<Self> {
        Some(match name {
            "float64" | "double" => Self::F64,
            "float32" | "float" => Self::F32,
            "float16" | "half" => Self::F16,
            "bfloat16" => Self::Bf16,
            "int64" | "long" => Self::I64,
            "int32" | "int" => Self::I32,
            "int16" | "short" => Self::I16,
            "int8" => Self::I8,
            "uint8" => Self::U8,
            "bool" => Self::Bool,
            "uint16" => Self::U16,
            "uint32" => Self::U32,
            "uint64" => Self::U64,
            "complex64" | "cfloat" => Self::Complex64,
            "complex128" | "cdouble" => Self::Complex128,
            "qint8" | "quint8" => Self::Quantized8,
            "qint32" => Self::Quantized32,
            name if name.starts_with("float8_") => Self::F8,
            _ => return None,
        })
    }

    /// Whether these are whole numbers, which count or choose.
    pub fn is_integer(self) -> bool {
        matches!(
            self,
            Self::I64
                | Self::I32
                | Self::I16
                | Self::I8
                | Self::U64
                | Self::U32
                | Self::U16
                | Self::U8
                | Self::Bool
        )
    }

    /// What to do with a tensor of numbers that are no weights, in PyTorch.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::F8 => "; save tensor.float(), times its scale where it has one",
            Self::Quantized8 | Self::Quantized32 => "; save tensor.dequantize()",
            Self::Complex64 | Self::Complex128 => {
                "; networks here have real weights: save tensor.real, or torch.view_as_real(tensor)"
            }
            _ => "",
        }
    }

    /// Whether these can be weights.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::Bf16)
    }

    /// The numbers in `bytes` (little-endian) as f32, rounded to nearest; nothing for those that are
    /// no weights.
    pub(crate) fn to_f32(self, bytes: &[u8]) -> Option<Vec<f32>> {
        let half = |b: &[u8; 2]| u16::from_le_bytes(*b);
        match self {
            Self::F64 => Some(map(bytes, |b| f64::from_le_bytes(*b) as f32)),
            Self::F32 => Some(map(bytes, |b| f32::from_le_bytes(*b))),
            Self::F16 => Some(map(bytes, |b| half::f16::from_bits(half(b)).to_f32())),
            Self::Bf16 => Some(map(bytes, |b| half::bf16::from_bits(half(b)).to_f32())),
            _ => None,
        }
    }

    /// The signed and short integers in `bytes` (little-endian); nothing for other numbers.
    pub(crate) fn to_i64(self, bytes: &[u8]) -> Option<Vec<i64>> {
        match self {
            Self::I64 => Some(map(bytes, |b| i64::from_le_bytes(*b))),
            Self::I32 => Some(map(bytes, |b| i32::from_le_bytes(*b).into())),
            Self::I16 => Some(map(bytes, |b| i16::from_le_bytes(*b).into())),
            Self::I8 => Some(map(bytes, |b| i8::from_le_bytes(*b).into())),
            Self::U8 => Some(map(bytes, |b: &[u8; 1]| b[0].into())),
            Self::Bool => Some(map(bytes, |b: &[u8; 1]| i64::from(b[0] != 0))),
            _ => None,
        }
    }
}

fn map<const N: usize, T>(bytes: &[u8], number: impl Fn(&[u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(number).collect()
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I16 => "i16",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::Bool => "bool",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::F8 => "f8",
            Self::Complex64 => "complex64",
            Self::Complex128 => "complex128",
            Self::Quantized8 => "quantized8",
            Self::Quantized32 => "quantized32",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// -1.5 is exact in all of them; 1e-3 is rounded to each.
    #[test]
    fn numbers_become_f32() {
        let f32s = [-1.5f32, 1e-3].map(f32::to_le_bytes).concat();
        assert_eq!(Dtype::F32.to_f32(&f32s).unwrap(), [-1.5, 1e-3]);
        let f64s = [-1.5f64, 1e-3].map(f64::to_le_bytes).concat();
        assert_eq!(Dtype::F64.to_f32(&f64s).unwrap(), [-1.5, 1e-3]);
        let f16s = [0x00, 0xbe, 0x19, 0x14];
        assert_eq!(Dtype::F16.to_f32(&f16s).unwrap(), [-1.5, 0.001_000_404_4]);
        let bf16s = [0xc0, 0xbf, 0x83, 0x3a];
        assert_eq!(Dtype::Bf16.to_f32(&bf16s).unwrap(), [-1.5, 0.000_999_450_7]);
        assert_eq!(Dtype::I64.to_f32(&[0; 8]), None);
        assert_eq!(Dtype::I16.to_i64(&[0xff, 0xff, 2, 0]), Some(vec![-1, 2]));
        assert_eq!(Dtype::Bool.to_i64(&[7, 0]), Some(vec![1, 0]));
    }
}
