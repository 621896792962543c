//! What a person may type, and what a device may send: rule files, test files and series mangled at random never panic, every mistake
//! has a place in the file, and rules that compile judge the wildest readings without a panic, the same after a restart.
//!
//! A short run is part of the tests. `FIREDAMP_FUZZ=600 cargo test --workspace --test all fuzz` runs for as many seconds, from a seed that it
//! prints; `FIREDAMP_SEED` says which.

use model::time::{DAY, SECOND};
use model::{Catalog, Micros, Offset, Origin, PointId, Problems, ReadingsBuilder, Run};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rules::testing::{self, Coverage};
use rules::{At, Evaluator, Program, RuleFile};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What breaks readers: ends of numbers, wrong units, other alphabets, half of a quote.
const TOKENS: [&str; 40] = [
    "nan",
    "inf",
    "-inf",
    "-1",
    "0",
    "1e308",
    "-1e-308",
    "9223372036854775807",
    "99999999999999999999",
    "0.1",
    "\"",
    "'",
    "\\",
    "\n",
    "[",
    "]",
    "{",
    "}",
    "=",
    ",",
    "[[rule]]",
    "[rule]",
    "level = []",
    "瓦斯",
    "\u{feff}",
    "\u{0}",
    "🔥",
    "\"0s\"",
    "\"366d\"",
    "\"-5s\"",
    "\"1ms\"",
    "\">= nan\"",
    "\">= 1 /min\"",
    "\"< 1e400\"",
    "\"catalog\"",
    "\"cut_on\"",
    "\"relation:D\"",
    "\"label:heading\"",
    "\"*\"",
    "kind = \"rate\"",
];

const SERIES: [&str; 8] = [
    "0.4x10 0.4..1.0/6 1.0x5 _x3 1.0!4x2 0.99x4",
    "1",
    "_x100",
    "0..1/2000000",
    "1x99999999999",
    "nan!1 inf!2 -0x3",
    "1..2/1",
    "x!x..//",
];

