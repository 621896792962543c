//! Reads a few registers of a Modbus device once and shows them in every type and byte order: for the integrator who has
//! the device and no manual, or does not believe it. One look tells which order makes sense of the number on its display.

use crate::modbus::config::parse_target;
use crate::modbus::link::{Fault, Link};
use crate::modbus::plan::Table;
use crate::modbus::value::{Order, Type, raw};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// Longest wait for the device: a person is waiting.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Most places of one probe; more than a person reads.
const COUNT_MAX: u16 = 2000;

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// What was asked for cannot be asked.
    #[error("{0}")]
    Ask(String),
    /// The device could not be reached or did not answer properly.
    #[error("{target}, unit {unit}, {table} {address}: {fault}")]
    Device {
        /// Host and port.
        target: String,
        /// Its unit.
        unit: u8,
        /// Table that was read.
        table: Table,
        /// First address of the request.
        address: u16,
        /// What happened.
        fault: Fault,
    },
}

/// What the device showed.
#[derive(Clone, Debug, Serialize)]
pub struct ProbeReport {
    /// Host and port.
    pub target: String,
    /// Unit (slave).
    pub unit: u8,
    /// Table.
    pub table: Table,
    /// The registers or bits one by one.
    pub places: Vec<Place>,
    /// Every value of more than one register that can be made of them; empty for bits.
    pub values: Vec<Value>,
}

/// One register or bit.
#[derive(Clone, Debug, Serialize)]
pub struct Place {
    /// Zero-based address.
    pub address: u16,
    /// Raw content; 0 or 1 for a bit.
    pub raw: u16,
}

/// A number read from some registers.
#[derive(Clone, Debug, Serialize)]
pub struct Value {
    /// Zero-based address of its first register.
    pub address: u16,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: Type,
    /// Order of its bytes.
    pub order: Order,
    /// The number; `None` for NaN and infinite ones, which JSON does not have.
    pub value: Option<f64>,
}

/// Reads `count` places of a table. `addr` is `host`, `host:port` or `tcp://host:port`.
///
/// # Errors
/// [`ProbeError`] with a sentence for people.
pub async fn probe(
    addr: &str,
    unit: u8,
    table: Table,
    address: u16,
    count: u16,
) -> Result<ProbeReport, ProbeError> {
    let url = if addr.contains("://") { addr.to_owned() } else { format!("tcp://{addr}") };
    let target = parse_target(&url).map_err(ProbeError::Ask)?;
    if count == 0 || count > COUNT_MAX || u32::from(address) + u32::from(count) > 65_536 {
        let message =
            format!("{count} places from {address}: ask for 1 to {COUNT_MAX} that end at 65535 or before");
        return Err(ProbeError::Ask(message));
    }
    let shown = target.to_string();
    let failed = |address, fault| ProbeError::Device { target: shown.clone(), unit, table, address, fault };
    let mut link = Link::new(target, TIMEOUT);
    link.open().await.map_err(|fault| failed(address, fault))?;
    let (mut all, mut part) = (Vec::new(), Vec::new());
    while all.len() < usize::from(count) {
        let from = address + all.len() as u16;
        let some = (count - all.len() as u16).min(table.count_max());
        link.read(unit, table, from, some, &mut part).await.map_err(|fault| failed(from, fault))?;
        all.append(&mut part);
    }
    Ok(ProbeReport {
        target: shown,
        unit,
        table,
        values: if table.is_bits() { Vec::new() } else { values(address, &all) },
        places: all
            .iter()
            .enumerate()
            .map(|(i, raw)| Place { address: address + i as u16, raw: *raw })
            .collect(),
    })
}

fn values(address: u16, registers: &[u16]) -> Vec<Value> {
    let mut out = Vec::new();
    for i in 0..registers.len() {
        for order in Order::ALL {
            for ty in Type::ALL {
                let end = i + usize::from(ty.registers());
                if ty == Type::Bit || end > registers.len() {
                    continue;
                }
                if ty.registers() == 1 && order.same_for_one_register() {
                    continue;
                }
                let value = raw(&registers[i..end], ty, order, 0).filter(|v| v.is_finite());
                out.push(Value { address: address + i as u16, ty, order, value });
            }
        }
    }
    out
}

