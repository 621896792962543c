//! What stands at which address of a device. All addresses from 0. `docs/simulator.md` shows the tables.
//!
//! A tank farm is a gateway with two slaves of two tanks each; the four tanks use the four byte orders. A mine (where it
//! is on Modbus) is one slave. A point's status word (national bits) is a holding register of its own.

use super::encode::{Kind, Order, registers};
use super::server::{Image, Table};
use crate::world::{Sample, SimPoint, SimSite};

/// Registers from one tank of a slave to the next.
const TANK_STRIDE: u16 = 20;
/// Status words of a mine begin here.
const MINE_STATUS: u16 = 200;

/// Where the value of a point stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Register {
    /// Index of the point in its site.
    pub point: usize,
    /// Slave.
    pub unit: u8,
    /// Table.
    pub table: Table,
    /// Address from 0.
    pub address: u16,
    /// Type.
    pub kind: Kind,
    /// Byte order.
    pub order: Order,
    /// `value = raw * scale`.
    pub scale: f64,
    /// Holding register with the status word of the point; `None` for a switch.
    pub status: Option<u16>,
}

/// All registers of a device.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RegisterMap {
    /// One per point, in the order of the site's points.
    pub registers: Vec<Register>,
}

impl RegisterMap {
    /// The map of a site.
    pub fn of(site: &SimSite) -> Self {
        let place = if site.kind == "plant" { tank_register } else { mine_register };
        Self { registers: site.points.iter().enumerate().map(|(i, p)| place(&site.points, i, p)).collect() }
    }

    /// The slaves, each once, in order.
    pub fn units(&self) -> Vec<u8> {
        let mut units: Vec<u8> = self.registers.iter().map(|r| r.unit).collect();
        units.sort_unstable();
        units.dedup();
        units
    }

    /// What the tables of a slave show.
    pub fn image(&self, unit: u8, samples: &[Sample]) -> Image {
        let mut image = Image::default();
        for r in self.registers.iter().filter(|r| r.unit == unit) {
            let sample = samples[r.point];
            match r.kind {
                Kind::Bit => image.put_bit(r.table, r.address, sample.value.is_some_and(|v| v != 0.0)),
                kind => {
                    image.put(r.table, r.address, &registers(sample.value, kind, r.order, r.scale, 0.0));
                }
            }
            if let Some(address) = r.status {
                image.put(Table::Holding, address, &[sample.status as u16]);
            }
        }
        image
    }
}

fn tank_register(points: &[SimPoint], i: usize, p: &SimPoint) -> Register {
    let per_tank = points.len() / crate::world::TANKS;
    let tank = i / per_tank;
    let row = (tank % 2) as u16;
    let base = row * TANK_STRIDE;
    let order = Order::ALL[tank % 4];
    let (table, address, kind, order, scale, status) = match p.quantity {
        "level" => (Table::Holding, base, Kind::F32, order, 1.0, Some(base + 4)),
        "temperature" => (Table::Holding, base + 2, Kind::I16, Order::Abcd, 0.1, Some(base + 5)),
        "gas" => (Table::Holding, base + 3, Kind::U16, Order::Abcd, 0.1, Some(base + 7)),
        "pressure" => (Table::Input, base, Kind::U32, order, 0.001, Some(base + 6)),
        "pump" => (Table::Coil, row, Kind::Bit, Order::Abcd, 1.0, None),
        _ => (Table::Discrete, row, Kind::Bit, Order::Abcd, 1.0, None),
    };
    Register { point: i, unit: 1 + (tank / 2) as u8, table, address, kind, order, scale, status }
}

fn mine_register(points: &[SimPoint], i: usize, p: &SimPoint) -> Register {
    let before = points[..i].iter().filter(|q| q.is_switch() == p.is_switch()).count() as u16;
    let bare = Register {
        point: i,
        unit: 1,
        table: Table::Discrete,
        address: before,
        kind: Kind::Bit,
        order: Order::Abcd,
        scale: 1.0,
        status: None,
    };
    if p.is_switch() {
        return bare;
    }
    // Four registers a point, so that the address does not depend on the types before it.
    let (table, kind, order, scale) = match p.quantity {
        "ch4" => (Table::Holding, Kind::U16, Order::Abcd, 0.01),
        "co" => (Table::Holding, Kind::U32, Order::Cdab, 1.0),
        "wind" => (Table::Input, Kind::F32, Order::Cdab, 1.0),
        "temperature" => (Table::Input, Kind::I16, Order::Abcd, 0.1),
        _ => (Table::Holding, Kind::F64, Order::Abcd, 1.0),
    };
    Register { table, address: before * 4, kind, order, scale, status: Some(MINE_STATUS + before), ..bare }
}
