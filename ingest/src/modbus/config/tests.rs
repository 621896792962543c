//! Mistakes in a section, each named where it stands, and what a right one becomes.

use super::*;
use crate::modbus::plan::Table;
use model::problem::Problems;
use model::toml_file::TomlFile;

fn read(text: &str) -> (Option<Config>, Problems) {
    let file = TomlFile::parse("f.toml", text);
    let root = file.root();
    let time = if text.contains("\"replay\"") { TimeFrom::Replay } else { TimeFrom::Device };
    let info = crate::SourceInfo { name: "plc".into(), flags: 0 };
    let config = from_section(&Common { info, time }, &root);
    root.finish();
    (config, file.into_problems())
}

fn good(text: &str) -> Config {
    let (config, problems) = read(text);
    assert!(problems.0.is_empty(), "{problems}");
    config.unwrap()
}

/// The text has this problem, said with these words.
fn check(text: &str, expected: &str) {
    let (_, problems) = read(text);
    let shown = problems.to_string();
    assert!(shown.contains(expected), "missing `{expected}` in\n{shown}");
}

const HEAD: &str = "url = \"tcp://10.0.0.5\"\nsite = \"P1\"\n";

fn register(keys: &str) -> String {
    format!("{HEAD}register = [{{ point = \"A\", {keys} }}]\n")
}

#[test]
fn defaults_and_indexes() {
    let config = good(&format!(
        "{HEAD}register = [\n{{ point = \"B\", address = 9, unit = 2 }},\n{{ point = \"A\", address = 4, type = \"f32\", \
         status = {{ address = 1, map = [{{ equals = 3, set = \"paused\" }}] }} }} ]"
    ));
    assert_eq!(
        (config.target.to_string().as_str(), config.every, config.timeout),
        ("10.0.0.5:502", SECONDS_1, SECONDS_1)
    );
    assert_eq!(config.units.iter().map(|u| u.unit).collect::<Vec<_>>(), [1, 2]);
    let unit = &config.units[0];
    let items: Vec<_> = unit.items.iter().map(|i| (i.table, i.address, i.width)).collect();
    assert_eq!(items, [(Table::Holding, 1, 1), (Table::Holding, 4, 2)]);
    let point = &unit.points[0];
    assert_eq!((point.item, point.order, point.site.as_str()), (1, Order::Abcd, "P1"));
    let status = point.status.as_ref().unwrap();
    assert_eq!((status.item, status.map[0].bits(3), status.map[0].bits(7)), (0, model::status::PAUSED, 0));
}

const SECONDS_1: Duration = Duration::from_secs(1);

#[test]
fn the_same_registers_on_many_units() {
    let config = good(&format!(
        "{HEAD}units = \"3, 7-9\"\nregister = [{{ point = \"LT-{{unit}}\", site = \"P{{unit}}\", address = 0 }}]"
    ));
    let names: Vec<_> =
        config.units.iter().map(|u| (u.unit, u.points[0].site.clone(), u.points[0].point.clone())).collect();
    let expected = [3, 7, 8, 9].map(|n| (n, format!("P{n}"), format!("LT-{n}")));
    assert_eq!(names, expected);
    check(
        &format!("{HEAD}units = \"1-2\"\nregister = [{{ point = \"A\", address = 0 }}]"),
        "f.toml:4:23: error: point `A` of site `P1` stands twice",
    );
    check(&format!("{HEAD}units = \"9-2\"\n"), "f.toml:3:9: error: `units`: 9-2 goes backwards");
    check(&format!("{HEAD}units = \"1,x\"\n"), "`units`: `x` is no number from 0 to 255");
    check(&format!("{HEAD}units = \"1, 1-2\"\n"), "`units` names a unit twice");
    check(&format!("{HEAD}unit = 1\nunits = \"1-2\"\n"), "`unit` and `units` stand together");
}

#[test]
fn mistakes_of_a_register() {
    check(&register("adress = 0"), "did you mean `address`?");
    check(&register("type = \"u16\""), "`register.address` is missing");
    check(&register("address = 65535, type = \"f32\""), "`register.address` is 65535, outside 0 to 65534");
    check(&register("address = 40001, table = \"holdings\""), "did you mean `holding`?");
    check(&register("address = 0, type = \"float\""), "`register.type` is `float`, expected one of u16, i16");
    check(&register("address = 0, order = \"abcd\""), "`register.order` is `abcd`");
    check(&register("address = 0, type = \"bit\""), "`register.bit` is missing");
    check(&register("address = 0, bit = 3"), "`bit` stands beside type `u16`");
    check(&register("address = 0, bit = 16, type = \"bit\""), "`register.bit` is 16, outside 0 to 15");
    check(&register("address = 0, table = \"coil\", type = \"u16\""), "table `coil` holds single bits");
    check(&register("address = 0, scale = nan"), "expected a finite number");
    check(&register("address = 0, unit = 256"), "outside 0 to 255");
    check("url = \"tcp://h\"\nregister = [{ point = \"A\", address = 0 }]", "`register.site` is missing");
    check(
        &format!("{HEAD}register = [{{ point = \"\", address = 0 }}]"),
        "`point` and `site` have 1 to 256 bytes",
    );
    check(HEAD, "`register` is missing");
    let many: String = (0..20).map(|n| format!("{{ point = \"A\", address = {n} }},")).collect();
    let (_, problems) = read(&format!("{HEAD}register = [{many}]"));
    assert_eq!(problems.errors(), 19, "each is told");
}

