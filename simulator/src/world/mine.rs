//! A mine: a longwall face with return corner, face, return way and intake, a heading with its local fan, the ways between.

use super::noise::{between, mix};
use super::people;
use super::{Signal, SimLimits, SimPoint, SimSite};
use crate::plan::Plan;

/// Regions of the mines in turn; codes of GB/T 2260 with a place on the map.
const REGIONS: [(&str, f64, f64); 5] = [
    ("140581", 112.92, 35.80),
    ("150622", 111.24, 39.86),
    ("610881", 110.50, 38.84),
    ("620825", 106.04, 35.20),
    ("640181", 106.34, 38.10),
];

const CH4_FACE: SimLimits = SimLimits { alarm: Some(1.0), cut: Some(1.5), low: None };
const CH4_RETURN: SimLimits = SimLimits { alarm: Some(1.0), cut: Some(1.0), low: None };
const CH4_INTAKE: SimLimits = SimLimits { alarm: Some(0.5), cut: Some(0.5), low: None };
const CO: SimLimits = SimLimits { alarm: Some(24.0), cut: None, low: None };
const NO_LIMITS: SimLimits = SimLimits { alarm: None, cut: None, low: None };
/// Labels of the face, where the scenarios play.
pub(super) const FACE_LABELS: &str = "area=face;face=1301";
const HEADING_LABELS: &str = "area=heading;face=1302";
const MAIN_LABELS: &str = "area=main";

/// What is the same for all points of a kind.
struct Kind {
    quantity: &'static str,
    unit: &'static str,
    national_unit: &'static str,
    range: Option<(f64, f64)>,
    type_code: &'static str,
    type_name: &'static str,
    states: Option<(&'static str, &'static str)>,
    decimals: u8,
}

const fn analog(
    quantity: &'static str,
    units: (&'static str, &'static str),
    high: f64,
    national: (&'static str, &'static str),
    decimals: u8,
) -> Kind {
    Kind {
        quantity,
        unit: units.0,
        national_unit: units.1,
        range: Some((0.0, high)),
        type_code: national.0,
        type_name: national.1,
        states: None,
        decimals,
    }
}

const fn switch(
    quantity: &'static str,
    national: (&'static str, &'static str),
    states: (&'static str, &'static str),
) -> Kind {
    Kind {
        quantity,
        unit: "",
        national_unit: "",
        range: None,
        type_code: national.0,
        type_name: national.1,
        states: Some(states),
        decimals: 0,
    }
}

const METHANE: Kind = analog("ch4", ("%", "%CH4"), 10.0, ("0043", "激光甲烷"), 2);
const MONOXIDE: Kind = analog("co", ("ppm", "ppm"), 1000.0, ("0004", "一氧化碳"), 0);
const WIND: Kind = analog("wind", ("m/s", "m/s"), 15.0, ("0002", "风速"), 1);
const TEMPERATURE: Kind = analog("temperature", ("°C", "℃"), 100.0, ("0003", "环境温度"), 1);
const FAN_PRESSURE: Kind = analog("negative_pressure", ("kPa", "kPa"), 5.0, ("0006", "负压"), 2);
const LOCAL_FAN: Kind = switch("fan", ("1001", "局部通风机"), ("运行", "停止"));
const DOOR: Kind = switch("door", ("1002", "风门"), ("打开", "关闭"));
const DUCT: Kind = switch("duct", ("1003", "风筒状态"), ("有风", "无风"));
const EQUIPMENT: Kind = switch("equipment", ("1004", "设备开停"), ("运行", "停止"));
const SMOKE: Kind = switch("smoke", ("1008", "烟雾"), ("有烟", "无烟"));
const MAIN_FAN: Kind = switch("main_fan", ("1010", "主通风机"), ("运行", "停止"));
const FEED: Kind = switch("feed", ("1015", "馈电"), ("有电", "无电"));

/// The `i`-th mine of a plan.
pub(super) fn site(plan: &Plan, i: usize) -> SimSite {
    let seed = mix(mix(plan.seed, 0x6d69_6e65), i as u64);
    let (region, lon, lat) = REGIONS[i % REGIONS.len()];
    let code = format!("{region}{:06}", i + 1);
    let files = i >= plan.mines.saturating_sub(plan.file_mines);
    let (areas, people) = people::roster(&code, seed);
    SimSite {
        points: points(&code, seed),
        name: format!("Simulated mine {} 模拟{}号煤矿", i + 1, i + 1),
        kind: "mine",
        region,
        lon: lon + between(seed, 91, -0.2, 0.2),
        lat: lat + between(seed, 92, -0.2, 0.2),
        gas_class: "high",
        files,
        period: if files { plan.file_period } else { plan.period },
        areas,
        people,
        seed,
        staged: false,
        code,
    }
}

