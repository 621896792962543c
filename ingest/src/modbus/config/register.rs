//! One `register` of a section: where a value stands, what it is, the status word beside it.

use super::{PointConfig, RowPlace, StatusConfig, StatusRule, Unit};
use crate::builder::NAME_LEN_MAX;
use crate::configure::NamedPoint;
use crate::modbus::plan::{self, Item, Table};
use crate::modbus::value::{Linear, Order, Type};
use model::problem::nearest;
use model::status;
use model::toml_file::Section;
use std::collections::{BTreeMap, HashSet};

/// What the section says for all its registers.
pub(super) struct Defaults<'a> {
    /// Site of a register that names none.
    pub site: Option<&'a str>,
    /// Units of a register that names none.
    pub units: Vec<u8>,
}

/// A point before the items of its unit are sorted.
struct Draft {
    value: Item,
    status: Option<(Item, Vec<StatusRule>)>,
    point: PointConfig,
}

/// Points by unit, and where each is named.
#[derive(Default)]
pub(super) struct Drafts {
    units: BTreeMap<u8, Vec<Draft>>,
    known: HashSet<(String, String)>,
    named: Vec<NamedPoint>,
}

/// Where a value stands and how it is read.
struct Place {
    item: Item,
    ty: Type,
    order: Order,
    bit: u8,
}

impl Drafts {
    /// How many points there are.
    pub(super) fn points(&self) -> usize {
        self.known.len()
    }

    /// The points and where they are named.
    pub(super) fn named(&mut self) -> Vec<NamedPoint> {
        std::mem::take(&mut self.named)
    }

    /// Reads one register and adds its points: one, or one for each of `units`.
    pub(super) fn read(&mut self, section: &Section<'_>, defaults: &Defaults<'_>) {
        let point = section.need_str("point", "\"LT-101\"");
        let site = section.str("site").map(|s| s.value).or(defaults.site);
        if site.is_none() && !section.has("site") {
            section.missing("site", "\"P1\"");
        }
        let place = place(section);
        let number = |key, default| section.f64(key).map_or(default, |n| n.value);
        let linear = Linear::new(number("scale", 1.0), number("offset", 0.0));
        let missing = section.f64("missing").map(|n| n.value);
        let status = section.table("status").and_then(|table| {
            let status = status_of(&table);
            table.finish();
            status
        });
        let own = section.int("unit", 0, 255).map(|n| vec![n.value as u8]);
        let units = own.as_ref().unwrap_or(&defaults.units);
        let (Some(point), Some(site), Some(place)) = (point, site, place) else { return };
        if point.value.is_empty()
            || point.value.len() > NAME_LEN_MAX
            || site.is_empty()
            || site.len() > NAME_LEN_MAX
        {
            let message = format!("`point` and `site` have 1 to {NAME_LEN_MAX} bytes");
            return section.file().error_at(point.at, message, "write the codes of the catalog");
        }
        for unit in units {
            let name = |text: &str| text.replace("{unit}", &unit.to_string());
            let names = (name(site), name(point.value));
            if !self.known.insert(names.clone()) {
                let message =
                    format!("point `{}` of site `{}` stands twice in this source", names.1, names.0);
                let help = "with `units`, write `{unit}` in the point: \"LT-{unit}\"";
                return section.file().error_at(point.at, message, help);
            }
            let named = NamedPoint { site: names.0.clone(), point: names.1.clone(), at: point.at };
            self.named.push(named);
            let point = PointConfig {
                site: names.0,
                point: names.1,
                item: 0,
                ty: place.ty,
                order: place.order,
                bit: place.bit,
                linear,
                missing,
                status: None,
            };
            self.units.entry(*unit).or_default().push(Draft {
                value: place.item,
                status: status.clone(),
                point,
            });
        }
    }

    /// The units with their items sorted, and the indexes of the points into them. `extra` is read beside them.
    pub(super) fn assemble(mut self, extra: Option<(u8, Item)>) -> Vec<Unit> {
        if let Some((unit, _)) = extra {
            self.units.entry(unit).or_default();
        }
        self.units
            .into_iter()
            .map(|(unit, drafts)| {
                let own =
                    drafts.iter().flat_map(|d| [Some(d.value), d.status.as_ref().map(|s| s.0)]).flatten();
                let extra = extra.filter(|(of, _)| *of == unit).map(|(_, item)| item);
                let items = plan::sort(own.chain(extra).collect());
                let index =
                    |item: &Item| items.binary_search(item).expect("the items were collected from here");
                let points = drafts
                    .iter()
                    .map(|d| PointConfig {
                        item: index(&d.value),
                        status: d
                            .status
                            .as_ref()
                            .map(|(item, map)| StatusConfig { item: index(item), map: map.clone() }),
                        ..d.point.clone()
                    })
                    .collect();
                Unit { unit, items, points }
            })
            .collect()
    }
}

