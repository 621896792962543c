//! The ordinary day and the signature of each scenario.

use super::*;
use model::problem::Problems;
use model::status;

fn world(scenario: Scenario) -> World {
    World::new(&Plan { scenario, ..Plan::default() })
}

fn seconds(t: f64) -> Duration {
    Duration::from_secs_f64(t)
}

/// The samples of the face's point at `place` in the first mine, each half second from 0.
fn face(world: &World, place: &str, until: u32) -> Vec<Sample> {
    let points = &world.sites()[0].points;
    let i = points.iter().position(|p| p.place == place && p.labels.contains("area=face")).unwrap();
    (0..until * 2).map(|k| world.site_at(0, seconds(f64::from(k) / 2.0)).samples[i]).collect()
}

fn switch(world: &World, quantity: &str, t: f64) -> f64 {
    let points = &world.sites()[0].points;
    let i = points.iter().position(|p| p.quantity == quantity && p.labels.contains("area=face")).unwrap();
    world.site_at(0, seconds(t)).samples[i].value.unwrap()
}

/// Seconds at which the value first reaches `limit`.
fn reaches(samples: &[Sample], limit: f64) -> Option<f64> {
    samples.iter().position(|s| s.value.is_some_and(|v| v >= limit)).map(|i| i as f64 / 2.0)
}

fn falls_below(samples: &[Sample], limit: f64, from: f64) -> Option<f64> {
    let first = (from * 2.0) as usize;
    samples[first..].iter().position(|s| s.value.is_some_and(|v| v < limit)).map(|i| from + i as f64 / 2.0)
}

#[test]
fn the_seed_decides_and_nothing_else() {
    let plan = Plan { scenario: Scenario::Surge, ..Plan::default() };
    for t in [0.0, 1.0, 12.5, 333.0, 90_000.0] {
        let t = seconds(t);
        assert_eq!(World::new(&plan).at(t), World::new(&plan).at(t));
        let other = Plan { seed: 2, ..plan.clone() };
        assert_ne!(World::new(&plan).at(t), World::new(&other).at(t));
    }
    let fast = Plan { rate: 60.0, scenario: Scenario::Quiet, ..plan.clone() };
    let real = Plan { rate: 1.0, ..fast.clone() };
    let values = |p: &Plan, s| World::new(p).at(seconds(s)).sites[0].samples.clone();
    assert_eq!(values(&fast, 10.0), values(&real, 600.0));
}

#[test]
fn on_a_quiet_day_no_seed_reaches_a_limit() {
    for seed in 0..6 {
        let world = World::new(&Plan { seed, scenario: Scenario::Quiet, plants: 2, ..Plan::default() });
        for k in 0..500 {
            let t = f64::from(k) * 180.5;
            for (site, now) in world.sites().iter().zip(world.at(seconds(t)).sites) {
                for (p, s) in site.points.iter().zip(now.samples) {
                    assert_eq!(s.status, 0, "seed {seed} t {t} {} {:?}", p.name, s);
                    let value = s.value.unwrap();
                    match (p.quantity, p.place) {
                        ("ch4", "T3") => assert!(value < 0.4),
                        ("ch4", _) => assert!((0.05..0.85).contains(&value), "{value}"),
                        ("co", _) => assert!((0.0..20.0).contains(&value), "{value}"),
                        ("wind", _) => assert!((0.3..3.5).contains(&value), "{value}"),
                        ("temperature", "") if site.kind == "mine" => assert!((20.0..29.0).contains(&value)),
                        ("level", _) => assert!((1.5..9.5).contains(&value), "{value}"),
                        ("pump" | "door" | "equipment", _) => assert!(value == 0.0 || value == 1.0),
                        ("fan" | "feed" | "duct" | "main_fan", _) => assert_eq!(value, 1.0),
                        ("smoke", _) => assert_eq!(value, 0.0),
                        _ => {}
                    }
                }
            }
        }
    }
}

