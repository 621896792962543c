//! The shipped packs: what the published tables say, value by value; each rule names its source, and what has none is off by default.

use crate::stand::START;
use model::status::*;
use model::time::SECOND;
use model::{Catalog, Offset, Origin, PointId, Problems, ReadingsBuilder, Run};
use rules::{At, Evaluator, Program, RuleFile};
use std::sync::Arc;

fn pack(name: &str) -> RuleFile {
    let (name, text) = rules::packs().iter().find(|(n, _)| *n == name).unwrap();
    RuleFile { name: format!("pack:{name}"), text: (*text).to_owned() }
}

/// A mine M1 and a plant C1, with one point P: its name where there is one, then `:`; quantity, unit, low, high, place, type code, then the
/// catalog's own limits.
fn catalog(site: &str, point: &str) -> Arc<Catalog> {
    let mut problems = Problems::default();
    let sites = "site,name,kind,region\nM1,East,mine,140100\nC1,Works,plant,140100\n";
    let sites = model::catalog::sites_from_csv("s", sites, &mut problems);
    let header = "site,point,name,quantity,unit,low,high,place,type_code,alarm_on,alarm_off,cut_on,cut_off,low_alarm_on,\
                  low_alarm_off,low_cut_on,low_cut_off,period";
    let (name, point) = point.split_once(':').unwrap_or(("x", point));
    let row = format!("{site},P,{name},{point}");
    let missing = header.matches(',').count() - row.matches(',').count();
    let text = format!("{header}\n{row}{}10s\n", ",".repeat(missing));
    let points = model::catalog::points_from_csv("p", &text, &mut problems);
    let catalog = Catalog::build(sites, points, 1, &mut problems);
    assert!(problems.0.is_empty(), "{problems}");
    Arc::new(catalog)
}

/// What the packs decide of rows (seconds, value, status) at a point: `rule level on 3`.
fn judged(packs: &[&str], site: &str, point: &str, rows: &[(i64, f64, i32)]) -> Vec<String> {
    let catalog = catalog(site, point);
    let files: Vec<RuleFile> = packs.iter().map(|name| pack(name)).collect();
    let (program, problems) = Program::compile(&files, &catalog);
    assert!(problems.0.is_empty(), "{point}: {problems}");
    let (mut e, mut out) = (Evaluator::new(program, catalog.clone()), Vec::new());
    for (i, (s, value, status)) in rows.iter().enumerate() {
        let t = START + s * SECOND;
        let mut row = ReadingsBuilder::default();
        row.push(PointId::of(site, "P"), t, *value, *status);
        let offset = Offset { partition: 0, number: i as u64 };
        let at = At { offset, appended: t, origin: Origin { collector: 7, sequence: i as u64 } };
        let run = Run { source: "s".into(), received: t, rows: 1, flags: 0 };
        e.readings(at, &[run], &row.finish(), &mut out);
    }
    let line = |t: &model::Transition| {
        format!("{} {} {} {}", t.rule, t.level, t.to.as_str(), (t.time - START) / SECOND)
    };
    out.iter().map(line).collect()
}

