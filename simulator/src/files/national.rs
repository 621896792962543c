//! National files of a mine (MT/T 1201.1-2023): CDDY, CDSS, RYXX, RYQY, RYSS. Fields end with `;`, records with `~`, the
//! file with two pipes; UTF-8 without BOM, no line breaks; times `yyyy-MM-dd HH:mm:ss` in UTC+8.
//!
//! A limit that a point does not have, and a value that its sensor does not give, is `-9999`.

use crate::world::{Sample, Seen, SimPoint, SimSite};
use chrono::{DateTime, FixedOffset};
use model::Micros;

/// What a number is that is not there.
pub const NONE: &str = "-9999";
const SYSTEM: &str = "KJ0001X;模拟安全监控系统;firedamp simulator;2030-12-31";
const POSITIONING: &str = "KJ0002X;模拟人员定位系统;firedamp simulator;2030-12-31";
const SHIFT: &str = "三八制";

/// `<mine>_<TYPE>_<yyyyMMddHHmmss>.txt`.
pub fn file_name(site: &SimSite, kind: &str, t: Micros) -> String {
    format!("{}_{kind}_{}.txt", site.code, local(t).format("%Y%m%d%H%M%S"))
}

/// `yyyy-MM-dd HH:mm:ss` in UTC+8.
pub fn time(t: Micros) -> String {
    local(t).format("%Y-%m-%d %H:%M:%S").to_string()
}

fn local(t: Micros) -> DateTime<FixedOffset> {
    let zone = FixedOffset::east_opt(8 * 3600).expect("UTC+8 is a valid offset");
    DateTime::from_timestamp_micros(t).unwrap_or_default().with_timezone(&zone)
}

fn whole(header: String, records: impl Iterator<Item = String>) -> String {
    let mut out = header;
    out.push('~');
    for record in records {
        out.push_str(&record);
        out.push('~');
    }
    out.push_str("||");
    out
}

/// Definitions of all points.
pub fn cddy(site: &SimSite, t: Micros) -> String {
    let header = format!("{};{};{SYSTEM};{}", site.code, site.name, time(t));
    whole(header, site.points.iter().map(|p| definition(site, p, t)))
}

fn definition(site: &SimSite, p: &SimPoint, t: Micros) -> String {
    let limit = |v: Option<f64>| v.map_or_else(|| NONE.to_owned(), |v| v.to_string());
    let mut fields = vec![
        p.code.clone(),
        "01".to_owned(),
        format!("{}00001", site.code),
        p.type_code.to_owned(),
        if p.is_switch() { "KG" } else { "MN" }.to_owned(),
    ];
    match p.range {
        Some((low, high)) => {
            let restore = p.limits.cut.and(p.limits.alarm);
            fields.extend([p.national_unit.to_owned(), high.to_string(), low.to_string()]);
            fields.extend([
                limit(p.limits.alarm),
                limit(p.limits.alarm),
                limit(p.limits.low),
                limit(p.limits.low),
            ]);
            fields.extend([limit(p.limits.cut), limit(restore), NONE.to_owned(), NONE.to_owned()]);
        }
        None => fields.extend(std::iter::repeat_n(String::new(), 11)),
    }
    let (on, off) = p.states.unwrap_or_default();
    fields.extend([on, off, &p.name].map(str::to_owned));
    fields.extend([format!("{:.4}", site.lon), format!("{:.4}", site.lat), "-350".to_owned()]);
    fields.extend([String::new(), time(t)]);
    fields.join(";")
}

/// Values of all points.
pub fn cdss(site: &SimSite, samples: &[Sample], t: Micros) -> String {
    let at = time(t);
    let header = format!("{};{};{at}", site.code, site.name);
    let record = |(p, s): (&SimPoint, &Sample)| {
        let value = s.value.map_or_else(|| NONE.to_owned(), |v| v.to_string());
        format!("{};{};{};{value};{};{};{at}", p.code, p.type_name, p.name, p.national_unit, s.status)
    };
    whole(header, site.points.iter().zip(samples).map(record))
}

/// People.
pub fn ryxx(site: &SimSite, t: Micros) -> String {
    let authorised = site.areas.first().map_or(0, |a| a.authorised);
    let header = format!("{};{};{authorised};{POSITIONING};{}", site.code, site.name, time(t));
    let record = |p: &crate::world::Person| {
        let (leader, special) = (u8::from(p.leader), u8::from(p.special));
        format!("{};{};{};{};{};{};;{leader};{special}", p.card, p.name, p.trade, p.duty, p.team, p.born)
    };
    whole(header, site.people.iter().map(record))
}

/// Areas.
pub fn ryqy(site: &SimSite, t: Micros) -> String {
    let header = format!("{};{};{}", site.code, site.name, time(t));
    let record = |a: &crate::world::Area| format!("{};{};{};{}", a.kind, a.code, a.authorised, a.name);
    whole(header, site.areas.iter().map(record))
}

/// Where people are. Whoever has been out for long is no longer in it. `start` turns times since the start into times.
pub fn ryss(site: &SimSite, people: &[Seen], t: Micros, start: Micros) -> String {
    /// People just out are repeated for this long.
    const OUT_FOR: Micros = 20 * 1_000_000;
    let header = format!("{};{};{}", site.code, site.name, time(t));
    let there = site
        .people
        .iter()
        .zip(people)
        .filter(|(_, s)| s.left.is_none_or(|left| t - (start + left) <= OUT_FOR));
    let record = |(p, s): (&crate::world::Person, &Seen)| {
        let area = &site.areas[s.area];
        let (station, since) = (area.station(s.station), time(start + s.area_since));
        let left = s.left.map(|left| time(start + left)).unwrap_or_default();
        [
            p.card.as_str(),
            &p.name,
            if s.below { "1" } else { "2" },
            &time(start + s.entered),
            &left,
            &area.code,
            &since,
            &station,
            &since,
            SHIFT,
            &format!("{:.2}", s.distance),
            "正常",
            if p.leader { "1" } else { "0" },
            if p.special { "1" } else { "0" },
            &format!("{station}&{since}"),
        ]
        .join(";")
    };
    whole(header, there.map(record))
}
