//! From the unit that a file names to the unit of the catalog. CO is written in ppm by one vendor and in % by another, and
//! a factor of ten thousand must not decide on its alarm.
//!
//! A unit that cannot be converted (unknown, or of another quantity) leaves the number as it is and is counted: a known
//! point with a valid number is never thrown away.

use crate::modbus::value::Linear;
use ahash::AHashMap;
use model::Catalog;
use model::units::conversion;

/// Most pairs of units that are kept; a file that names more of them is asking for trouble.
const PAIRS_MAX: usize = 1000;

/// Conversions found so far.
#[derive(Default)]
pub struct Units {
    /// By unit sent, unit of the catalog and quantity. `None`: they do not fit.
    pairs: AHashMap<(String, String, String), Option<Linear>>,
    strange: u64,
}

impl Units {
    /// The value in the unit of the catalog.
    pub fn to_catalog(&mut self, catalog: &Catalog, site: &str, point: &str, unit: &str, value: f64) -> f64 {
        if unit.is_empty() {
            return value;
        }
        let Some(known) = catalog.find(site, point).map(|ix| catalog.point(ix)) else { return value };
        if known.unit == unit || known.unit.is_empty() {
            return value;
        }
        let key = (unit.to_owned(), known.unit.clone(), known.quantity.clone());
        let found = match self.pairs.get(&key) {
            Some(found) => *found,
            None => {
                let found = conversion(unit, &known.unit, &known.quantity)
                    .map(|(scale, offset)| exact(scale, offset));
                if self.pairs.len() < PAIRS_MAX {
                    self.pairs.insert(key, found);
                }
                found
            }
        };
        match found {
            Some(linear) if linear == Linear::default() => value,
            Some(linear) => decimal(linear.apply(value)),
            None => {
                self.strange += 1;
                value
            }
        }
    }

    /// How many values were left as they are since the last call.
    pub fn take_strange(&mut self) -> u64 {
        std::mem::take(&mut self.strange)
    }
}

/// A factor such as 1e-6 / 1e-2 is a little off its decimal, and so is 0.0024 * 10000; twelve digits are what is meant.
fn decimal(n: f64) -> f64 {
    format!("{n:.11e}").parse().unwrap_or(n)
}

fn exact(scale: f64, offset: f64) -> Linear {
    Linear::new(decimal(scale), decimal(offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::catalog::Place;
    use model::{Point, Problems, Site};

    fn catalog(quantity: &str, unit: &str) -> Catalog {
        let site = Site { code: "M1".into(), ..Site::default() };
        let point = Point {
            site: "M1".into(),
            code: "P".into(),
            quantity: quantity.into(),
            unit: unit.into(),
            ..Point::default()
        };
        let mut problems = Problems::default();
        Catalog::build(vec![(site, Place::default())], vec![(point, Place::default())], 1, &mut problems)
    }

    #[test]
    fn to_the_unit_of_the_catalog_to_the_last_digit() {
        for (quantity, known, sent, value, expected, strange) in [
            ("co", "ppm", "%", 0.0024, 24.0, 0),
            ("co", "%", "ppm", 24.0, 0.0024, 0),
            ("ch4", "%", "%CH4", 1.02, 1.02, 0),
            ("temperature", "°C", "℃", 26.5, 26.5, 0),
            ("pressure", "MPa", "kPa", 1250.0, 1.25, 0),
            ("ch4", "%", "", 1.02, 1.02, 0),
            ("ch4", "", "ppm", 5.0, 5.0, 0),
            ("ch4", "%", "℃", 20.0, 20.0, 1),
            ("ch4", "%", "bananas", 20.0, 20.0, 1),
        ] {
            let mut units = Units::default();
            let got = units.to_catalog(&catalog(quantity, known), "M1", "P", sent, value);
            assert_eq!((got, units.take_strange()), (expected, strange), "{value} {sent} in {known}");
        }
    }
}