/// Packs, site, point, rule and level; a value that is not over, one that is, one that does not end it, one that does.
const TABLE: &str = "\
# Methane by place.
coal | M1 | ch4,%,0,10,T0 | ch4-face alarm | 0.99 1.0 1.0 0.99
coal | M1 | ch4,%,0,10,T0 | ch4-face cut | 1.49 1.5 1.0 0.99
coal | M1 | ch4,%,0,10,T1 | ch4-face alarm | 0.99 1.0 1.0 0.99
coal | M1 | ch4,%,0,10,T1 | ch4-face cut | 1.49 1.5 1.0 0.99
coal | M1 | ch4,%,0,10,T5 | ch4-face alarm | 0.99 1.0 1.0 0.99
coal | M1 | ch4,%,0,10,T5 | ch4-face cut | 1.49 1.5 1.0 0.99
coal | M1 | ch4,%,0,10,shearer | ch4-face alarm | 0.99 1.0 1.0 0.99
coal | M1 | ch4,%,0,10,shearer | ch4-face cut | 1.49 1.5 1.0 0.99
coal | M1 | ch4,%,0,10,T2 | ch4-return alarm | 0.99 1.0 1.0 0.99
coal | M1 | ch4,%,0,10,T2 | ch4-return cut | 0.99 1.0 1.0 0.99
coal | M1 | ch4,%,0,10,T6 | ch4-return alarm | 0.99 1.0 1.0 0.99
coal | M1 | ch4,%,0,10,T6 | ch4-return cut | 0.99 1.0 1.0 0.99
coal | M1 | ch4,%,0,10,T8 | ch4-return alarm | 0.99 1.0 1.0 0.99
coal | M1 | ch4,%,0,10,T8 | ch4-return cut | 0.99 1.0 1.0 0.99
coal | M1 | ch4,%,0,10,return-middle | ch4-return alarm | 0.99 1.0 1.0 0.99
coal | M1 | ch4,%,0,10,return-middle | ch4-return cut | 0.99 1.0 1.0 0.99
coal | M1 | ch4,%,0,10,T3 | ch4-intake alarm | 0.49 0.5 0.5 0.49
coal | M1 | ch4,%,0,10,T3 | ch4-intake cut | 0.49 0.5 0.5 0.49
coal | M1 | ch4,%,0,10,T4 | ch4-intake alarm | 0.49 0.5 0.5 0.49
coal | M1 | ch4,%,0,10,T4 | ch4-intake cut | 0.49 0.5 0.5 0.49
coal | M1 | ch4,%,0,10,haulage | ch4-intake alarm | 0.49 0.5 0.5 0.49
coal | M1 | ch4,%,0,10,haulage | ch4-intake cut | 0.49 0.5 0.5 0.49
coal | M1 | ch4,%,0,10,series-fan | ch4-series-fan alarm | 0.49 0.5 0.5 0.49
coal | M1 | ch4,%,0,10,series-fan | ch4-series-fan cut | 0.49 0.5 0.5 0.49
coal | M1 | ch4,%,0,10,series-fan | ch4-series-fan fan_cut | 1.49 1.5 0.5 0.49
coal | M1 | ch4,%,0,10,T7 | ch4-drainage-way alarm | 2.49 2.5 2.5 2.49
coal | M1 | ch4,%,0,10,T7 | ch4-drainage-way cut | 2.49 2.5 2.5 2.49
coal | M1 | ch4,%,0,10,bunker | ch4-bunker alarm | 1.49 1.5 1.5 1.49
coal | M1 | ch4,%,0,10,bunker | ch4-bunker cut | 1.49 1.5 1.5 1.49
coal coal-unverified | M1 | ch4,%,0,10,heading-middle | unverified-ch4-heading-middle alarm | 0.99 1.0 1.0 0.99
coal coal-unverified | M1 | ch4,%,0,10,heading-middle | unverified-ch4-heading-middle cut | 0.99 1.0 1.0 0.99
coal coal-unverified | M1 | ch4,%,0,10,machine | unverified-ch4-machine alarm | 0.99 1.0 1.0 0.99
coal coal-unverified | M1 | ch4,%,0,10,machine | unverified-ch4-machine cut | 1.49 1.5 1.0 0.99
coal coal-unverified | M1 | ch4,%,0,10,district-return | unverified-ch4-district-return alarm | 0.99 1.0 1.0 0.99
coal coal-unverified | M1 | ch4,%,0,10,district-return | unverified-ch4-district-return cut | 0.99 1.0 1.0 0.99
coal coal-unverified | M1 | ch4,%,0,10,total-return | unverified-ch4-total-return alarm | 0.74 0.75 0.75 0.74
coal coal-unverified | M1 | ch4,%,0,10,locomotive | unverified-ch4-locomotive alarm | 0.49 0.5 0.5 0.49
coal coal-unverified | M1 | ch4,%,0,10,locomotive | unverified-ch4-locomotive cut | 0.49 0.5 0.5 0.49
coal coal-unverified | M1 | ch4,%,0,10,coal-hall | unverified-ch4-coal-hall alarm | 1.49 1.5 1.5 1.49
coal coal-unverified | M1 | ch4,%,0,10,coal-hall | unverified-ch4-coal-hall cut | 1.49 1.5 1.5 1.49
coal coal-unverified | M1 | ch4,%,0,10,pump-house | unverified-ch4-pump-house alarm | 0.49 0.5 0.5 0.49
coal coal-unverified | M1 | ch4,%,0,10,pump-station | unverified-ch4-pump-station alarm | 0.99 1.0 1.0 0.99
coal coal-unverified | M1 | ch4,%,0,10,pump-station | unverified-ch4-pump-station cut | 0.99 1.0 1.0 0.99
coal coal-unverified | M1 | ch4,%,0,10,return-chamber | unverified-ch4-return-chamber alarm | 0.49 0.5 0.5 0.49
coal coal-unverified | M1 | ch4,%,0,10,return-chamber | unverified-ch4-return-chamber cut | 0.49 0.5 0.5 0.49
# Other quantities of coal mines.
coal | M1 | co,ppm,0,1000, | co alarm | 23.9 24.0 24.0 23.9
coal | M1 | co,%,0,0.1, | co alarm | 0.0023 0.0024 0.0024 0.0023
coal | M1 | co2,%,0,5, | co2 alarm | 1.5 1.51 1.51 1.5
coal coal-unverified | M1 | co2,%,0,5,T3 | unverified-co2-intake alarm | 0.5 0.51 0.51 0.5
coal coal-unverified | M1 | co2,%,0,5,T4 | unverified-co2-intake alarm | 0.5 0.51 0.51 0.5
coal | M1 | h2s,ppm,0,100, | h2s alarm | 6.5 6.6 6.6 6.5
coal coal-unverified | M1 | no2,ppm,0,100, | unverified-no2 alarm | 2.4 2.5 2.5 2.4
coal coal-unverified | M1 | so2,ppm,0,100, | unverified-so2 alarm | 4.9 5.0 5.0 4.9
coal coal-unverified | M1 | nh3,ppm,0,100, | unverified-nh3 alarm | 39.9 40.0 40.0 39.9
coal | M1 | o2,%,0,25, | oxygen deficient | 19.5 19.4 19.4 19.5
coal | M1 | o2,%,0,25, | oxygen enriched | 23.5 23.6 23.6 23.5
coal | M1 | o2,%,0,25,nitrogen-plant | oxygen-nitrogen-plant low | 18.1 18.0 18.0 18.1
coal coal-unverified | M1 | o2,%,0,25,T3 | unverified-oxygen-intake low | 20.0 19.9 19.9 20.0
coal coal-unverified | M1 | o2,%,0,25,T4 | unverified-oxygen-intake low | 20.0 19.9 19.9 20.0
coal | M1 | temperature,°C,0,100, | temperature alarm | 29.9 30.0 30.0 29.9
coal | M1 | temperature,°C,0,100,T1 | temperature alarm | 29.9 30.0 30.0 29.9
coal | M1 | temperature,°C,0,100,face | temperature alarm | 29.9 30.0 30.0 29.9
coal | M1 | temperature,°C,0,100,electrical-chamber | temperature-chamber alarm | 33.9 34.0 34.0 33.9
coal | M1 | temperature,°C,0,150,compressor | temperature-compressor alarm | 89.9 90.0 90.0 89.9
coal | M1 | temperature,°C,0,150,compressor | temperature-compressor cut | 99.9 100.0 99.0 98.9
coal coal-unverified | M1 | temperature,°C,0,100,electrical-chamber | unverified-temperature-chamber warning | 29.9 30.0 30.0 29.9
coal coal-unverified | M1 | temperature,°C,0,100,T1 | unverified-temperature-face warning | 25.9 26.0 26.0 25.9
coal coal-unverified | M1 | temperature,°C,0,100,face | unverified-temperature-face warning | 25.9 26.0 26.0 25.9
coal | M1 | wind,m/s,0,15,face | wind-face low | 0.25 0.24 0.24 0.25
coal | M1 | wind,m/s,0,15,face | wind-face high | 4.0 4.1 4.1 4.0
coal | M1 | wind,m/s,0,15,rock-heading | wind-rock-heading low | 0.15 0.14 0.14 0.15
coal | M1 | wind,m/s,0,15,rock-heading | wind-rock-heading high | 4.0 4.1 4.1 4.0
coal | M1 | wind,m/s,0,15,district | wind-district low | 0.25 0.24 0.24 0.25
coal | M1 | wind,m/s,0,15,district | wind-district high | 6.0 6.1 6.1 6.0
coal | M1 | wind,m/s,0,15,conveyor | wind-conveyor low | 0.25 0.24 0.24 0.25
coal | M1 | wind,m/s,0,15,conveyor | wind-conveyor high | 6.0 6.1 6.1 6.0
coal | M1 | wind,m/s,0,15,trolley | wind-trolley low | 1.0 0.99 0.99 1.0
coal | M1 | wind,m/s,0,15,trolley | wind-trolley high | 8.0 8.1 8.1 8.0
coal | M1 | wind,m/s,0,15,main-way | wind-main high | 8.0 8.1 8.1 8.0
coal | M1 | wind,m/s,0,15,shaft-people | wind-shaft-people high | 8.0 8.1 8.1 8.0
coal | M1 | wind,m/s,0,15,shaft-material | wind-shaft-material high | 12.0 12.1 12.1 12.0
coal coal-unverified | M1 | wind,m/s,0,20,shaft-no-hoist | unverified-wind-shaft high | 15.0 15.1 15.1 15.0
coal coal-unverified | M1 | dust,mg/m3,0,100, | unverified-dust alarm | 4.0 4.1 4.1 4.0
# Switches: the dangerous value and the safe one.
coal | M1 | fan,,,,,1001 | fan state | 1.0 0.0 0.0 1.0
coal | M1 | main_fan,,,,,1010 | main-fan state | 1.0 0.0 0.0 1.0
coal | M1 | duct,,,,,1003 | duct state | 1.0 0.0 0.0 1.0
coal | M1 | wind_direction,,,,,1006 | wind-direction state | 1.0 0.0 0.0 1.0
coal | M1 | smoke,,,,,1008 | smoke state | 0.0 1.0 1.0 0.0
coal | M1 | power_cutter,,,,,1009 | power-cutter state | 1.0 0.0 0.0 1.0
coal | M1 | alarm_device,,,,,1012 | alarm-device state | 0.0 1.0 1.0 0.0
coal | M1 | substation,,,,,4001 | substation state | 1.0 0.0 0.0 1.0
coal | M1 | power_supply,,,,,4002 | power-supply state | 2.0 0.0 0.0 1.0
# Tiers of a bureau.
coal regulator | M1 | co,ppm,0,1000, | tier-co yellow | 99.0 100.0 100.0 99.0
coal regulator | M1 | co,ppm,0,1000, | tier-co orange | 299.0 300.0 300.0 299.0
coal regulator | M1 | co,ppm,0,1000, | tier-co red | 499.0 500.0 500.0 499.0
coal regulator | M1 | ch4,%,0,10,T1 | tier-ch4 blue | 0.99 1.0 1.0 0.99
coal regulator | M1 | ch4,%,0,10,T2 | tier-ch4 red | 0.99 1.0 1.0 0.99
coal regulator | M1 | ch4,%,0,10,T5 | tier-ch4 red | 0.99 1.0 1.0 0.99
coal regulator | M1 | ch4,%,0,10,T6 | tier-ch4 red | 0.99 1.0 1.0 0.99
coal regulator | M1 | ch4,%,0,10,T8 | tier-ch4 red | 0.99 1.0 1.0 0.99
coal regulator | M1 | ch4,%,0,10,return-middle | tier-ch4 red | 0.99 1.0 1.0 0.99
coal regulator | M1 | 1301回风巷:ch4,%,0,10, | tier-ch4 red | 0.99 1.0 1.0 0.99
coal regulator | M1 | ch4,%,0,10,T3 | tier-ch4 red | 0.49 0.5 0.5 0.49
coal regulator | M1 | ch4,%,0,10,T4 | tier-ch4 red | 0.49 0.5 0.5 0.49
coal regulator | M1 | 1301进风巷:ch4,%,0,10, | tier-ch4 red | 0.49 0.5 0.5 0.49
# Hazardous chemicals.
chemical | C1 | combustible,%LEL,0,100, | combustible-gas first | 24.9 25.0 25.0 24.9
chemical | C1 | combustible,%LEL,0,100, | combustible-gas second | 49.9 50.0 50.0 49.9
chemical | C1 | combustible_path,,0,5, | combustible-open-path first | 0.9 1.0 1.0 0.9
chemical | C1 | combustible_path,,0,5, | combustible-open-path second | 1.9 2.0 2.0 1.9
chemical | C1 | o2,%,0,25, | oxygen-deficiency low | 19.5 19.4 19.4 19.5
chemical | C1 | o2,%,0,25, | oxygen-enrichment high | 23.5 23.6 23.6 23.5
chemical | C1 | level,m,0,12,,,10,9.8,11,10.8,2,2.2,1,1.2 | tank-limits alarm | 9.9 10.0 9.8 9.7
chemical | C1 | level,m,0,12,,,10,9.8,11,10.8,2,2.2,1,1.2 | tank-limits cut | 10.9 11.0 10.8 10.7
chemical | C1 | level,m,0,12,,,10,9.8,11,10.8,2,2.2,1,1.2 | tank-limits low_alarm | 2.1 2.0 2.2 2.3
chemical | C1 | level,m,0,12,,,10,9.8,11,10.8,2,2.2,1,1.2 | tank-limits low_cut | 1.1 1.0 1.2 1.3
chemical | C1 | combustible,%LEL,0,100,,,20,18,40,36 | gas-limits alarm | 19 20 18 17.8
chemical | C1 | combustible,%LEL,0,100,,,20,18,40,36 | gas-limits cut | 38 40 36 35.6
chemical | C1 | co,mg/m3,0,500,,,20,18,40,36 | gas-limits alarm | 19 20 18 17.8
chemical | C1 | co,mg/m3,0,500,,,20,18,40,36 | gas-limits cut | 38 40 36 35.6
chemical | C1 | h2s,ppm,0,100,,,10,9,20,18 | gas-limits alarm | 9.5 10 9 8.9
chemical | C1 | h2s,ppm,0,100,,,10,9,20,18 | gas-limits cut | 19 20 18 17.8
chemical | C1 | nh3,ppm,0,100,,,20,18,40,36 | gas-limits alarm | 19 20 18 17.8
chemical | C1 | nh3,ppm,0,100,,,20,18,40,36 | gas-limits cut | 38 40 36 35.6
chemical | C1 | cl2,ppm,0,10,,,0.5,0.45,1,0.9 | gas-limits alarm | 0.475 0.5 0.45 0.445
chemical | C1 | cl2,ppm,0,10,,,0.5,0.45,1,0.9 | gas-limits cut | 0.95 1 0.9 0.89
chemical | C1 | so2,ppm,0,20,,,2,1.8,4,3.6 | gas-limits alarm | 1.9 2 1.8 1.78
chemical | C1 | so2,ppm,0,20,,,2,1.8,4,3.6 | gas-limits cut | 3.8 4 3.6 3.56
chemical | C1 | no2,mg/m3,0,20,,,5,4.5,10,9 | gas-limits alarm | 4.75 5 4.5 4.45
chemical | C1 | no2,mg/m3,0,20,,,5,4.5,10,9 | gas-limits cut | 9.5 10 9 8.9
chemical chemical-unverified | C1 | co,ppm,0,1000, | unverified-toxic-co first | 23.9 24.0 24.0 23.9
chemical chemical-unverified | C1 | co,ppm,0,1000, | unverified-toxic-co second | 159.0 160.0 160.0 159.0
chemical chemical-unverified | C1 | nh3,ppm,0,100, | unverified-toxic-nh3 first | 24.9 25.0 25.0 24.9
chemical chemical-unverified | C1 | nh3,ppm,0,100, | unverified-toxic-nh3 second | 49.9 50.0 50.0 49.9
chemical chemical-unverified | C1 | cl2,ppm,0,10, | unverified-toxic-cl2 first | 0.29 0.3 0.3 0.29
chemical chemical-unverified | C1 | cl2,ppm,0,10, | unverified-toxic-cl2 second | 0.59 0.6 0.6 0.59
";

