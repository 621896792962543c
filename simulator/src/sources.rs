//! The `[[source]]` sections that make firedamp read exactly the devices that were started.

use crate::modbus::encode::Kind;
use crate::modbus::map::Register;
use crate::run::{ModbusDevice, Running, Transport};
use crate::world::SimSite;
use model::time::show_duration;
use std::fmt::Write;

/// Mappings of [`crate::mqtt::payload`].
const ONE: &str = r#"map = { site = "{1}", point = "{3}", value = "/v", time = "/t", status = "/q" }"#;
const MANY: &str = "each = \"/readings\"\nmap = { site = \"{1}\", point = \"/p\", value = \"/v\", time = \"/t\", status = \"/q\" }";
const PEOPLE: &str = r#"map = { site = "{1}", card = "/card", name = "/name", area = "/area", station = "/station", time = "/time", out = "/out" }"#;
/// National status bits in a status word, lowest first.
const BITS: [&str; 8] =
    ["alarm", "cut", "calibration", "over_range", "station_fault", "not_inspected", "paused", "sensor_fault"];

impl Running {
    /// The sections, in TOML.
    pub fn sources_toml(&self) -> String {
        let mut out = String::new();
        if let Some(url) = &self.mqtt_url {
            self.mqtt(&mut out, url);
        }
        for device in &self.modbus {
            let sites = self.world.sites();
            if let Some(site) = sites.iter().find(|s| s.code == device.site) {
                device.units.iter().for_each(|unit| slave(&mut out, site, device, *unit));
            }
        }
        if let Some(dir) = &self.inbox {
            let dir = quoted(&dir.display().to_string());
            let _ = writeln!(out, "[[source]]\nname = \"sim-files\"\nkind = \"national\"\ndir = {dir}\n");
        }
        out
    }

    fn mqtt(&self, out: &mut String, url: &str) {
        let on_mqtt = |kind| {
            self.world
                .sites()
                .iter()
                .zip(self.transports())
                .any(|(s, t)| s.kind == kind && *t == Transport::Mqtt)
        };
        // rumqttd hangs up on a subscription of $SYS.
        let own = if self.broker_addr().is_some() { "watch_broker = false\n" } else { "" };
        let broker = format!("protocol = \"3.1.1\"\n{own}");
        let mut section = |name: &str, topics: &str, rest: &str| {
            let _ = writeln!(
                out,
                "[[source]]\nname = \"sim-{name}\"\nkind = \"mqtt\"\nurl = {}\ntopics = [\"{topics}\"]\ntime = \
                 \"device\"\n{broker}{rest}\n",
                quoted(url)
            );
        };
        if on_mqtt("mine") {
            section("gas", "mine/+/gas/+", ONE);
            section("batch", "mine/+/batch", MANY);
            section("people", "mine/+/people", PEOPLE);
        }
        if on_mqtt("plant") {
            section("plant", "plant/+/batch", MANY);
        }
    }
}

fn slave(out: &mut String, site: &SimSite, device: &ModbusDevice, unit: u8) {
    let every = show_duration(site.period.as_micros() as i64);
    let _ = writeln!(
        out,
        "[[source]]\nname = \"sim-{}-{unit}\"\nkind = \"modbus\"\nurl = \"tcp://{}\"\nsite = {}\nunit = {unit}\nevery = \
         \"{every}\"\nregister = [",
        site.code,
        device.addr,
        quoted(&site.code)
    );
    for r in device.map.registers.iter().filter(|r| r.unit == unit) {
        register(out, &site.points[r.point].code, r);
    }
    out.push_str("]\n\n");
}

fn register(out: &mut String, point: &str, r: &Register) {
    let _ = write!(
        out,
        "  {{ point = {}, table = \"{}\", address = {}, type = \"{}\"",
        quoted(point),
        r.table.word(),
        r.address,
        r.kind.word()
    );
    if r.kind.width() > 1 {
        let _ = write!(out, ", order = \"{}\"", r.order);
    }
    if r.kind != Kind::Bit {
        let _ = write!(out, ", scale = {:?}, offset = 0.0", r.scale);
    }
    if let Some(missing) = r.kind.missing() {
        let _ = write!(out, ", missing = {missing}");
    }
    if let Some(status) = r.status {
        let bits: Vec<String> =
            BITS.iter().enumerate().map(|(bit, set)| format!("{{ bit = {bit}, set = \"{set}\" }}")).collect();
        let bits = bits.join(", ");
        let _ = write!(out, ", status = {{ table = \"holding\", address = {status}, map = [{bits}] }}");
    }
    out.push_str(" },\n");
}

/// A text of TOML.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
