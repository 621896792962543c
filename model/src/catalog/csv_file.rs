//! Sites and points from CSV.

use super::{Limits, Place, Point, Site};
use crate::csv_file::{Row, rows};
use crate::problem::Problems;

const SITE_COLUMNS: [&str; 9] =
    ["site", "name", "kind", "region", "lon", "lat", "state", "gas_class", "address"];
const POINT_COLUMNS: [&str; 24] = [
    "site",
    "point",
    "name",
    "quantity",
    "unit",
    "low",
    "high",
    "place",
    "period",
    "region",
    "hazard_level",
    "alarm_on",
    "alarm_off",
    "cut_on",
    "cut_off",
    "low_alarm_on",
    "low_alarm_off",
    "low_cut_on",
    "low_cut_off",
    "relations",
    "labels",
    "type_code",
    "value_type",
    "salt",
];
/// What a site may be doing.
pub const SITE_STATES: [&str; 4] = ["operating", "idle", "maintenance", "starting"];

/// Sites of a CSV text; rows with mistakes are told in `problems` and left out.
pub fn sites_from_csv(file: &str, text: &str, problems: &mut Problems) -> Vec<(Site, Place)> {
    rows(file, text, &SITE_COLUMNS, 4, problems, |row| {
        let site = Site {
            code: row.needed("site"),
            name: row.text("name"),
            kind: row.word("kind", &["mine", "plant"]),
            region: region(row),
            lon: row.number("lon"),
            lat: row.number("lat"),
            state: if row.text("state").is_empty() {
                "operating".to_owned()
            } else {
                row.word("state", &SITE_STATES)
            },
            gas_class: row.text("gas_class"),
            address: row.text("address"),
        };
        if site.region.is_empty() {
            row.error("region", "region is empty".to_owned(), "write the six digits of GB/T 2260");
        }
        site
    })
}

/// Points of a CSV text; rows with mistakes are told in `problems` and left out.
pub fn points_from_csv(file: &str, text: &str, problems: &mut Problems) -> Vec<(Point, Place)> {
    rows(file, text, &POINT_COLUMNS, 8, problems, |row| {
        let (low, high) = (row.number("low"), row.number("high"));
        if let (Some(low), Some(high)) = (low, high)
            && low >= high
        {
            row.error("low", format!("low {low} is not below high {high}"), "the range is low to high");
        }
        Point {
            site: row.needed("site"),
            code: row.needed("point"),
            name: row.text("name"),
            quantity: row.needed("quantity"),
            unit: row.text("unit"),
            low,
            high,
            place: row.text("place"),
            period: row.duration("period"),
            region: region(row),
            hazard_level: row.text("hazard_level"),
            limits: Limits {
                alarm_on: row.number("alarm_on"),
                alarm_off: row.number("alarm_off"),
                cut_on: row.number("cut_on"),
                cut_off: row.number("cut_off"),
                low_alarm_on: row.number("low_alarm_on"),
                low_alarm_off: row.number("low_alarm_off"),
                low_cut_on: row.number("low_cut_on"),
                low_cut_off: row.number("low_cut_off"),
            },
            relations: row.text("relations"),
            labels: labels(row),
            type_code: row.text("type_code"),
            value_type: row.text("value_type"),
            salt: row.text("salt"),
        }
    })
}

fn region(row: &mut Row<'_>) -> String {
    let text = row.text("region");
    if !text.is_empty() && (text.len() != 6 || !text.bytes().all(|b| b.is_ascii_digit())) {
        row.error("region", format!("region `{text}` is not six digits"), "write the code of GB/T 2260");
    }
    text
}

fn labels(row: &mut Row<'_>) -> Vec<(String, String)> {
    let text = row.text("labels");
    let mut out = Vec::new();
    for pair in text.split(';').map(str::trim).filter(|p| !p.is_empty()) {
        match pair.split_once('=') {
            Some((k, v)) => out.push((k.trim().to_owned(), v.trim().to_owned())),
            None => {
                row.error("labels", format!("label `{pair}` is not key=value"), "write `face=1301;team=a`")
            }
        }
    }
    out
}
