//! Units and their linear conversion: `to = from * scale + offset`. Units that cannot be converted are refused, never
//! guessed.

/// Converts a number between two units of one quantity; `None` when they do not fit together.
///
/// `%LEL` converts only for methane (LEL 5 % by volume, GB/T 50493-2019).
pub fn conversion(from: &str, to: &str, quantity: &str) -> Option<(f64, f64)> {
    let (from_dim, from_scale, from_offset) = base(from, quantity)?;
    let (to_dim, to_scale, to_offset) = base(to, quantity)?;
    if from_dim != to_dim {
        return None;
    }
    Some((from_scale / to_scale, (from_offset - to_offset) / to_scale))
}

/// Dimension, scale and offset to the base unit of a dimension.
fn base(unit: &str, quantity: &str) -> Option<(&'static str, f64, f64)> {
    let unit = unit.trim();
    let lower = unit.to_ascii_lowercase();
    Some(match lower.as_str() {
        "%" | "%ch4" | "%vol" | "%co" | "%o2" | "%co2" | "％" => ("ratio", 1e-2, 0.0),
        "ppm" | "10-6" | "10^-6" => ("ratio", 1e-6, 0.0),
        "%lel" if quantity == "ch4" => ("ratio", 5e-4, 0.0),
        "%lel" => ("lel", 1e-2, 0.0),
        "°c" | "℃" | "c" | "degc" => ("temperature", 1.0, 0.0),
        "k" => ("temperature", 1.0, -273.15),
        "°f" | "℉" => ("temperature", 5.0 / 9.0, -160.0 / 9.0),
        "pa" => ("pressure", 1.0, 0.0),
        "hpa" | "mbar" => ("pressure", 1e2, 0.0),
        "kpa" => ("pressure", 1e3, 0.0),
        "bar" => ("pressure", 1e5, 0.0),
        "mpa" => ("pressure", 1e6, 0.0),
        "m" => ("length", 1.0, 0.0),
        "cm" => ("length", 1e-2, 0.0),
        "mm" => ("length", 1e-3, 0.0),
        "m/s" => ("speed", 1.0, 0.0),
        "m/min" => ("speed", 1.0 / 60.0, 0.0),
        "m3/s" | "m³/s" => ("flow", 1.0, 0.0),
        "m3/min" | "m³/min" => ("flow", 1.0 / 60.0, 0.0),
        "m3/h" | "m³/h" => ("flow", 1.0 / 3600.0, 0.0),
        "mg/m3" | "mg/m³" => ("concentration", 1.0, 0.0),
        "" | "-" | "1" | "state" => ("none", 1.0, 0.0),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_ppm_and_lel() {
        assert_eq!(conversion("%", "%", "ch4"), Some((1.0, 0.0)));
        let (scale, offset) = conversion("%", "ppm", "co").unwrap();
        assert!((0.0024 * scale + offset - 24.0).abs() < 1e-9);
        let (scale, _) = conversion("%LEL", "%CH4", "ch4").unwrap();
        assert!((20.0 * scale - 1.0).abs() < 1e-9);
        assert_eq!(conversion("%", "°C", "ch4"), None);
        assert_eq!(conversion("%LEL", "%", "h2"), None);
        let (scale, offset) = conversion("K", "°C", "temperature").unwrap();
        assert!((300.0 * scale + offset - 26.85).abs() < 1e-9);
    }
}