#[test]
fn mistakes_of_a_status_word() {
    let status = |map: &str| register(&format!("address = 0, status = {{ address = 1, map = [{map}] }}"));
    check(&status(""), "`register.status.map` is missing");
    check(&status("{ bit = 1 }"), "`register.status.map.set` is missing");
    check(&status("{ set = \"alarm\" }"), "`register.status.map.bit` is missing");
    check(&status("{ bit = 1, set = \"sensor fault\" }"), "did you mean `sensor_fault`?");
    check(&status("{ bit = 1, set = \"simulated\" }"), "`set`: `simulated` is none of alarm, cut");
    check(&status("{ bit = 1, mask = 2, set = \"alarm\" }"), "`bit` and `mask` stand together");
    check(&status("{ mask = 2, equals = 1, set = \"alarm\" }"), "is never true");
    let bits = good(&register(
        "address = 0, status = { table = \"coil\", address = 1, map = [{ set = [\"cut\", \"alarm\"] }] }",
    ));
    assert_eq!(bits.units[0].points[0].status.as_ref().unwrap().map[0].bits(1), 3);
}

#[test]
fn mistakes_of_the_link_and_of_time() {
    let with = |keys: &str| format!("{}{keys}", register("address = 0"));
    check("url = \"10.0.0.5:502\"", "cannot be read");
    check("url = \"http://10.0.0.5\"", "has scheme `http`, expected `tcp`");
    check("url = \"tcp://u:p@10.0.0.5/x\"", "holds more than host and port");
    check("site = \"P1\"", "`url` is missing");
    check(&with("every = \"0s\""), "`every` is 0ms, outside 1ms to 1d");
    check(
        &with("timeout = \"2min\""),
        "`timeout` is 2min, outside 10ms to 60s".replace("60s", "1min").as_str(),
    );
    check(&with("block = 126"), "outside 4 to 125");
    check(&with("time = \"device\""), "Modbus carries no time of the device");
    check(&with("start = \"2026-11-19T00:00:00Z\""), "belong to a replay");
    check(&with("time = \"replay\""), "`start` is missing");
    check(&with("time = \"replay\"\nstart = \"2026-11-19 00:00:00\"\nstep = \"30s\""), "has no zone");
    check(&with("time = \"replay\"\nstart = \"0\"\nstep = \"0s\""), "`step` is not above zero");
    check(
        &with("time = \"replay\"\nstart = \"0\"\nstep = \"1s\"\nrow = { address = 5, type = \"f32\" }"),
        "a row number cannot be a `f32`",
    );
    assert_eq!(parse_target("tcp://[::1]:5020").unwrap().to_string(), "[::1]:5020");
}

#[test]
fn a_replay_knows_where_its_row_number_stands() {
    let keys = "time = \"replay\"\nstart = \"2026-11-19T00:00:00Z\"\nstep = \"30s\"\nrow = { unit = 9, address = 5, type = \"u32\" }";
    let config = good(&format!("{}{keys}", register("address = 0")));
    let replay = config.replay.unwrap();
    let row = replay.row.unwrap();
    assert_eq!((config.units[row.unit].unit, config.units[row.unit].items[row.item].address), (9, 5));
    assert_eq!(replay.step, 30 * SECOND);
}

#[test]
fn every_key_is_documented_and_every_documented_key_is_known() {
    // Each documented key is put where it belongs; the only complaint about it may be its value, never its name.
    for doc in crate::modbus::keys::KEYS {
        let (parents, key) = doc.key.rsplit_once('.').unwrap_or(("", doc.key));
        let text = match parents {
            "" => format!("{key} = []"),
            "row" => format!("time = \"replay\"\nrow = {{ {key} = [] }}"),
            "register" => format!("register = [{{ {key} = [] }}]"),
            "register.status" => format!("register = [{{ status = {{ {key} = [] }} }}]"),
            "register.status.map" => format!("register = [{{ status = {{ map = [{{ {key} = [] }}] }} }}]"),
            other => panic!("{other}"),
        };
        let (_, problems) = read(&text);
        assert!(!problems.to_string().contains("unknown key"), "{}: {problems}", doc.key);
    }
    // And what is asked for is documented: the parser lists what it knows when a key is far from all of them.
    for (text, parents) in [
        ("zzzzzzzzzzzzzzzz = 1", ""),
        ("time = \"replay\"\nrow = { zzzzzzzzzzzzzzzz = 1 }", "row."),
        ("register = [{ zzzzzzzzzzzzzzzz = 1 }]", "register."),
        ("register = [{ status = { zzzzzzzzzzzzzzzz = 1 } }]", "register.status."),
        ("register = [{ status = { map = [{ zzzzzzzzzzzzzzzz = 1 }] } }]", "register.status.map."),
    ] {
        let (_, problems) = read(text);
        let shown = problems.to_string();
        let known = shown
            .lines()
            .find_map(|l| l.trim().strip_prefix("help: known here: "))
            .unwrap_or_else(|| panic!("{shown}"));
        for key in known.split(", ") {
            let full = format!("{parents}{key}");
            let table = crate::modbus::keys::KEYS
                .iter()
                .any(|d| d.key == full || d.key.starts_with(&format!("{full}.")));
            assert!(table || ["time", "row.bit"].contains(&full.as_str()), "{full} is not documented");
        }
    }
}
