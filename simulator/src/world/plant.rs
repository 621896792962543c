//! A tank farm: four tanks with level, temperature, pressure, a gas detector, a filling pump and a high-level switch each.

use super::noise::{between, mix};
use super::{Signal, SimLimits, SimPoint, SimSite};
use crate::plan::Plan;

/// Tanks of a plant.
pub(crate) const TANKS: usize = 4;
/// High level, m; the switch goes here too.
pub(super) const LEVEL_HIGH: f64 = 10.2;
/// High-high level, m.
pub(super) const LEVEL_HIGH_HIGH: f64 = 10.8;

const REGIONS: [(&str, f64, f64); 3] =
    [("320581", 120.75, 31.65), ("370523", 118.40, 37.05), ("330211", 121.72, 29.97)];

/// The `i`-th plant of a plan.
pub(super) fn site(plan: &Plan, i: usize) -> SimSite {
    let seed = mix(mix(plan.seed, 0x7461_6e6b), i as u64);
    let (region, lon, lat) = REGIONS[i % REGIONS.len()];
    SimSite {
        code: format!("E{region}{:05}", i + 1),
        name: format!("Simulated tank farm {} 模拟{}号罐区", i + 1, i + 1),
        kind: "plant",
        region,
        lon: lon + between(seed, 91, -0.1, 0.1),
        lat: lat + between(seed, 92, -0.1, 0.1),
        gas_class: "",
        files: false,
        period: plan.period,
        points: (0..TANKS).flat_map(|tank| points(tank, seed)).collect(),
        areas: Vec::new(),
        people: Vec::new(),
        seed,
        staged: false,
    }
}

fn points(tank: usize, seed: u64) -> Vec<SimPoint> {
    let number = 101 + tank;
    let none = SimLimits::default();
    let level = SimLimits { alarm: Some(LEVEL_HIGH), cut: Some(LEVEL_HIGH_HIGH), low: Some(1.0) };
    let temperature = SimLimits { alarm: Some(45.0), ..none };
    let pressure = SimLimits { alarm: Some(8.0), ..none };
    let gas = SimLimits { alarm: Some(25.0), cut: Some(50.0), low: None };
    let point =
        |code: &str, what: &str, quantity, unit, high: f64, decimals, limits, signal, states| SimPoint {
            code: format!("{code}-{number}"),
            name: format!("tank {number} {what}"),
            quantity,
            unit,
            national_unit: unit,
            range: (high > 0.0).then_some((if quantity == "temperature" { -40.0 } else { 0.0 }, high)),
            place: "",
            type_code: "",
            type_name: "",
            states,
            limits,
            labels: "",
            decimals,
            signal,
            seed: mix(seed, (tank as u64) << 8 | u64::from(code.as_bytes()[0])),
        };
    let running = Some(("run", "stop"));
    let high = Some(("high", "normal"));
    vec![
        point("LT", "level 液位", "level", "m", 12.0, 3, level, Signal::Level(tank), None),
        point(
            "TT",
            "temperature 温度",
            "temperature",
            "°C",
            120.0,
            1,
            temperature,
            Signal::TankTemperature,
            None,
        ),
        point("PT", "pressure 压力", "pressure", "kPa", 16.0, 3, pressure, Signal::TankPressure(tank), None),
        point("GD", "gas 可燃气体", "gas", "%LEL", 100.0, 1, gas, Signal::TankGas(tank), None),
        point("P", "filling pump 进料泵", "pump", "", 0.0, 0, none, Signal::Pump(tank), running),
        point(
            "LSH",
            "high-level switch 高液位开关",
            "level_switch",
            "",
            0.0,
            0,
            none,
            Signal::LevelSwitch(tank),
            high,
        ),
    ]
}