fn points(mine: &str, seed: u64) -> Vec<SimPoint> {
    let mut out = Vec::new();
    let mut add = |kind: &Kind, name: &str, place, labels, limits, signal: &dyn Fn(u64) -> Signal| {
        let number = out.len() as u64 + 1;
        let value_type = if kind.states.is_some() { "KG" } else { "MN" };
        let own = mix(seed, number);
        out.push(SimPoint {
            code: format!("{mine}01{value_type}{}{number:08X}", kind.type_code),
            name: name.to_owned(),
            quantity: kind.quantity,
            unit: kind.unit,
            national_unit: kind.national_unit,
            range: kind.range,
            place,
            type_code: kind.type_code,
            type_name: kind.type_name,
            states: kind.states,
            limits,
            labels,
            decimals: kind.decimals,
            signal: signal(own),
            seed: own,
        });
    };
    let methane = |low, high, swing| move |s| Signal::Methane { base: between(s, 5, low, high), swing };
    let plain = |low, high, swing| move |s| Signal::Plain { base: between(s, 5, low, high), swing };
    let always = |v| move |_| Signal::Constant(v);

    add(
        &METHANE,
        "1301 face return corner T0 回风隅角",
        "T0",
        FACE_LABELS,
        CH4_FACE,
        &methane(0.42, 0.52, 1.0),
    );
    add(&METHANE, "1301 face T1 采煤工作面", "T1", FACE_LABELS, CH4_FACE, &methane(0.32, 0.42, 1.0));
    add(&METHANE, "1301 return way T2 回风巷", "T2", FACE_LABELS, CH4_RETURN, &methane(0.28, 0.36, 0.8));
    add(&METHANE, "1301 intake way T3 进风巷", "T3", FACE_LABELS, CH4_INTAKE, &methane(0.05, 0.08, 0.2));
    add(
        &METHANE,
        "1302 heading face T1 掘进工作面",
        "T1",
        HEADING_LABELS,
        CH4_FACE,
        &methane(0.20, 0.35, 0.8),
    );
    add(
        &METHANE,
        "1302 heading return T2 掘进回风",
        "T2",
        HEADING_LABELS,
        CH4_RETURN,
        &methane(0.15, 0.25, 0.7),
    );
    add(&MONOXIDE, "1301 return way 回风巷", "", FACE_LABELS, CO, &plain(3.0, 7.0, 2.0));
    add(&MONOXIDE, "belt way 胶带运输巷", "", MAIN_LABELS, CO, &plain(2.0, 5.0, 2.0));
    add(&WIND, "1301 return way 回风巷", "", FACE_LABELS, NO_LIMITS, &|_| Signal::FaceWind);
    add(&WIND, "1302 heading 掘进巷", "", HEADING_LABELS, NO_LIMITS, &plain(0.9, 1.4, 0.2));
    add(&TEMPERATURE, "1301 face 采煤工作面", "", FACE_LABELS, NO_LIMITS, &plain(22.0, 25.0, 1.0));
    add(&FAN_PRESSURE, "main fan 主通风机", "", MAIN_LABELS, NO_LIMITS, &plain(1.8, 2.4, 0.05));
    add(&FEED, "1301 face feed 工作面馈电", "", FACE_LABELS, NO_LIMITS, &|_| Signal::FaceFeed);
    add(&EQUIPMENT, "1301 shearer 采煤机", "", FACE_LABELS, NO_LIMITS, &|_| Signal::Shearer);
    add(&FEED, "1302 heading feed 掘进馈电", "", HEADING_LABELS, NO_LIMITS, &always(1.0));
    add(&LOCAL_FAN, "1302 local fan 局部通风机", "", HEADING_LABELS, NO_LIMITS, &always(1.0));
    add(&DUCT, "1302 air duct 风筒", "", HEADING_LABELS, NO_LIMITS, &always(1.0));
    add(&DOOR, "district air door 采区风门", "", MAIN_LABELS, NO_LIMITS, &|_| Signal::Door);
    add(&SMOKE, "belt way 胶带运输巷", "", MAIN_LABELS, NO_LIMITS, &always(0.0));
    add(&MAIN_FAN, "main fan 主通风机", "", MAIN_LABELS, NO_LIMITS, &always(1.0));
    out
}
