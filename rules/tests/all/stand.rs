//! A stand to judge series on: one mine, points by code, entries one reading each unless said otherwise.

use model::catalog::{Place, points_from_csv, sites_from_csv};
use model::people::Positions;
use model::time::SECOND;
use model::{Catalog, Micros, Offset, Origin, PointId, Problems, ReadingsBuilder, Run, To, Transition};
use rules::{At, Evaluator, Program, RuleFile};
use std::sync::{Arc, LazyLock};

pub const START: Micros = 1_700_000_000 * SECOND;

/// One thing that comes to the evaluator.
#[derive(Clone, Debug)]
pub enum Event {
    /// Rows of (point, event time, value, status), appended at a time, with run flags.
    Rows(Micros, u8, Vec<(&'static str, Micros, f64, i32)>),
    /// A tick at a time.
    Tick(Micros),
    /// A record that was seen before (the first one of its collector), now over every limit.
    Seen(Micros),
    /// Positions of people, with run flags.
    People(Micros, u8, Positions),
    /// A record of another kind.
    Other(Micros),
    /// A new version of rules and catalog.
    Activate(Micros, String, Arc<Catalog>),
}

pub fn catalog() -> Arc<Catalog> {
    const POINTS: &str =
        "M1,T1,face,ch4,%,0,4,T1,1s\nM1,T2,return,ch4,%,0,4,T2,1s\nM1,CO,belt,co,%,0,0.1,,1s\n";
    static CATALOG: LazyLock<Arc<Catalog>> = LazyLock::new(|| catalog_of("operating", POINTS));
    CATALOG.clone()
}

/// One mine in a state, with these points.
pub fn catalog_of(state: &str, points: &str) -> Arc<Catalog> {
    let mut problems = Problems::default();
    let sites = format!("site,name,kind,region,state\nM1,East,mine,140100,{state}\n");
    let sites: Vec<(model::Site, Place)> = sites_from_csv("s", &sites, &mut problems);
    let mut text =
        "site,point,name,quantity,unit,low,high,place,period,alarm_on,alarm_off,low_alarm_on,low_alarm_off,labels"
            .to_owned();
    for row in points.lines() {
        // Rows without limits of their own leave the last columns out.
        let missing =
            text.lines().next().map_or(0, |header| header.matches(',').count()) - row.matches(',').count();
        text += &format!("\n{row}{}", ",".repeat(missing));
    }
    let points = points_from_csv("p", &text, &mut problems);
    let catalog = Catalog::build(sites, points, 1, &mut problems);
    assert!(problems.0.is_empty(), "{problems}");
    Arc::new(catalog)
}

pub fn program(rules: &str) -> (Arc<Program>, Problems) {
    program_for(rules, &catalog())
}

pub fn program_for(rules: &str, catalog: &Catalog) -> (Arc<Program>, Problems) {
    Program::compile(&[RuleFile { name: "rules.toml".to_owned(), text: rules.to_owned() }], catalog)
}

pub fn evaluator(rules: &str) -> Evaluator {
    let (program, problems) = program(rules);
    assert_eq!(problems.errors(), 0, "{problems}");
    Evaluator::new(program, catalog())
}

pub fn apply(e: &mut Evaluator, number: u64, event: &Event, out: &mut Vec<Transition>) {
    let at = |appended, collector| At {
        offset: Offset { partition: 0, number },
        appended,
        origin: Origin { collector, sequence: number },
    };
    match event {
        Event::Tick(t) => e.tick(at(*t, 0), out),
        Event::Other(t) => e.other(at(*t, 0), out),
        Event::People(appended, flags, positions) => {
            let rows = positions.rows.len() as u32;
            let run = Run { source: "p".into(), received: *appended, rows, flags: *flags };
            e.positions(at(*appended, 7), &run, positions, out);
        }
        Event::Activate(t, rules, catalog) => {
            let (program, problems) = program_for(rules, catalog);
            assert_eq!(problems.errors(), 0, "{problems}");
            e.activate(at(*t, 0), program, catalog.clone(), out);
        }
        Event::Seen(appended) => {
            let mut b = ReadingsBuilder::default();
            b.push(PointId::of("M1", "T1"), *appended, 99.0, 0);
            let run = Run { source: "s".into(), received: *appended, rows: 1, flags: 0 };
            let first = At { origin: Origin { collector: 7, sequence: 0 }, ..at(*appended, 7) };
            e.readings(first, &[run], &b.finish(), out);
        }
        Event::Rows(appended, flags, rows) => {
            let mut b = ReadingsBuilder::default();
            rows.iter().for_each(|(point, time, value, status)| {
                b.push(PointId::of("M1", point), *time, *value, *status)
            });
            let run = Run { source: "s".into(), received: *appended, rows: rows.len() as u32, flags: *flags };
            e.readings(at(*appended, 7), &[run], &b.finish(), out);
        }
    }
}

pub fn judge(rules: &str, events: &[Event]) -> Vec<Transition> {
    judge_by(evaluator(rules), events)
}

pub fn judge_by(mut e: Evaluator, events: &[Event]) -> Vec<Transition> {
    let mut out = Vec::new();
    for (i, event) in events.iter().enumerate() {
        apply(&mut e, i as u64, event, &mut out);
    }
    out
}

/// A reading of T1 that was appended when it was measured, `s` seconds after the start.
pub fn at(s: f64, value: f64, status: i32) -> Event {
    let t = START + (s * 1e6) as Micros;
    Event::Rows(t, 0, vec![("T1", t, value, status)])
}

pub fn tick(s: f64) -> Event {
    Event::Tick(START + (s * 1e6) as Micros)
}

/// The same catalog with these rules, in force from `s` seconds on.
pub fn activate(s: f64, rules: &str) -> Event {
    Event::Activate(START + (s * 1e6) as Micros, rules.to_owned(), catalog())
}

/// `alarm on 3.0` for each transition: level, what it became, seconds after the start.
pub fn shown(transitions: &[Transition]) -> Vec<String> {
    let line = |t: &Transition| {
        let marks = [
            (t.marks.calibrating, " calibrating"),
            (t.marks.late, " late"),
            (t.marks.unconfirmed, " unconfirmed"),
            (t.marks.simulated, " simulated"),
        ];
        let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
        format!("{} {} {}{marks}", t.level, t.to.as_str(), (t.time - START) as f64 / 1e6)
    };
    transitions.iter().map(line).collect()
}

/// Level and what it became, without times.
pub fn count(transitions: &[Transition], level: &str, to: To) -> usize {
    transitions.iter().filter(|t| t.level == level && t.to == to).count()
}
