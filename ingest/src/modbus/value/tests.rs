//! Every type in every order, the exact decimals, missing numbers.

use super::*;

/// The registers of big-endian bytes.
fn words(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks(2).map(|c| u16::from_be_bytes([c[0], c[1]])).collect()
}

#[test]
fn sixteen_bits_know_only_the_swap_of_bytes() {
    for (order, bytes) in [
        (Order::Abcd, [0xff, 0x38]),
        (Order::Cdab, [0xff, 0x38]),
        (Order::Badc, [0x38, 0xff]),
        (Order::Dcba, [0x38, 0xff]),
    ] {
        assert_eq!(raw(&words(&bytes), Type::I16, order, 0), Some(-200.0), "{order}");
        assert_eq!(raw(&words(&bytes), Type::U16, order, 0), Some(65_336.0), "{order}");
        assert_eq!(raw(&words(&bytes), Type::Bit, order, 3), Some(1.0), "{order}");
        assert_eq!(raw(&words(&bytes), Type::Bit, order, 0), Some(0.0), "{order}");
    }
}

#[test]
fn thirty_two_bits_in_the_four_orders() {
    // 1.02f32 is 3f 82 8f 5c, -123456 is ff fe 1d c0.
    type Case = (Order, [u8; 4], [u8; 4]);
    let cases: [Case; 4] = [
        (Order::Abcd, [0x3f, 0x82, 0x8f, 0x5c], [0xff, 0xfe, 0x1d, 0xc0]),
        (Order::Cdab, [0x8f, 0x5c, 0x3f, 0x82], [0x1d, 0xc0, 0xff, 0xfe]),
        (Order::Badc, [0x82, 0x3f, 0x5c, 0x8f], [0xfe, 0xff, 0xc0, 0x1d]),
        (Order::Dcba, [0x5c, 0x8f, 0x82, 0x3f], [0xc0, 0x1d, 0xfe, 0xff]),
    ];
    for (order, float, whole) in cases {
        assert_eq!(raw(&words(&float), Type::F32, order, 0), Some(1.02), "{order}");
        assert_eq!(raw(&words(&whole), Type::I32, order, 0), Some(-123_456.0), "{order}");
        assert_eq!(raw(&words(&whole), Type::U32, order, 0), Some(4_294_843_840.0), "{order}");
    }
}

#[test]
fn sixty_four_bits_in_the_four_orders() {
    // -273.15f64 is c0 71 12 66 66 66 66 66; 0x0001020304050607 stays below 2^53.
    type Case = (Order, [u8; 8], [u8; 8]);
    let cases: [Case; 4] = [
        (Order::Abcd, [0xc0, 0x71, 0x12, 0x66, 0x66, 0x66, 0x66, 0x66], [0, 1, 2, 3, 4, 5, 6, 7]),
        (Order::Cdab, [0x66, 0x66, 0x66, 0x66, 0x12, 0x66, 0xc0, 0x71], [6, 7, 4, 5, 2, 3, 0, 1]),
        (Order::Badc, [0x71, 0xc0, 0x66, 0x12, 0x66, 0x66, 0x66, 0x66], [1, 0, 3, 2, 5, 4, 7, 6]),
        (Order::Dcba, [0x66, 0x66, 0x66, 0x66, 0x66, 0x12, 0x71, 0xc0], [7, 6, 5, 4, 3, 2, 1, 0]),
    ];
    for (order, float, whole) in cases {
        assert_eq!(raw(&words(&float), Type::F64, order, 0), Some(-273.15), "{order}");
        assert_eq!(
            raw(&words(&whole), Type::U64, order, 0),
            Some(0x0001_0203_0405_0607u64 as f64),
            "{order}"
        );
    }
    assert_eq!(raw(&[0xffff, 0xffff, 0xffff, 0xfffe], Type::I64, Order::Abcd, 0), Some(-2.0));
}

#[test]
fn a_wrong_number_of_registers_is_no_value() {
    for ty in Type::ALL {
        let right = usize::from(ty.registers());
        for n in 0..=5 {
            let registers = vec![0; n];
            assert_eq!(raw(&registers, ty, Order::Abcd, 0).is_some(), n == right, "{ty} of {n}");
        }
    }
}

#[test]
fn a_float_is_the_decimal_it_was_written_as() {
    for text in ["0.7", "0.0024", "1.1", "-0.3", "24", "16777216", "3.4e38", "1e-40", "0"] {
        let float: f32 = text.parse().unwrap();
        let registers = words(&float.to_bits().to_be_bytes());
        assert_eq!(raw(&registers, Type::F32, Order::Abcd, 0), Some(text.parse().unwrap()), "{text}");
    }
    let nan = words(&f32::NAN.to_bits().to_be_bytes());
    assert!(raw(&nan, Type::F32, Order::Abcd, 0).unwrap().is_nan());
}

#[test]
fn scale_and_offset_give_the_decimal() {
    for (raw, scale, offset, value) in [
        (1009.0, 0.001, 0.0, 1.009),
        (69.0, 0.01, 0.0, 0.69),
        (35.0, 0.05, 0.0, 1.75),
        (300.0, 1.0, -273.15, 26.85),
        (1.0, -1.0, 1.0, 0.0),
        (7.0, 1.0 / 3.0, 0.0, 7.0 * (1.0 / 3.0)),
        (2.0, 1e12, 0.0, 2e12),
    ] {
        assert_eq!(Linear::new(scale, offset).apply(raw), value, "{raw} * {scale} + {offset}");
    }
    let linear = Linear::new(0.1, -4.0);
    assert_eq!(decode(&[0xffff], Type::I16, Order::Abcd, 0, linear), Some(-4.1));
    assert_eq!(Linear::new(1.0, 0.0), Linear::default());
}

#[test]
fn a_missing_number_may_be_written_with_or_without_its_sign() {
    assert!(is_missing(&[0x8000], Type::I16, Order::Abcd, 32_768.0));
    assert!(is_missing(&[0x8000], Type::I16, Order::Abcd, -32_768.0));
    assert!(is_missing(&[0xd8f1], Type::I16, Order::Abcd, -9999.0));
    assert!(!is_missing(&[0x8000], Type::U16, Order::Abcd, -32_768.0));
    let float = words(&(-9999.0f32).to_bits().to_be_bytes());
    assert!(is_missing(&float, Type::F32, Order::Abcd, -9999.0));
    assert!(!is_missing(&[0, 0], Type::F32, Order::Abcd, -9999.0));
}