#[test]
fn a_surge_goes_over_alarm_and_cut_cuts_power_and_is_aired_within_thirty_seconds() {
    let world = world(Scenario::Surge);
    let t1 = face(&world, "T1", 190);
    let alarm = reaches(&t1, 1.0).unwrap();
    let cut = reaches(&t1, 1.5).unwrap();
    let aired = falls_below(&t1, 1.0, cut).unwrap();
    assert!(alarm < cut && cut < aired && aired < 25.0, "{alarm} {cut} {aired}");
    assert!(t1[..380].iter().all(|s| s.value.unwrap() <= 1.81));
    // Both bits while the value is over, the cut bit until it is below the restore limit.
    let bits = |t: f64| t1[(t * 2.0) as usize].status;
    assert_eq!(bits(alarm - 1.0), 0);
    assert_eq!(bits(alarm), status::ALARM);
    assert_eq!(bits(cut), status::ALARM | status::CUT);
    assert_eq!(bits(aired - 0.5), status::ALARM | status::CUT);
    assert_eq!(bits(aired), 0);
    // The corner lets go last, and power comes back ten seconds after that.
    let t0 = face(&world, "T0", 190);
    let corner = falls_below(&t0, 1.0, 20.0).unwrap();
    assert!((45.0..75.0).contains(&corner), "{corner}");
    assert_eq!(switch(&world, "feed", 3.0), 1.0);
    assert_eq!(switch(&world, "feed", cut + 2.0), 0.0);
    assert_eq!(switch(&world, "equipment", cut + 2.0), 0.0);
    assert_eq!(switch(&world, "feed", corner + 8.0), 0.0);
    assert_eq!(switch(&world, "feed", corner + 12.0), 1.0);
    // And again.
    assert_eq!(reaches(&t1[360..], 1.0).map(|t| (t + 180.0 - alarm - 180.0).abs() < 1.5), Some(true));
    // The other mines are quiet.
    let quiet = world.at(seconds(cut)).sites;
    assert!(quiet[1].samples.iter().chain(&quiet[2].samples).all(|s| s.status == 0));
}

/// What docs/simulator.md says of the moments of a surge holds for any seed.
#[test]
fn the_moments_of_a_surge_hold_for_any_seed() {
    for seed in 0..20 {
        let world = World::new(&Plan { seed, scenario: Scenario::Surge, ..Plan::default() });
        let (t1, t0) = (face(&world, "T1", 90), face(&world, "T0", 90));
        let moments =
            (reaches(&t1, 1.0), reaches(&t1, 1.5), falls_below(&t1, 1.0, 12.0), falls_below(&t0, 1.0, 20.0));
        let (Some(alarm), Some(cut), Some(aired), Some(corner)) = moments else {
            panic!("{seed}: {moments:?}")
        };
        assert!(
            alarm <= 8.0 && cut <= 10.0 && aired <= 20.0 && (50.0..85.0).contains(&corner),
            "{seed}: {moments:?}"
        );
    }
}

#[test]
fn nobody_is_at_the_face_while_its_power_is_off() {
    let world = world(Scenario::Surge);
    let mut at_face = 0;
    for k in 0..400 {
        let t = f64::from(k) * 0.5;
        let off = switch(&world, "feed", t) == 0.0;
        let there = world.site_at(0, seconds(t)).people.iter().filter(|p| p.below && p.area == 2).count();
        assert!(!off || there == 0, "{there} at the face at {t}");
        at_face += there;
    }
    assert!(at_face > 0);
}

#[test]
fn people_go_round_and_times_fit_together() {
    let world = world(Scenario::Quiet);
    let (mut below, mut out, mut moves) = (0, 0, 0);
    let mut before: Option<Vec<Seen>> = None;
    for k in 0..240 {
        let t = Duration::from_secs(k * 5);
        let now = world.site_at(0, t).people;
        for (i, p) in now.iter().enumerate() {
            let micros = t.as_micros() as i64;
            assert!(p.entered <= p.area_since && p.area_since <= micros, "{p:?}");
            assert_eq!(p.below, p.left.is_none());
            assert!(p.left.is_none_or(|l| l <= micros && l >= p.area_since));
            assert_ne!(p.area, 5, "nobody enters the goaf");
            if let Some(before) = &before {
                moves += usize::from(before[i].area != p.area || before[i].below != p.below);
            }
            *(if p.below { &mut below } else { &mut out }) += 1;
        }
        before = Some(now);
    }
    assert!(below > out && out > 0 && moves > 50, "{below} {out} {moves}");
}

#[test]
fn a_slow_rise_is_even_and_crosses_the_limit_after_minutes() {
    let t1 = face(&world(Scenario::SlowRise), "T1", 600);
    let over = reaches(&t1, 1.0).unwrap();
    assert!((240.0..440.0).contains(&over), "{over}");
    assert!(reaches(&t1, 1.5).is_none());
    let slope = (t1[600].value.unwrap() - t1[200].value.unwrap()) / (200.0 / 60.0);
    assert!((0.08..0.14).contains(&slope), "{slope} % a minute");
}

#[test]
fn a_failed_sensor_gives_no_value_and_comes_back_with_a_spike() {
    let t1 = face(&world(Scenario::SensorFault), "T1", 120);
    for (k, s) in t1.iter().enumerate() {
        let failed = (30..120).contains(&k);
        assert_eq!(s.value.is_none(), failed);
        assert_eq!(s.status & status::BAD != 0, failed);
    }
    assert!(t1[121].value.unwrap() > 2.5 && t1[162].value.unwrap() < 1.0);
}

