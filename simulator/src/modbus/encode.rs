//! Numbers to registers, from the specification: a register is 16 bits, highest byte first; longer numbers take two or four
//! registers, and devices differ in the order of them. Shares nothing with the decoder it is read by.
//!
//! A number that is not there is NaN for a float, and for a whole number the largest one (unsigned) or the smallest one
//! (signed) of its type, as gauges do it.

use std::fmt;

/// Type of a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Kind {
    /// 16 bits without sign.
    U16,
    /// 16 bits with sign.
    I16,
    /// 32 bits without sign.
    U32,
    /// 32 bits with sign.
    I32,
    /// 64 bits without sign.
    U64,
    /// IEEE 754 single.
    F32,
    /// IEEE 754 double.
    F64,
    /// One coil or discrete input.
    Bit,
}

impl Kind {
    /// As configurations write it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::U16 => "u16",
            Kind::I16 => "i16",
            Kind::U32 => "u32",
            Kind::I32 => "i32",
            Kind::U64 => "u64",
            Kind::F32 => "f32",
            Kind::F64 => "f64",
            Kind::Bit => "bit",
        }
    }

    /// Registers it takes; for a bit one place in its table.
    pub fn width(self) -> u16 {
        match self {
            Kind::U16 | Kind::I16 | Kind::Bit => 1,
            Kind::U32 | Kind::I32 | Kind::F32 => 2,
            Kind::U64 | Kind::F64 => 4,
        }
    }

    /// The raw number that stands for a missing one; `None` where that is NaN or there is none.
    pub fn missing(self) -> Option<i64> {
        match self {
            Kind::U16 => Some(i64::from(u16::MAX)),
            Kind::I16 => Some(i64::from(i16::MIN)),
            Kind::U32 => Some(i64::from(u32::MAX)),
            Kind::I32 => Some(i64::from(i32::MIN)),
            Kind::U64 | Kind::F32 | Kind::F64 | Kind::Bit => None,
        }
    }
}

/// Order of the bytes of a number of four bytes A to D, A the highest; for eight bytes likewise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Order {
    /// Highest first.
    Abcd,
    /// Lowest word first.
    Cdab,
    /// Highest word first, bytes in each word swapped.
    Badc,
    /// Lowest first.
    Dcba,
}

impl Order {
    /// All four.
    pub const ALL: [Order; 4] = [Order::Abcd, Order::Cdab, Order::Badc, Order::Dcba];

    /// As configurations write it.
    pub fn word(self) -> &'static str {
        match self {
            Order::Abcd => "ABCD",
            Order::Cdab => "CDAB",
            Order::Badc => "BADC",
            Order::Dcba => "DCBA",
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The registers of a value: `raw = (value - offset) / scale`, whole numbers rounded and held inside their type.
///
/// # Panics
/// For [`Kind::Bit`], which is no register.
pub fn registers(value: Option<f64>, kind: Kind, order: Order, scale: f64, offset: f64) -> Vec<u16> {
    let raw = value.map(|v| (v - offset) / scale);
    // Casting a float to a whole number holds it inside the type.
    let bytes: Vec<u8> = match (kind, raw) {
        (Kind::U16, Some(v)) => (v.round() as u16).to_be_bytes().into(),
        (Kind::U16, None) => u16::MAX.to_be_bytes().into(),
        (Kind::I16, Some(v)) => (v.round() as i16).to_be_bytes().into(),
        (Kind::I16, None) => i16::MIN.to_be_bytes().into(),
        (Kind::U32, Some(v)) => (v.round() as u32).to_be_bytes().into(),
        (Kind::U32, None) => u32::MAX.to_be_bytes().into(),
        (Kind::I32, Some(v)) => (v.round() as i32).to_be_bytes().into(),
        (Kind::I32, None) => i32::MIN.to_be_bytes().into(),
        (Kind::U64, v) => (v.unwrap_or(0.0).round() as u64).to_be_bytes().into(),
        (Kind::F32, v) => (v.unwrap_or(f64::NAN) as f32).to_be_bytes().into(),
        (Kind::F64, v) => v.unwrap_or(f64::NAN).to_be_bytes().into(),
        (Kind::Bit, _) => panic!("a bit is no register"),
    };
    arrange(&bytes, order)
}

/// The registers of bytes given highest first.
pub fn arrange(bytes: &[u8], order: Order) -> Vec<u16> {
    let mut words: Vec<[u8; 2]> = bytes.chunks_exact(2).map(|w| [w[0], w[1]]).collect();
    if matches!(order, Order::Cdab | Order::Dcba) {
        words.reverse();
    }
    if matches!(order, Order::Badc | Order::Dcba) {
        words.iter_mut().for_each(|w| w.swap(0, 1));
    }
    words.into_iter().map(u16::from_be_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_orders_of_a_known_number() {
        // 123.456 as IEEE 754 single is 42 F6 E9 79.
        let f32_of = |order| registers(Some(123.456), Kind::F32, order, 1.0, 0.0);
        assert_eq!(f32_of(Order::Abcd), [0x42f6, 0xe979]);
        assert_eq!(f32_of(Order::Cdab), [0xe979, 0x42f6]);
        assert_eq!(f32_of(Order::Badc), [0xf642, 0x79e9]);
        assert_eq!(f32_of(Order::Dcba), [0x79e9, 0xf642]);
        // -2.0 as a double is C0 00 00 00 00 00 00 00.
        assert_eq!(registers(Some(-2.0), Kind::F64, Order::Abcd, 1.0, 0.0), [0xc000, 0, 0, 0]);
        assert_eq!(registers(Some(-2.0), Kind::F64, Order::Cdab, 1.0, 0.0), [0, 0, 0, 0xc000]);
        assert_eq!(registers(Some(-2.0), Kind::F64, Order::Dcba, 1.0, 0.0), [0, 0, 0, 0x00c0]);
        assert_eq!(registers(Some(65_539.0), Kind::U64, Order::Abcd, 1.0, 0.0), [0, 0, 1, 3]);
    }

    #[test]
    fn whole_numbers_are_scaled_rounded_and_held_inside() {
        let one = |v, kind, scale, offset| registers(v, kind, Order::Abcd, scale, offset);
        assert_eq!(one(Some(1.02), Kind::U16, 0.01, 0.0), [102]);
        assert_eq!(one(Some(-12.3), Kind::I16, 0.1, 0.0), [(-123i16) as u16]);
        assert_eq!(one(Some(25.0), Kind::U16, 0.1, -50.0), [750]);
        assert_eq!(one(Some(1e9), Kind::U16, 1.0, 0.0), [0xffff]);
        assert_eq!(one(Some(-5.0), Kind::U16, 1.0, 0.0), [0]);
        assert_eq!(one(Some(70_000.0), Kind::I32, 1.0, 0.0), [1, 4464]);
        assert_eq!(one(None, Kind::U16, 0.01, 0.0), [0xffff]);
        assert_eq!(one(None, Kind::I16, 0.01, 0.0), [0x8000]);
        assert_eq!(one(None, Kind::I32, 0.01, 0.0), [0x8000, 0]);
        assert!(
            f32::from_bits(one(None, Kind::F32, 1.0, 0.0).iter().fold(0, |a, w| a << 16 | u32::from(*w)))
                .is_nan()
        );
    }
}
