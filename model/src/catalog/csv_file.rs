//! Sites and points from CSV with a header row: the first columns are fixed, further ones go by name, unknown ones are
//! refused. Every mistake is told with line and column.

use super::{Limits, Place, Point, Site};
use crate::problem::{Problem, Problems, nearest};
use crate::time::parse_duration;
use ahash::AHashMap;
use std::sync::Arc;

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
const SITE_STATES: [&str; 4] = ["operating", "idle", "maintenance", "starting"];

/// Sites of a CSV text; rows with mistakes are told in `problems` and left out.
pub fn sites_from_csv(file: &str, text: &str, problems: &mut Problems) -> Vec<(Site, Place)> {
    rows(file, text, &SITE_COLUMNS, 4, problems, |row| {
        let site = Site {
            code: row.needed("site"),
            name: row.text("name"),
            kind: row.word("kind", &["mine", "plant"]),
            region: row.region(),
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
            region: row.region(),
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
            labels: row.labels(),
            type_code: row.text("type_code"),
            value_type: row.text("value_type"),
            salt: row.text("salt"),
        }
    })
}

fn rows<T>(
    file: &str,
    text: &str,
    columns: &[&'static str],
    fixed: usize,
    problems: &mut Problems,
    mut read: impl FnMut(&mut Row<'_>) -> T,
) -> Vec<(T, Place)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let header = match reader.headers() {
        Ok(header) => header.clone(),
        Err(e) => {
            problems.push(Problem::error(file, 1, 1, format!("not a CSV in UTF-8: {e}")));
            return Vec::new();
        }
    };
    if !check_header(file, &header, columns, fixed, problems) {
        return Vec::new();
    }
    // Rows ask for every column that could be there: by a hash, because a million rows do.
    let header: AHashMap<&str, usize> = header.iter().enumerate().map(|(i, name)| (name, i)).collect();
    let name: Arc<str> = file.into();
    let (mut out, mut record) = (Vec::new(), csv::StringRecord::new());
    loop {
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(e) => {
                let line = e.position().map_or(0, |p| p.line() as usize);
                problems.push(Problem::error(file, line, 1, format!("not a CSV row in UTF-8: {e}")));
                continue;
            }
        }
        let line = record.position().map_or(0, |p| p.line() as usize);
        if record.len() != header.len() {
            let message = format!("the row has {} fields, the header {}", record.len(), header.len());
            problems.push(Problem::error(file, line, 1, message).help("quote texts that hold a comma"));
            continue;
        }
        let before = problems.errors();
        let item = read(&mut Row { file, line, header: &header, record: &record, problems });
        if problems.errors() == before {
            out.push((item, Place { file: name.clone(), line }));
        }
    }
    out
}

fn check_header(
    file: &str,
    header: &csv::StringRecord,
    columns: &[&'static str],
    fixed: usize,
    problems: &mut Problems,
) -> bool {
    let before = problems.errors();
    if header.iter().take(fixed).ne(columns[..fixed].iter().copied()) {
        let message = format!("the header must start with `{}`", columns[..fixed].join(","));
        problems.push(Problem::error(file, 1, 1, message));
    }
    for (i, name) in header.iter().enumerate().skip(fixed) {
        if !columns.contains(&name) {
            let help = match nearest(name, columns.iter().copied()) {
                Some(k) => format!("did you mean `{k}`?"),
                None => format!("known: {}", columns.join(", ")),
            };
            let column = header.range(i).map_or(0, |r| r.start) + i + 1;
            problems.push(Problem::error(file, 1, column, format!("unknown column `{name}`")).help(help));
        }
    }
    problems.errors() == before
}

struct Row<'a> {
    file: &'a str,
    line: usize,
    header: &'a AHashMap<&'a str, usize>,
    record: &'a csv::StringRecord,
    problems: &'a mut Problems,
}

impl Row<'_> {
    fn index(&self, name: &str) -> Option<usize> {
        self.header.get(name).copied()
    }

    fn field(&self, name: &str) -> &str {
        self.index(name).and_then(|i| self.record.get(i)).unwrap_or_default()
    }

    fn text(&self, name: &str) -> String {
        self.field(name).to_owned()
    }

    fn error(&mut self, name: &str, message: String, help: &str) {
        // Exact for rows without quotes; with quotes the column is a little to the left.
        let i = self.index(name).unwrap_or(0);
        let before: usize = self.record.iter().take(i).map(|f| f.chars().count() + 1).sum();
        self.problems.push(Problem::error(self.file, self.line, before + 1, message).help(help));
    }

    fn needed(&mut self, name: &str) -> String {
        let text = self.text(name);
        if text.is_empty() {
            self.error(name, format!("{name} is empty"), "every row needs it");
        }
        text
    }

    fn word(&mut self, name: &str, words: &[&str]) -> String {
        let text = self.text(name);
        if !words.contains(&text.as_str()) {
            let help = nearest(&text, words.iter().copied())
                .map(|w| format!("did you mean `{w}`?"))
                .unwrap_or_default();
            self.error(name, format!("{name} is `{text}`, expected one of {}", words.join(", ")), &help);
        }
        text
    }

    fn region(&mut self) -> String {
        let text = self.text("region");
        if !text.is_empty() && (text.len() != 6 || !text.bytes().all(|b| b.is_ascii_digit())) {
            self.error("region", format!("region `{text}` is not six digits"), "write the code of GB/T 2260");
        }
        text
    }

    fn number(&mut self, name: &str) -> Option<f64> {
        let text = self.field(name);
        if text.is_empty() {
            return None;
        }
        match text.parse::<f64>() {
            Ok(n) if n.is_finite() => Some(n),
            _ => {
                let message = format!("{name} `{text}` is not a number");
                self.error(name, message, "leave it empty where there is none");
                None
            }
        }
    }

    fn duration(&mut self, name: &str) -> Option<i64> {
        let text = self.field(name);
        if text.is_empty() {
            return None;
        }
        match parse_duration(text) {
            Ok(d) if d > 0 => Some(d),
            Ok(_) => {
                self.error(name, format!("{name} `{text}` is not above zero"), "");
                None
            }
            Err(message) => {
                self.error(name, message, "");
                None
            }
        }
    }

    fn labels(&mut self) -> Vec<(String, String)> {
        let text = self.text("labels");
        let mut out = Vec::new();
        for pair in text.split(';').map(str::trim).filter(|p| !p.is_empty()) {
            match pair.split_once('=') {
                Some((k, v)) => out.push((k.trim().to_owned(), v.trim().to_owned())),
                None => self.error(
                    "labels",
                    format!("label `{pair}` is not key=value"),
                    "write `face=1301;team=a`",
                ),
            }
        }
        out
    }
}