#[test]
fn the_published_tables() {
    for row in TABLE.lines().filter(|row| !row.starts_with('#')) {
        let [packs, site, point, level, values] = row.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let packs: Vec<&str> = packs.split(' ').collect();
        let values = values.split(' ').zip(0..).map(|(v, s)| (s, v.parse().unwrap(), 0));
        let mut out = judged(&packs, site, point, &values.collect::<Vec<_>>());
        out.retain(|line| line.starts_with(&format!("{level} ")));
        assert_eq!(out, [format!("{level} on 1"), format!("{level} off 3")], "{row}");
    }
}

const FACE: &str = "ch4,%,0,10,T1,0043";

/// Rule, level, point, pack; for how many seconds this value with this status must last.
const LASTING: [(&str, &str, &str, &str, i64, f64, i32); 13] = [
    ("calibration-long", "status", FACE, "coal", 1800, 0.2, CALIBRATION),
    ("paused", "status", FACE, "coal", 300, 0.2, PAUSED),
    ("coal-fault", "status", FACE, "coal", 30, 0.2, NOT_INSPECTED),
    ("coal-fault", "status", "wind,m/s,0,15,face", "coal", 30, f64::NAN, 0),
    ("plant-fault", "status", "level,m,0,12,", "chemical", 30, 5.0, NOT_INSPECTED),
    ("plant-fault", "status", "h2s,ppm,0,100,", "chemical", 30, f64::NAN, 0),
    ("plant-paused", "status", "h2s,ppm,0,100,", "chemical", 300, 5.0, PAUSED),
    ("door", "state", "door,,,,,1002", "coal", 300, 1.0, 0),
    ("feed", "state", "feed,,,,,1015", "coal", 120, 0.0, 0),
    ("ch4-mismatch-face", "mine_only", FACE, "coal", 60, 0.4, ALARM),
    ("ch4-mismatch-face-cut", "ours_only", FACE, "coal", 60, 1.6, ALARM),
    ("ch4-range", "low", FACE, "coal", 30, -0.06, 0),
    ("tier-ch4", "yellow", FACE, "regulator", 300, 1.0, 0),
];

