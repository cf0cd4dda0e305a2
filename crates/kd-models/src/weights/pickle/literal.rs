//! Opcodes that stand for one value, with its argument behind them.

use super::machine::Machine;
use super::value::Value;
use crate::weights::checked::Checked;

/// What an integer of more than 64 bits is called.
const LARGE: Value = Value::Plain("large integer");

impl Machine<'_> {
    /// Pushes the value that an opcode and its argument stand for.
    pub(super) fn literal(&mut self, opcode: u8) -> Checked<()> {
        let value = match opcode {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'}' => Value::Dict(Vec::new()),
            b']' => Value::List(Vec::new()),
            b')' => Value::Tuple(Vec::new()),
            0x8f => Value::Plain("set"),
            0x97 => Value::Plain("buffer"),
            b'K' | b'M' | b'J' | 0x8a | 0x8b | b'G' => self.binary_number(opcode)?,
            b'I' | b'L' | b'F' | b'S' | b'V' => self.text_literal(opcode)?,
            _ => self.string(opcode)?,
        };
        self.push(value);
        Ok(())
    }

    fn binary_number(&mut self, opcode: u8) -> Checked<Value> {
        Ok(match opcode {
            b'K' => Value::Int(self.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            0x8a => {
                let n = self.byte()?;
                integer(self.take(n.into())?)
            }
            0x8b => {
                let n = self.number()?;
                integer(self.take(n as usize)?)
            }
            _ => Value::Float(f64::from_be_bytes(self.array()?)),
        })
    }

    /// Texts and bytes after their length.
    fn string(&mut self, opcode: u8) -> Checked<Value> {
        let n = match opcode {
            b'X' | b'T' | b'B' => self.number()?.into(),
            b'U' | b'C' | 0x8c => self.byte()?.into(),
            0x8d | 0x8e | 0x96 => u64::from_le_bytes(self.array()?),
            other => return Err(format!("{other:#04x}, which is no opcode")),
        };
        let n = usize::try_from(n).map_err(|_| "the pickle is cut short")?;
        let bytes = self.take(n)?;
        Ok(match opcode {
            b'X' | 0x8c | 0x8d => text(bytes),
            // Python 2 has one type for both.
            b'T' | b'U' => std::str::from_utf8(bytes)
                .map_or(Value::Plain("bytes"), |text| Value::Text(text.to_owned())),
            _ => Value::Plain("bytes"),
        })
    }

    /// Values that are written as a line of text, as protocol 0 does.
    fn text_literal(&mut self, opcode: u8) -> Checked<Value> {
        let line = std::str::from_utf8(self.line()?).map_err(|_| "a line that is not UTF-8")?;
        let wrong = || format!("{:?} is no value", line.chars().take(40).collect::<String>());
        Ok(match (opcode, line) {
            (b'I', "00") => Value::Bool(false),
            (b'I', "01") => Value::Bool(true),
            (b'I' | b'L', _) => decimal(line.trim_end_matches('L')).ok_or_else(wrong)?,
            (b'F', _) => Value::Float(line.parse().map_err(|_| wrong())?),
            (b'S', _) => quoted(line).ok_or_else(wrong)?,
            _ => Value::Text(line.to_owned()),
        })
    }
}

/// A signed integer, little-endian.
fn integer(bytes: &[u8]) -> Value {
    if bytes.len() > 8 {
        return LARGE;
    }
    let is_negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut whole = if is_negative { [0xff; 8] } else { [0; 8] };
    whole[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(whole))
}

fn decimal(text: &str) -> Option<Value> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().map_or(LARGE, Value::Int))
}

/// What Python's `repr` puts into quotes; with an escape in it, it is as good as bytes.
fn quoted(line: &str) -> Option<Value> {
    let quote = line.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let inner = line.strip_prefix(quote)?.strip_suffix(quote)?;
    Some(match inner.contains('\\') {
        true => Value::Plain("bytes"),
        false => Value::Text(inner.to_owned()),
    })
}

/// Python's text may hold halves of surrogate pairs, which UTF-8 cannot.
fn text(bytes: &[u8]) -> Value {
    Value::Text(String::from_utf8_lossy(bytes).into_owned())
}