fn cut(text: &str, rng: &mut StdRng) -> usize {
    let mut at = rng.random_range(0..=text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// One to four changes: a piece gone, doubled, moved or taken from another file, a token put in, a number replaced.
fn mangled(seeds: &[&str], rng: &mut StdRng) -> String {
    let mut text = (*seeds.choose(rng).unwrap()).to_owned();
    for _ in 0..rng.random_range(1..=4) {
        let (a, b) = (cut(&text, rng), cut(&text, rng));
        let (from, to) = (a.min(b), a.max(b).min(a.min(b) + 200));
        let to = (from..=to).rfind(|i| text.is_char_boundary(*i)).unwrap_or(from);
        match rng.random_range(0..6) {
            0 => text.replace_range(from..to, ""),
            1 => {
                let piece = text[from..to].to_owned();
                text.insert_str(to, &piece);
            }
            2 => {
                let other = seeds.choose(rng).unwrap();
                let (c, d) = (cut(other, rng), cut(other, rng));
                text.replace_range(from..to, &other[c.min(d)..c.max(d)]);
            }
            3 => text.insert_str(from, TOKENS.choose(rng).unwrap()),
            _ => {
                let is_digit = |i: &usize| text.as_bytes()[*i].is_ascii_digit();
                let digits: Vec<usize> = (0..text.len()).filter(is_digit).collect();
                let Some(at) = digits.choose(rng) else { continue };
                let end = (*at..text.len()).find(|i| !is_digit(i)).unwrap_or(text.len());
                text.replace_range(*at..end, TOKENS[..10].choose(rng).unwrap());
            }
        }
    }
    text
}

fn catalog() -> Arc<Catalog> {
    let mut problems = Problems::default();
    let sites = "site,name,kind,region,state\nM1,East,mine,140100,operating\nC1,Works,plant,140100,idle\n";
    let sites = model::catalog::sites_from_csv("s", sites, &mut problems);
    let points = "site,point,name,quantity,unit,low,high,place,period,alarm_on,alarm_off,cut_on,cut_off,relations,labels\n\
        M1,T1,回风巷,ch4,%,0,4,T1,1s,1,1,1.5,1,K-F1-x:D-F1,heading=1;twin=1\nM1,T2,b,ch4,ppm,0,40000,T2,2s,,,,,,heading=1;twin=1\n\
        M1,F1,feed,feed,,,,,1s,,,,,,heading=1\nM1,CO,belt,co,ppm,0,1000,,30s,24,24,,,,\nC1,LT,tank,level,m,0,12,,1s,9,8,10,9,,\n";
    let points = model::catalog::points_from_csv("p", points, &mut problems);
    let catalog = Catalog::build(sites, points, 1, &mut problems);
    assert!(problems.0.is_empty(), "{problems}");
    Arc::new(catalog)
}

fn in_the_file(problems: &Problems, text: &str, what: &str) {
    let lines = text.split('\n').count();
    for p in &problems.0 {
        assert!(p.line <= lines, "{what}: line {} of {lines}: {}", p.line, p.message);
        assert!(!p.message.is_empty(), "{what}");
    }
}

type Row = (PointId, Micros, f64, i32);

/// Readings of every kind of madness, of all points: the same transitions whole, and restored half-way.
fn judge(program: &Arc<Program>, catalog: &Arc<Catalog>, rng: &mut StdRng) {
    let start = 1_700_000_000 * SECOND;
    let wild = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1e308, -1e308, 5e-324, 1.0, 1.5, 4.0];
    let records: Vec<(Micros, Option<Row>)> = (0..60)
        .scan(start, |now, _| {
            *now += *[0, 1, SECOND, 30 * SECOND, DAY, 3650 * DAY].choose(rng).unwrap()
                / [1, 7][rng.random_range(0..2)];
            let time =
                *[*now, *now, *now - SECOND, *now + 600 * SECOND, 0, i64::MAX / 4].choose(rng).unwrap();
            let id = catalog.ids()[rng.random_range(0..catalog.ids().len())];
            let value = if rng.random() { rng.random_range(0.0..2.0) } else { *wild.choose(rng).unwrap() };
            let status = if rng.random() { 0 } else { 1 << rng.random_range(0..14) };
            Some((*now, (rng.random_range(0..5) > 0).then_some((id, time, value, status))))
        })
        .collect();
    let apply = |e: &mut Evaluator, n: usize, out: &mut Vec<model::Transition>| {
        let (appended, row) = records[n];
        let at = At {
            offset: Offset { partition: 0, number: n as u64 },
            appended,
            origin: Origin { collector: 3, sequence: n as u64 },
        };
        let Some((id, time, value, status)) = row else { return e.tick(at, out) };
        let mut rows = ReadingsBuilder::default();
        rows.push(id, time, value, status);
        let flags = if n % 9 == 8 { model::record::run_flags::REPLAY } else { 0 };
        e.readings(
            at,
            &[Run { source: "s".into(), received: appended, rows: 1, flags }],
            &rows.finish(),
            out,
        );
    };
    let (mut e, mut whole) = (Evaluator::new(program.clone(), catalog.clone()), Vec::new());
    (0..records.len()).for_each(|n| apply(&mut e, n, &mut whole));
    let (mut e, mut again) = (Evaluator::new(program.clone(), catalog.clone()), Vec::new());
    for n in 0..records.len() {
        if n == records.len() / 2 {
            let shards: Vec<Vec<u8>> = (0..e.shards()).map(|s| e.snapshot(s)).collect();
            e = Evaluator::restore(program.clone(), catalog.clone(), &shards).unwrap().0;
        }
        apply(&mut e, n, &mut again);
    }
    // Debug: NaN is what it is.
    assert_eq!(format!("{again:?}"), format!("{whole:?}"));
}

fn once(seeds: &[&str], catalog: &Arc<Catalog>, rng: &mut StdRng) {
    let text = mangled(seeds, rng);
    let file = RuleFile { name: "rules.toml".to_owned(), text: text.clone() };
    let (program, problems) = Program::compile(std::slice::from_ref(&file), catalog);
    in_the_file(&problems, &text, &text);
    judge(&program, catalog, rng);
    let mut problems = Problems::default();
    let tests = testing::read("rules.toml", &text, &mut problems);
    in_the_file(&problems, &text, &text);
    for test in tests.tests.iter().take(2) {
        testing::run(test, std::slice::from_ref(&file), &mut Coverage::default());
    }
    let series = mangled(&SERIES, rng);
    if let Err(wrong) = rules::series::parse(&series) {
        assert!(wrong.at <= series.len() && !wrong.message.is_empty(), "{series}");
    }
}

#[test]
fn nothing_that_is_typed_or_sent_panics() {
    let number = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().expect("a number"));
    let seconds = number("FIREDAMP_FUZZ");
    let seed = number("FIREDAMP_SEED").unwrap_or_else(|| seconds.map_or(1, |_| rand::rng().random()));
    let docs = include_str!("../../../docs/rules.md");
    let examples: Vec<&str> = docs.split("```").filter_map(|part| part.strip_prefix("toml\n")).collect();
    assert!(examples.len() >= 2);
    let tests = [include_str!("../../packs/coal.test.toml"), include_str!("../../packs/chemical.test.toml")];
    let packs: Vec<&str> = rules::packs().iter().map(|(_, text)| *text).collect();
    // One rule or test at a time as well: of a whole pack one mistake is hardly seen.
    let pieces = packs.iter().chain(&tests).flat_map(|text| text.split("\n\n"));
    let seeds: Vec<&str> = pieces.chain(examples).chain(packs.iter().copied()).collect();
    let (catalog, mut rng) = (catalog(), StdRng::seed_from_u64(seed));
    let (began, mut rounds) = (Instant::now(), 0u64);
    println!("FIREDAMP_FUZZ seed {seed}");
    while seconds.map_or(rounds < 2_000, |s| began.elapsed() < Duration::from_secs(s)) {
        once(&seeds, &catalog, &mut rng);
        rounds += 1;
    }
    println!("{rounds} rounds");
}