/// The texts of a key, one or a list; none where it does not stand.
fn listed<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let Some((_, said)) = text.split_once(&format!("{key} = ")) else { return Vec::new() };
    let list = said.strip_prefix('[').and_then(|list| list.split(']').next());
    let (all, most) = list.map_or((said, 1), |list| (list, usize::MAX));
    all.split('"').skip(1).step_by(2).take(most).collect()
}

/// What a row of [`TABLE`] must hold for each place and each word of a name that a text names; something that all hold where it names none.
/// Places with a `*` stand for others.
fn places_of(text: &str) -> Vec<String> {
    let places = listed(text, "place").into_iter().filter(|p| !p.contains('*'));
    let words = listed(text, "keyword").into_iter().map(|word| format!("{word}:"));
    let all: Vec<String> = places.map(|place| format!(",{place} | ")).chain(words).collect();
    if all.is_empty() { vec![" | ".to_owned()] } else { all }
}

/// Each level of a rule with the text that says where it counts.
fn levels_of<'a>(kind: &str, text: &'a str) -> Vec<(&'a str, &'a str)> {
    let until = |text: &'a str, end: char| text.split(end).next().unwrap();
    match kind {
        "state" => vec![("state", text)],
        "limit" => text.split("{ name = \"").skip(1).map(|l| (until(l, '"'), text)).collect(),
        _ => {
            let rows = text.split("{ on = ").skip(1).map(|row| until(row, '}'));
            rows.map(|row| (until(row.split_once("severity = \"").unwrap().1, '"'), row)).collect()
        }
    }
}

