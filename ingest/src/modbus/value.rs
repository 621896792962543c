//! Registers to numbers, pure. What a value is made of: type, order of its bytes, scale and offset, the raw number that
//! stands for a missing one.
//!
//! **Order.** The letters name the bytes of a 32-bit value from its highest (A) to its lowest (D), in the order in which
//! they come over the wire. They are two switches, and for any length the same two switches count: are the 16-bit words
//! reversed (CDAB, DCBA), and are the two bytes inside each word swapped (BADC, DCBA).
//!
//! | order | 16 bits | 32 bits | 64 bits |
//! |---|---|---|---|
//! | ABCD | AB | ABCD | ABCDEFGH |
//! | CDAB | AB | CDAB | GHEFCDAB |
//! | BADC | BA | BADC | BADCFEHG |
//! | DCBA | BA | DCBA | HGFEDCBA |
//!
//! **Exact decimals.** Limits are written in decimals and count from the very number on (`>= 0.7`), so a value must not
//! fall short of its decimal by a rounding: an f32 becomes the shortest decimal that names it (0.7f32 is 0.7, not
//! 0.699999988), and a scale such as 0.001 divides by 1000 (1009 becomes 1.009, not 1.0089999999999999).

use std::fmt;

/// Type of a value in registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// 16 bits, unsigned.
    U16,
    /// 16 bits, signed.
    I16,
    /// 32 bits, unsigned.
    U32,
    /// 32 bits, signed.
    I32,
    /// 64 bits, unsigned; exact up to 2^53.
    U64,
    /// 64 bits, signed; exact up to 2^53.
    I64,
    /// IEEE 754, 32 bits.
    F32,
    /// IEEE 754, 64 bits.
    F64,
    /// One bit of a register, or a coil or discrete input: 0 or 1.
    Bit,
}

impl Type {
    /// The words a configuration may use, in the order of [`Type::ALL`].
    pub const WORDS: [&'static str; 9] = ["u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64", "bit"];
    /// All types.
    pub const ALL: [Type; 9] =
        [Type::U16, Type::I16, Type::U32, Type::I32, Type::U64, Type::I64, Type::F32, Type::F64, Type::Bit];

    /// The type of a word.
    pub fn from_word(word: &str) -> Option<Type> {
        Self::WORDS.iter().position(|w| *w == word).map(|i| Self::ALL[i])
    }

    /// How many registers a value takes.
    pub fn registers(self) -> u16 {
        match self {
            Type::U16 | Type::I16 | Type::Bit => 1,
            Type::U32 | Type::I32 | Type::F32 => 2,
            Type::U64 | Type::I64 | Type::F64 => 4,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::WORDS[Self::ALL.iter().position(|t| t == self).unwrap_or_default()])
    }
}

/// Order of the bytes of a value; the rule for 16 and 64 bits stands in the module header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Order {
    /// Highest byte first, as Modbus itself.
    Abcd,
    /// Words reversed.
    Cdab,
    /// Bytes in each word swapped.
    Badc,
    /// Both: lowest byte first.
    Dcba,
}

impl Order {
    /// The words a configuration may use, in the order of [`Order::ALL`].
    pub const WORDS: [&'static str; 4] = ["ABCD", "CDAB", "BADC", "DCBA"];
    /// All orders.
    pub const ALL: [Order; 4] = [Order::Abcd, Order::Cdab, Order::Badc, Order::Dcba];

    /// The order of a word.
    pub fn from_word(word: &str) -> Option<Order> {
        Self::WORDS.iter().position(|w| *w == word).map(|i| Self::ALL[i])
    }

    /// Whether one register reads in it as in another order: it has no order of words.
    pub fn same_for_one_register(self) -> bool {
        self.words_reversed()
    }

    fn words_reversed(self) -> bool {
        matches!(self, Order::Cdab | Order::Dcba)
    }

    fn bytes_swapped(self) -> bool {
        matches!(self, Order::Badc | Order::Dcba)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::WORDS[Self::ALL.iter().position(|o| o == self).unwrap_or_default()])
    }
}

/// The bits of a value of one, two or four registers, highest first; `None` for another number of them.
pub fn bits(registers: &[u16], order: Order) -> Option<u64> {
    if !matches!(registers.len(), 1 | 2 | 4) {
        return None;
    }
    let mut out = 0u64;
    for i in 0..registers.len() {
        let word = if order.words_reversed() { registers[registers.len() - 1 - i] } else { registers[i] };
        let word = if order.bytes_swapped() { word.swap_bytes() } else { word };
        out = out << 16 | u64::from(word);
    }
    Some(out)
}

/// The number in the registers, before scale and offset; `None` when there are not exactly [`Type::registers`] of them.
/// A float may be NaN or infinite: whoever stores it makes a missing value of it. `bit` counts for [`Type::Bit`] only.
pub fn raw(registers: &[u16], ty: Type, order: Order, bit: u8) -> Option<f64> {
    if registers.len() != usize::from(ty.registers()) {
        return None;
    }
    let bits = bits(registers, order)?;
    Some(match ty {
        Type::U16 | Type::U32 | Type::U64 => bits as f64,
        Type::I16 => f64::from(bits as u16 as i16),
        Type::I32 => f64::from(bits as u32 as i32),
        Type::I64 => bits as i64 as f64,
        Type::F32 => exact(f32::from_bits(bits as u32)),
        Type::F64 => f64::from_bits(bits),
        Type::Bit => f64::from((bits >> bit.min(15) & 1) as u8),
    })
}

/// Registers to the value in the unit of the point. The registers are as many as the type takes, else `None`.
pub fn decode(registers: &[u16], ty: Type, order: Order, bit: u8, linear: Linear) -> Option<f64> {
    Some(linear.apply(raw(registers, ty, order, bit)?))
}

/// The f64 of the shortest decimal that names an f32.
fn exact(value: f32) -> f64 {
    const WHOLE_MAX: f32 = 16_777_216.0; // below 2^24 each whole number is its own shortest decimal
    if !value.is_finite() || (value.fract() == 0.0 && value.abs() < WHOLE_MAX) {
        return f64::from(value);
    }
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// Scale and offset as whole numbers over one power of ten where both are decimals, so that the result is the decimal.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Linear {
    times: f64,
    plus: f64,
    over: f64,
}

impl Default for Linear {
    fn default() -> Self {
        Self { times: 1.0, plus: 0.0, over: 1.0 }
    }
}

impl Linear {
    /// `raw * scale + offset`.
    pub fn new(scale: f64, offset: f64) -> Self {
        let mut over = 1.0;
        for _ in 0..=9 {
            let (times, plus) = ((scale * over).round(), (offset * over).round());
            if times / over == scale && plus / over == offset && times.abs() < 1e15 && plus.abs() < 1e15 {
                return Self { times, plus, over };
            }
            over *= 10.0;
        }
        Self { times: scale, plus: offset, over: 1.0 }
    }

    /// The scaled number.
    pub fn apply(self, raw: f64) -> f64 {
        (raw * self.times + self.plus) / self.over
    }
}

/// Whether the registers hold the raw number that means "no value": the number itself, or for a signed type the same
/// bits written without a sign (0x8000 for an i16).
pub fn is_missing(registers: &[u16], ty: Type, order: Order, missing: f64) -> bool {
    if raw(registers, ty, order, 0) == Some(missing) {
        return true;
    }
    matches!(ty, Type::I16 | Type::I32 | Type::I64)
        && bits(registers, order).map(|b| b as f64) == Some(missing)
}

#[cfg(test)]
mod tests;
