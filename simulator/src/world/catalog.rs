//! The catalog of a world as the files a user would write: `sites.csv`, `points.csv`, and rules for the tank farms.

use super::{SimLimits, SimPoint, SimSite, World};
use model::time::show_duration;
use std::fmt::Write;

/// Limits of the tank farms of the simulator. The coal pack carries the mines' legal limits; a tank's are the owner's.
const PLANT_RULES: &str = r#"# Limits of the simulated tank farms. Levels by the tank, gas by GB/T 50493-2019 (25 and 50 %LEL).

[[rule]]
name = "tank-level"
kind = "limit"
select = { quantity = "level" }
source = "simulated tank farm: high 85 %, high-high 90 % of 12 m"
level = [
  { name = "high", on = ">= 10.2", off = "< 10.0", severity = "yellow" },
  { name = "high-high", on = ">= 10.8", off = "< 10.6", severity = "red" },
]

[[rule]]
name = "tank-gas"
kind = "limit"
select = { quantity = "gas" }
source = "GB/T 50493-2019, combustible gas"
level = [
  { name = "first", on = ">= 25", off = "< 25", severity = "yellow" },
  { name = "second", on = ">= 50", off = "< 50", severity = "red" },
]
"#;

impl World {
    /// `sites.csv`.
    pub fn sites_csv(&self) -> String {
        let mut out = String::from("site,name,kind,region,lon,lat,state,gas_class,address\n");
        for s in &self.sites {
            let SimSite { code, name, kind, region, lon, lat, gas_class, .. } = s;
            let _ = writeln!(
                out,
                "{code},{name},{kind},{region},{lon:.4},{lat:.4},operating,{gas_class},simulated"
            );
        }
        out
    }

    /// `points.csv`.
    pub fn points_csv(&self) -> String {
        let mut out = String::from(
            "site,point,name,quantity,unit,low,high,place,period,alarm_on,alarm_off,cut_on,cut_off,low_alarm_on,\
             low_alarm_off,labels,type_code,value_type\n",
        );
        for s in &self.sites {
            let period = show_duration(s.period.as_micros() as i64);
            for p in &s.points {
                row(&mut out, s, p, &period);
            }
        }
        out
    }

    /// Rules that this world needs beside the coal pack; `None` when it has no plant.
    pub fn rules_toml(&self) -> Option<String> {
        self.sites.iter().any(|s| s.kind == "plant").then(|| PLANT_RULES.to_owned())
    }
}

fn row(out: &mut String, s: &SimSite, p: &SimPoint, period: &str) {
    let number = |v: Option<f64>| v.map(|v| v.to_string()).unwrap_or_default();
    let value_type = match (p.type_code.is_empty(), p.is_switch()) {
        (true, _) => "",
        (_, true) => "KG",
        (_, false) => "MN",
    };
    let (low, high) = (number(p.range.map(|r| r.0)), number(p.range.map(|r| r.1)));
    // A tank's limits stand in the rules of its plant; a mine's stand in its CDDY files and so here too.
    let limits = if s.kind == "mine" { p.limits } else { SimLimits::default() };
    let restore = limits.cut.and(limits.alarm);
    // As in the CDDY file of the mine, so that the file says nothing that the catalog does not.
    let states = p.states.map(|(on, off)| format!("on={on};off={off}"));
    let labels: Vec<&str> =
        [p.labels, states.as_deref().unwrap_or_default()].into_iter().filter(|l| !l.is_empty()).collect();
    let _ = writeln!(
        out,
        "{},{},{},{},{},{low},{high},{},{period},{},{},{},{},{},{},{},{},{value_type}",
        s.code,
        p.code,
        p.name,
        p.quantity,
        p.unit,
        p.place,
        number(limits.alarm),
        number(limits.alarm),
        number(limits.cut),
        number(restore),
        number(limits.low),
        number(limits.low),
        labels.join(";"),
        p.type_code,
    );
}