/// Each level of each limit and each switch, and each row of each grade, of the packs stands in one of the two tables, at its place.
#[test]
fn no_row_of_the_packs_is_left_out() {
    let catalog = Catalog::default();
    for (name, text) in rules::packs() {
        let (program, _) = Program::compile(&[pack(name)], &catalog);
        let judged = |r: &&rules::RuleInfo| matches!(r.kind, "limit" | "state" | "grade");
        for rule in program.rules().iter().filter(judged) {
            let text =
                text.split("[[rule]]").find(|t| t.contains(&format!("name = \"{}\"\n", rule.name))).unwrap();
            for (level, said) in levels_of(rule.kind, text) {
                for place in places_of(said) {
                    let of = |row: &str| row.contains(&format!(" | {} {level} | ", rule.name));
                    let lasting = LASTING.iter().any(|c| (c.0, c.1) == (&rule.name, level));
                    assert!(
                        lasting || TABLE.lines().any(|r| of(r) && r.contains(&place)),
                        "{name}: {} {level} {place}",
                        rule.name
                    );
                }
            }
        }
    }
}

/// What lasts, or what the bits of the mine say.
#[test]
fn times_and_bits() {
    // Of a rule, or of one of its levels.
    let of = |packs: &[&str], site, point: &str, rule: &str, rows: &[(i64, f64, i32)]| {
        let mut out = judged(packs, site, point, rows);
        out.retain(|line| line.starts_with(&format!("{rule} ")));
        out
    };
    let each = |from: i64, to: i64, value: f64, status: i32| (from..to).map(move |s| (s, value, status));
    let lasting = |seconds: i64, value, status| each(0, seconds + 1, value, status).collect::<Vec<_>>();
    let last = |rule: &str, level: &str, s: i64| vec![format!("{rule} {level} on {s}")];
    let cases = LASTING;
    for (rule, level, point, pack, s, value, status) in cases {
        let (packs, site) = (&[pack], if pack == "chemical" { "C1" } else { "M1" });
        let what = format!("{rule} {level}");
        assert_eq!(of(packs, site, point, &what, &lasting(s, value, status)), last(rule, level, s), "{rule}");
        assert!(of(packs, site, point, &what, &lasting(s - 1, value, status)).is_empty(), "{rule}, earlier");
    }
    // A source without type codes need not carry the mine's bits.
    assert!(of(&["coal"], "M1", "ch4,%,0,10,T1", "ch4-mismatch-face", &lasting(90, 1.2, 0)).is_empty());
    for (place, over) in [("T1", 1.0), ("T2", 1.0), ("T3", 0.5), ("T7", 2.5), ("bunker", 1.5)] {
        let rows = [(0, over - 0.01, 0), (10, over, 0), (130, over, CALIBRATION)];
        let out = judged(&["coal"], "M1", &format!("ch4,%,0,10,{place}"), &rows);
        assert_eq!(out.iter().filter(|l| l.ends_with("masked on 130")).count(), 1, "{out:?}");
    }
    // Where the point's own limit is stricter it is the one that is masked, and compared with the mine's bit.
    let strict = "ch4,%,0,10,T1,0043,0.8,0.8,1.2,1.0";
    let masked =
        of(&["coal"], "M1", strict, "ch4-masked", &[(0, 0.7, 0), (10, 0.85, 0), (60, 0.85, CALIBRATION)]);
    assert_eq!(masked, ["ch4-masked masked on 60"]);
    let mismatch = |rule: &str, value, status| of(&["coal"], "M1", strict, rule, &lasting(60, value, status));
    assert_eq!(mismatch("ch4-mismatch-face", 0.85, 0), ["ch4-mismatch-face ours_only on 60"]);
    assert_eq!(mismatch("ch4-mismatch-face", 0.85, ALARM), [""; 0]);
    assert_eq!(mismatch("ch4-mismatch-face-cut", 1.3, ALARM), ["ch4-mismatch-face-cut ours_only on 60"]);
    assert_eq!(mismatch("ch4-mismatch-face-cut", 1.3, ALARM | CUT), [""; 0]);
    // A tank that rises by 1 m in ten minutes, 10 m below its high-high limit; then one that is near.
    let tank = "level,m,0,40,,,38,38,39,39,,,,";
    let rise = |from: f64| (0..120i64).map(move |i| (i * 10, from + i as f64 / 60.0, 0)).collect::<Vec<_>>();
    assert_eq!(of(&["chemical"], "C1", tank, "tank-fills", &rise(10.0)), [""; 0]);
    let near = of(&["chemical"], "C1", tank, "tank-fills", &rise(35.0));
    assert!(near.iter().any(|l| l.contains("soon on")), "{near:?}");
}