fn table_of(section: &Section<'_>) -> Option<Table> {
    if !section.has("table") {
        return Some(Table::Holding);
    }
    Table::from_word(section.one_of("table", &Table::WORDS)?.value)
}

/// Address of a value of `width` places; the last of them is 65,535.
fn address(section: &Section<'_>, width: u16) -> Option<u16> {
    if !section.has("address") {
        section.missing("address", "0");
        return None;
    }
    section.int("address", 0, 65_536 - i64::from(width)).map(|n| n.value as u16)
}

fn place(section: &Section<'_>) -> Option<Place> {
    let table = table_of(section);
    let default = if table.is_some_and(Table::is_bits) { "bit" } else { "u16" };
    let word = if section.has("type") {
        section.one_of("type", &Type::WORDS).map(|w| w.value)
    } else {
        Some(default)
    };
    let order = if section.has("order") {
        section.one_of("order", &Order::WORDS).map(|w| w.value)
    } else {
        Some("ABCD")
    };
    let bit = section.int("bit", 0, 15);
    let ty = word.and_then(Type::from_word);
    let address = address(section, ty.map_or(1, Type::registers));
    let (table, ty) = (table?, ty?);
    if table.is_bits() && (ty != Type::Bit || section.has("bit")) {
        let message = format!("table `{table}` holds single bits");
        section.error(message, "leave `type` and `bit` out, or read from `holding` or `input`");
        return None;
    }
    if !table.is_bits() && ty == Type::Bit && !section.has("bit") {
        section.missing("bit", "0");
        return None;
    }
    if ty != Type::Bit && section.has("bit") {
        section.error(format!("`bit` stands beside type `{ty}`"), "write `type = \"bit\"`");
        return None;
    }
    let item = Item { table, address: address?, width: ty.registers() };
    Some(Place { item, ty, order: Order::from_word(order?)?, bit: bit.map_or(0, |n| n.value as u8) })
}

/// The register that shows the number of the row in a replay.
pub(super) fn row(section: &Section<'_>, units: &[u8]) -> Option<RowPlace> {
    let unit = section.int("unit", 0, 255).map(|n| n.value as u8);
    let place = place(section)?;
    if matches!(place.ty, Type::Bit | Type::F32 | Type::F64) {
        section
            .error(format!("a row number cannot be a `{}`", place.ty), "write for example `type = \"u32\"`");
        return None;
    }
    Some((unit.or(units.first().copied())?, place.item, place.ty, place.order))
}

fn status_of(section: &Section<'_>) -> Option<(Item, Vec<StatusRule>)> {
    let table = table_of(section);
    let address = address(section, 1);
    let rules = section.tables("map");
    if rules.is_empty() {
        section.missing(
            "map",
            "[{ bit = 0, set = \"sensor_fault\" }, { mask = 0x0F, equals = 8, set = \"calibration\" }]",
        );
    }
    let map: Vec<_> = rules
        .into_iter()
        .filter_map(|rule| {
            let read = status_rule(&rule, table);
            rule.finish();
            read
        })
        .collect();
    Some((Item { table: table?, address: address?, width: 1 }, map))
}

fn status_rule(section: &Section<'_>, table: Option<Table>) -> Option<StatusRule> {
    let set = status_bits(section);
    let bit = section.int("bit", 0, 15).map(|n| 1u16 << n.value);
    let mask = section.int("mask", 1, 0xffff).map(|n| n.value as u16);
    let equals = section.int("equals", 0, 0xffff).map(|n| n.value as u16);
    let whole = if table.is_some_and(Table::is_bits) { Some(1) } else { None };
    let mask = match (bit, mask, whole) {
        (Some(_), Some(_), _) => {
            section.error("`bit` and `mask` stand together", "keep one of the two");
            return None;
        }
        (Some(one), None, _) | (None, Some(one), _) => one,
        (None, None, Some(one)) => one,
        (None, None, None) if equals.is_some() => 0xffff,
        (None, None, None) => {
            section.missing("bit", "0");
            return None;
        }
    };
    if let Some(equals) = equals.filter(|e| e & !mask != 0) {
        section
            .error(format!("`equals` {equals:#x} has bits outside the mask {mask:#x} and is never true"), "");
        return None;
    }
    Some(StatusRule { mask, equals, set: set? })
}

/// National bits by name; only these are a device's to set.
fn status_bits(section: &Section<'_>) -> Option<i32> {
    let names = status::names(status::NATIONAL);
    if !section.has("set") {
        section.missing("set", "\"sensor_fault\"");
        return None;
    }
    let mut bits = 0;
    let mut good = true;
    for word in section.strs("set")? {
        match names.iter().position(|n| *n == word.value) {
            Some(bit) => bits |= 1 << bit,
            None => {
                let help = nearest(word.value, names.iter().copied()).map(|n| format!("did you mean `{n}`?"));
                let message = format!("`set`: `{}` is none of {}", word.value, names.join(", "));
                section.file().error_at(word.at, message, help.unwrap_or_default());
                good = false;
            }
        }
    }
    good.then_some(bits)
}
