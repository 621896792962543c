//! Points that a Modbus source names and the catalog lacks: told by `check` where they stand.

use crate::stand::{BINARY, SITES};
use tests::firedamp::Firedamp;

const POINTS: &str = "site,point,name,quantity,unit,low,high,place\nLW,LT-101,,level,m,0,,\n";

fn config(policy: &str) -> String {
    format!(
        "[catalog]\nsites = \"sites.csv\"\npoints = [\"points.csv\"]\nunknown = \"{policy}\"\n\n[[source]]\nname = \"plc\"\n\
         kind = \"modbus\"\nurl = \"tcp://127.0.0.1:502\"\nsite = \"LW\"\nunits = \"1-3\"\nregister = [\n\
         {{ point = \"LT-101\", unit = 1, address = 0 }},\n{{ point = \"LT-102\", unit = 1, address = 1 }},\n\
         {{ point = \"LT-{{unit}}\", address = 2 }},\n{{ site = \"LX\", point = \"LT-101\", unit = 1, address = 3 }},\n]\n"
    )
}

#[test]
fn registers_of_points_that_the_catalog_lacks_are_named_where_they_stand() {
    let prepare = |policy: &str| {
        let text = config(policy);
        Firedamp::prepare(BINARY, &[("firedamp.toml", &text), ("sites.csv", SITES), ("points.csv", POINTS)])
    };
    let said = format!("{:#}", prepare("refuse").run(&["check", "firedamp.toml"]).unwrap_err());
    for expected in [
        // The harness adds a section of three lines at the top.
        "firedamp.toml:17:11: error: point `LT-102` of site `LW` is not in the catalog",
        "did you mean `LT-101`? Add a row to a points file; its readings would be refused",
        "firedamp.toml:18:11: error: 3 points are not in the catalog, the first is `LT-1` of site `LW`",
        "firedamp.toml:19:24: error: point `LT-101` of site `LX` is not in the catalog",
        "did you mean site `LW`?",
        "3 errors",
    ] {
        assert!(said.contains(expected), "missing `{expected}` in\n{said}");
    }
    // Where unknown points wait in quarantine, a source may be there before its points are.
    let good = prepare("quarantine").run(&["check", "firedamp.toml"]).unwrap();
    assert!(good.contains("good: 1 sites, 1 points"), "{good}");
}
