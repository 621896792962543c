//! People of a mine: who they are, which areas there are, and who is where now. They go round: shaft, roadway, their place
//! of work, back, out. While the power of the face is off, whoever works at the face waits in the roadway.

use super::SinceStart;
use super::noise::{between, mix, unit};
use super::story::Now;

/// People of a mine.
const PEOPLE: usize = 14;
/// Stations of an area.
const STATIONS: usize = 2;

const SHAFT: usize = 0;
const ROAD: usize = 1;
const FACE: usize = 2;
const HEADING: usize = 3;
const BELT: usize = 4;
const OUT: usize = usize::MAX;

/// An area of a mine (national file RYQY).
#[derive(Clone, PartialEq, Debug)]
pub struct Area {
    /// 16 digits: mine and four.
    pub code: String,
    /// 井口区域, 重点区域, 限制区域 or 其它区域.
    pub kind: &'static str,
    /// Most people allowed in it.
    pub authorised: u32,
    /// Name for people.
    pub name: &'static str,
}

impl Area {
    /// Code of one of its stations, 22 digits.
    pub fn station(&self, number: usize) -> String {
        format!("{}{:06}", self.code, number + 1)
    }
}

/// A person (national file RYXX).
#[derive(Clone, PartialEq, Debug)]
pub struct Person {
    /// 17 digits: mine and five.
    pub card: String,
    /// Name.
    pub name: String,
    /// Trade.
    pub trade: &'static str,
    /// Duty.
    pub duty: &'static str,
    /// Team.
    pub team: &'static str,
    /// Birth date.
    pub born: String,
    /// Mine leader on shift.
    pub leader: bool,
    /// Special worker.
    pub special: bool,
    work: usize,
    seed: u64,
}

/// Where a person is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Seen {
    /// Below ground; else out, and the rest tells of the last time below.
    pub below: bool,
    /// Index of the area.
    pub area: usize,
    /// Number of the station in it, from 0.
    pub station: usize,
    /// Distance to the station, m.
    pub distance: f64,
    /// When the person went below.
    pub entered: SinceStart,
    /// When the person came out; only when not below.
    pub left: Option<SinceStart>,
    /// Since when in this area.
    pub area_since: SinceStart,
}

/// Areas and people of a mine.
pub(super) fn roster(mine: &str, seed: u64) -> (Vec<Area>, Vec<Person>) {
    const AREAS: [(&str, u32, &str); 6] = [
        ("井口区域", 60, "副井井口 shaft top"),
        ("其它区域", 60, "运输大巷 main roadway"),
        ("重点区域", 20, "1301采煤工作面 face 1301"),
        ("重点区域", 9, "1302掘进工作面 heading 1302"),
        ("其它区域", 20, "胶带运输巷 belt way"),
        ("限制区域", 1, "1299采空区 goaf 1299"),
    ];
    let areas = AREAS.iter().enumerate().map(|(i, (kind, authorised, name))| Area {
        code: format!("{mine}{:04}", i + 1),
        kind,
        authorised: *authorised,
        name,
    });
    let people = (0..PEOPLE).map(|i| person(mine, i, mix(seed, 0x0070_656f_706c_6500 + i as u64)));
    (areas.collect(), people.collect())
}

fn person(mine: &str, i: usize, seed: u64) -> Person {
    const SURNAMES: [&str; 8] = ["王", "李", "张", "刘", "陈", "杨", "赵", "周"];
    const GIVEN: [&str; 8] = ["建国", "永强", "志军", "海涛", "晓东", "玉明", "春生", "立新"];
    const WORK: [(&str, &str, usize); 5] = [
        ("采煤机司机", "综采一队", FACE),
        ("支架工", "综采一队", FACE),
        ("掘进工", "掘进二队", HEADING),
        ("胶带司机", "运输队", BELT),
        ("瓦斯检查工", "通风队", FACE),
    ];
    let pick = |key: u64, n: usize| (unit(seed, key) * n as f64) as usize;
    let leader = i == 0;
    let (trade, team, work) = WORK[i % WORK.len()];
    Person {
        card: format!("{mine}{:05}", i + 1),
        name: format!("{}{}", SURNAMES[pick(1, 8)], GIVEN[pick(2, 8)]),
        trade: if leader { "安全管理" } else { trade },
        duty: if leader { "副矿长" } else { "工人" },
        team: if leader { "矿领导" } else { team },
        born: format!("{}-{:02}-{:02}", 1966 + pick(3, 35), 1 + pick(4, 12), 1 + pick(5, 28)),
        leader,
        special: trade == "瓦斯检查工" && !leader,
        work,
        seed,
    }
}

/// Where everybody is, in the order of the roster.
pub(super) fn seen(now: &Now<'_>, rate: f64) -> Vec<Seen> {
    if now.site.people.is_empty() {
        return Vec::new();
    }
    let withdrawn = now.power_off_since();
    now.site.people.iter().map(|p| where_is(p, now.t, withdrawn, rate)).collect()
}

fn where_is(person: &Person, t: f64, withdrawn: Option<f64>, rate: f64) -> Seen {
    let w = person.work;
    let path = [SHAFT, ROAD, w, w, w, w, ROAD, SHAFT, OUT];
    let dwell = between(person.seed, 6, 45.0, 90.0);
    let phase = unit(person.seed, 7) * dwell * path.len() as f64;
    let slot = ((t + phase) / dwell).floor();
    let step = slot.rem_euclid(path.len() as f64) as usize;
    let began = |s: usize| (slot - (step - s) as f64) * dwell - phase;
    // Out is the last slot, so the round that is told there is the one that has just ended.
    let shown = if path[step] == OUT { step - 1 } else { step };
    let mut first = shown;
    while first > 0 && path[first - 1] == path[shown] {
        first -= 1;
    }
    let mut area = path[shown];
    let mut since = began(first);
    if let Some(cut) = withdrawn
        && area == FACE
        && path[step] != OUT
    {
        (area, since) = (ROAD, since.max(cut));
    }
    let micros = |world: f64| (world / rate * 1e6).round() as SinceStart;
    Seen {
        below: path[step] != OUT,
        area,
        station: (unit(person.seed, 8 + shown as u64) * STATIONS as f64) as usize,
        distance: ((between(mix(person.seed, slot as i64 as u64), 9, -60.0, 60.0)) * 100.0).round() / 100.0,
        entered: micros(began(0)),
        left: (path[step] == OUT).then(|| micros(began(step))),
        area_since: micros(since),
    }
}