/// Sensors and clocks over hours.
#[test]
fn the_health_of_sensors() {
    let rows = |value: &dyn Fn(i64) -> f64| (0..1500i64).map(|i| (i * 10, value(i), 0)).collect::<Vec<_>>();
    let out = |value: &dyn Fn(i64) -> f64| judged(&["health"], "M1", "ch4,%,0,10,T1", &rows(value));
    let lively = |i: i64| 0.4 + 0.01 * (i % 7) as f64;
    assert_eq!(out(&lively), [""; 0]);
    assert_eq!(out(&|_| 0.4), ["ch4-stuck stuck on 7200"]);
    assert_eq!(out(&|_| 0.1), [""; 0]);
    let noisy = |i: i64| 0.4 + if i > 1300 && i % 2 == 0 { 0.3 } else { 0.0 } + 0.01 * (i % 3) as f64;
    assert!(out(&noisy).iter().any(|l| l.starts_with("ch4-noise noise on")), "{:?}", out(&noisy));
    let spike = |i: i64| if i == 700 { 1.2 } else { lively(i) };
    assert!(out(&spike).contains(&"ch4-spike spike on 7010".to_owned()));
}

#[test]
fn every_rule_names_its_source_and_what_has_none_is_off_by_default() {
    let catalog = catalog("M1", "ch4,%,0,10,T1,0043");
    let mut names = std::collections::BTreeMap::new();
    for (name, _) in rules::packs() {
        let (program, problems) = Program::compile(&[pack(name)], &catalog);
        assert!(problems.0.is_empty(), "{name}: {problems}");
        for rule in program.rules() {
            assert!(rule.source.len() > 10, "{name}: {} has no source", rule.name);
            let unverified = name.ends_with("-unverified");
            assert_eq!(rule.source.starts_with("(unverified)"), unverified, "{name}: {}", rule.name);
            assert_eq!(names.insert(rule.name.clone(), *name), None, "{} stands twice", rule.name);
        }
    }
    assert!(names.len() > 80, "{} rules", names.len());
}