#[test]
fn calibration_is_marked_all_the_time_and_cuts_nothing() {
    let world = world(Scenario::Calibration);
    let t1 = face(&world, "T1", 130);
    for (k, s) in t1.iter().enumerate() {
        assert_eq!(s.status & status::CALIBRATION != 0, (20..200).contains(&k));
        assert_eq!(s.status & status::CUT, 0);
        assert!(s.status & status::ALARM == 0 || s.status == status::CALIBRATION | status::ALARM);
    }
    let top = t1.iter().filter_map(|s| s.value).fold(0.0, f64::max);
    assert!((1.95..2.2).contains(&top), "{top}");
    assert!(t1.iter().filter_map(|s| s.value).any(|v| v < 0.02), "first gas without methane");
    assert_eq!(switch(&world, "feed", 70.0), 1.0);
}

#[test]
fn a_chattering_sensor_goes_on_and_off_more_than_three_times_a_minute() {
    let t1 = face(&world(Scenario::Chattering), "T1", 60);
    let over: Vec<bool> = t1.iter().map(|s| s.value.unwrap() >= 1.0).collect();
    let raised = over.windows(2).filter(|w| !w[0] && w[1]).count() + usize::from(over[0]);
    assert_eq!(raised, 8);
}

#[test]
fn an_overfilled_tank_passes_both_limits_and_is_emptied() {
    let world = world(Scenario::TankOverfill);
    let (site, point) = world.find("E32058100001", "LT-101").unwrap();
    let level: Vec<Sample> =
        (0..800).map(|k| world.site_at(site, seconds(f64::from(k) / 2.0)).samples[point]).collect();
    let (high, high_high) = (reaches(&level, 10.2).unwrap(), reaches(&level, 10.8).unwrap());
    assert!((8.0..20.0).contains(&high) && (20.0..30.0).contains(&high_high), "{high} {high_high}");
    assert!(falls_below(&level, 10.0, high_high).unwrap() < 120.0);
    assert!(
        level.windows(2).all(|w| (w[0].value.unwrap() - w[1].value.unwrap()).abs() < 0.1),
        "a level cannot jump"
    );
    let find = |code: &str| world.find("E32058100001", code).unwrap().1;
    let at = |code: &str, t: f64| world.site_at(site, seconds(t)).samples[find(code)].value.unwrap();
    assert!(at("GD-101", 50.0) >= 25.0 && at("GD-101", 50.0) < 50.0 && at("GD-102", 50.0) < 5.0);
    assert_eq!(
        (at("LSH-101", 5.0), at("LSH-101", 40.0), at("P-101", 20.0), at("P-101", 60.0)),
        (0.0, 1.0, 1.0, 0.0)
    );
}

#[test]
fn only_the_stage_has_a_wrong_clock_or_a_broken_link() {
    let clock = world(Scenario::WrongClock);
    assert_eq!((clock.clock_offset(0), clock.clock_offset(1)), (420_000_000, 0));
    let link = world(Scenario::LinkBreak);
    let up = |site, t| link.link_up(site, seconds(t));
    assert_eq!((up(0, 14.9), up(0, 15.0), up(0, 44.9), up(0, 45.0)), (true, false, false, true));
    assert!(up(1, 20.0) && up(3, 20.0) && world(Scenario::Quiet).link_up(0, seconds(20.0)));
}

#[test]
fn the_catalog_is_one_that_firedamp_reads() {
    let world = World::new(&Plan { mines: 6, file_mines: 2, plants: 4, ..Plan::default() });
    let mut problems = Problems::default();
    let sites = model::catalog::sites_from_csv("sites.csv", &world.sites_csv(), &mut problems);
    let points = model::catalog::points_from_csv("points.csv", &world.points_csv(), &mut problems);
    assert_eq!(problems.errors(), 0, "{problems}");
    assert_eq!(sites.len(), 10);
    assert_eq!(points.len(), world.sites().iter().map(|s| s.points.len()).sum::<usize>());
    for (site, (read, _)) in world.sites().iter().zip(&sites) {
        assert_eq!((&site.code, site.kind, site.region), (&read.code, &*read.kind, &*read.region));
    }
    let catalog = model::Catalog::build(sites, points, 8, &mut problems);
    assert_eq!((problems.errors(), catalog.points().len()), (0, 6 * 20 + 4 * 24), "{problems}");
    let mine = &world.sites()[5];
    assert!(mine.points.iter().all(|p| p.code.len() == 28 && p.code.starts_with(&mine.code)));
    assert!(
        mine.people.iter().all(|p| p.card.len() == 17) && mine.areas.iter().all(|a| a.station(0).len() == 22)
    );
    assert!(world.rules_toml().is_some_and(|t| t.parse::<toml::Table>().is_ok()));
}