impl ProbeReport {
    /// The cell of a type and order for the registers from `i` on; empty where it would say nothing new.
    fn cell(&self, i: usize, ty: Type, order: Order) -> String {
        let Some(places) = self.places.get(i..i + usize::from(ty.registers())) else { return String::new() };
        if places.len() == 1 && order.same_for_one_register() {
            return String::new();
        }
        let registers: Vec<u16> = places.iter().map(|p| p.raw).collect();
        match raw(&registers, ty, order, 0) {
            Some(v) if v.is_finite() => number(v),
            _ => "no number".to_owned(),
        }
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        if self.table.is_bits() {
            rows.push(vec!["address".to_owned(), "bit".to_owned()]);
            rows.extend(self.places.iter().map(|p| vec![p.address.to_string(), p.raw.to_string()]));
            return rows;
        }
        let types = &Type::ALL[..Type::ALL.len() - 1];
        let mut header = vec!["address".to_owned(), "hex".to_owned(), "text".to_owned(), "order".to_owned()];
        header.extend(types.iter().map(Type::to_string));
        rows.push(header);
        for (i, p) in self.places.iter().enumerate() {
            for order in Order::ALL {
                let values: Vec<_> = types.iter().map(|ty| self.cell(i, *ty, order)).collect();
                if order != Order::Abcd && values.iter().all(String::is_empty) {
                    continue;
                }
                let first = order == Order::Abcd;
                let only_first = |text: String| if first { text } else { String::new() };
                let mut row = vec![
                    only_first(p.address.to_string()),
                    only_first(format!("{:04X}", p.raw)),
                    only_first(text(p.raw)),
                    order.to_string(),
                ];
                row.extend(values);
                rows.push(row);
            }
        }
        rows
    }
}

fn number(v: f64) -> String {
    if v == 0.0 || (1e-4..1e16).contains(&v.abs()) { v.to_string() } else { format!("{v:e}") }
}

/// Two characters, as gas names and units are often written in registers.
fn text(raw: u16) -> String {
    raw.to_be_bytes().iter().map(|b| if b.is_ascii_graphic() { char::from(*b) } else { '.' }).collect()
}

impl fmt::Display for ProbeReport {
    /// A table for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, unit {}, {}", self.target, self.unit, self.table)?;
        let rows = self.rows();
        let columns = rows.first().map_or(0, Vec::len);
        let widths: Vec<usize> =
            (0..columns).map(|c| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0)).collect();
        for row in rows {
            let cells: Vec<_> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(registers: &[u16]) -> ProbeReport {
        ProbeReport {
            target: "h:502".into(),
            unit: 1,
            table: Table::Holding,
            places: registers
                .iter()
                .enumerate()
                .map(|(i, raw)| Place { address: 10 + i as u16, raw: *raw })
                .collect(),
            values: values(10, registers),
        }
    }

    #[test]
    fn the_right_order_shows_the_number_on_the_display() {
        let report = report(&[0x8f5c, 0x3f82]);
        let shown = report.to_string();
        let line = shown.lines().find(|l| l.contains("CDAB")).unwrap();
        assert!(line.contains("1.02"), "{shown}");
        let first = shown.lines().nth(2).unwrap();
        for cell in ["10", "8F5C", "ABCD", "36700", "-28836"] {
            assert!(first.split_whitespace().any(|c| c == cell), "{cell} in {first}");
        }
        let json = serde_json::to_value(&report).unwrap();
        let cdab = json["values"]
            .as_array()
            .unwrap()
            .iter()
            .find(|v| v["type"] == "f32" && v["order"] == "CDAB")
            .unwrap();
        assert_eq!((cdab["address"].as_u64(), cdab["value"].as_f64()), (Some(10), Some(1.02)));
        assert_eq!(json["places"][1]["raw"], 0x3f82);
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_what_is_no_number_is_said() {
        let report = report(&[0x7fc0, 0]);
        assert!(report.to_string().contains("no number"));
        assert!(report.values.iter().all(|v| v.ty.registers() <= 2));
        let last: Vec<_> =
            report.values.iter().filter(|v| v.address == 11).map(|v| (v.ty, v.order)).collect();
        let one = |order| [(Type::U16, order), (Type::I16, order)];
        assert_eq!(last, [one(Order::Abcd), one(Order::Badc)].concat());
    }

    #[tokio::test]
    async fn what_cannot_be_asked_is_said() {
        for (addr, address, count, word) in [
            ("h", 0, 0, "1 to 2000"),
            ("h", 65_535, 2, "end at 65535"),
            ("http://h", 0, 1, "expected `tcp`"),
            ("h:x", 0, 1, "cannot be read"),
        ] {
            let error = probe(addr, 1, Table::Holding, address, count).await.unwrap_err();
            assert!(matches!(error, ProbeError::Ask(_)) && error.to_string().contains(word), "{error}");
        }
    }
}
