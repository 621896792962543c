//! Readings without a log, the episodes they make, and how two versions of rules differ.

use crate::stand::*;
use model::time::{DAY, SECOND};
use model::{PointId, Readings, ReadingsBuilder, Transition};
use rules::Paced;
use rules::episodes::{Change, Episode, Fold, differences};

const LIMIT: &str = "[[rule]]\nname = \"ch4\"\nkind = \"limit\"\nselect = { point = \"T1\" }\n\
    level = [{ name = \"alarm\", on = \">= 1.0\", off = \"< 1.0\", on_delay = \"0s\" }]\n\
    [[rule]]\nname = \"silent\"\nkind = \"silent\"\nselect = { point = \"T1\" }\nperiods = 3\n";

fn t1(time: i64, value: f64) -> Readings {
    let mut b = ReadingsBuilder::default();
    b.push(PointId::of("M1", "T1"), time, value, 0);
    b.finish()
}

/// Readings of T1, as seconds after the start and values, each at its own time; then time passes.
fn paced(rules: &str, readings: &[(i64, f64)], until: i64) -> Vec<Transition> {
    let (program, problems) = program(rules);
    assert_eq!(problems.errors(), 0, "{problems}");
    let (mut paced, mut out) = (Paced::new(program, catalog(), "s"), Vec::new());
    for (s, value) in readings {
        paced.readings(START + s * SECOND, &t1(START + s * SECOND, *value), &mut out);
    }
    paced.pass(START + until * SECOND, &mut out);
    out
}

/// The same readings through a log of the same times.
#[test]
fn what_is_paced_is_judged_as_a_log_with_a_tick_a_second() {
    let rules = LIMIT.replace("on_delay = \"0s\"", "on_delay = \"2s\"");
    let series = [(0, 0.4), (1, 1.2), (2, 1.3), (9, 0.4), (10, 1.5), (11, 0.9), (20, 0.4)];
    let mut events = Vec::new();
    for s in 0..=30 {
        events.extend(series.iter().filter(|(t, _)| *t == s).map(|(t, v)| at(*t as f64, *v, 0)));
        events.push(tick(s as f64));
    }
    let (paced, logged) = (paced(&rules, &series, 30), judge(&rules, &events));
    assert_eq!(shown(&paced), shown(&logged));
    assert!(
        shown(&paced).contains(&"alarm on 3".to_owned()),
        "the on-delay runs out at a tick: {:?}",
        shown(&paced)
    );
}

#[test]
fn ids_depend_on_the_time_of_the_reading_and_not_on_what_was_read_before() {
    let whole = paced(LIMIT, &[(0, 0.4), (1, 1.2), (2, 0.4), (3, 1.2)], 3);
    let part = paced(LIMIT, &[(2, 0.4), (3, 1.2)], 3);
    assert_eq!(whole.last().unwrap().id, part.last().unwrap().id);
    assert_ne!(whole[0].id, whole[2].id);
}

#[test]
fn ten_years_between_two_readings_take_no_time_and_lose_no_silence() {
    let years = 3650 * DAY / SECOND + 1799;
    let out = paced(LIMIT, &[(0, 0.4), (years, 1.2)], years + 10);
    let shown = shown(&out);
    assert_eq!(shown[0], "silent on 4", "{shown:?}");
    assert_eq!(shown[1], format!("alarm on {years}"));
    assert_eq!(out[1].decided, out[1].time, "a tick before it has confirmed that the time is its own");
    assert!(
        shown.contains(&format!("silent on {}", years + 4)),
        "ticks go on each second after the gap: {shown:?}"
    );
}

#[test]
fn times_beyond_the_world_are_its_ends() {
    let (program, _) = program(LIMIT);
    let (mut paced, mut out) = (Paced::new(program, catalog(), "s"), Vec::new());
    paced.pass(i64::MIN, &mut out);
    paced.readings(i64::MIN, &t1(START, 0.4), &mut out);
    paced.readings(START + 3 * SECOND, &t1(START + 3 * SECOND, 1.2), &mut out);
    paced.readings(i64::MAX, &t1(START + 4 * SECOND, 0.4), &mut out);
    paced.pass(i64::MAX, &mut out);
    assert!(
        count(&out, "alarm", model::To::On) == 1 && count(&out, "silent", model::To::On) > 0,
        "{:?}",
        shown(&out)
    );
}

fn folded(transitions: &[Transition]) -> Vec<Episode> {
    let mut fold = Fold::default();
    transitions.iter().for_each(|t| fold.push(t));
    fold.finish()
}

/// From, to and peak of each episode of the limit, in seconds.
fn brief(episodes: &[Episode]) -> Vec<(i64, Option<i64>, Option<f64>)> {
    let seconds = |t: i64| (t - START) / SECOND;
    let limit = episodes.iter().filter(|e| e.key.rule == "ch4");
    limit.map(|e| (seconds(e.from), e.to.map(seconds), e.peak)).collect()
}

#[test]
fn transitions_fold_into_episodes() {
    let out = paced(LIMIT, &[(0, 0.4), (1, 1.2), (2, 1.7), (3, 1.4), (4, 0.4), (5, 1.1), (6, 1.3)], 6);
    let episodes = folded(&out);
    assert_eq!(brief(&episodes), [(1, Some(4), Some(1.7)), (5, None, Some(1.1))]);
    assert_eq!(episodes[0].id, out[0].id);
    assert_eq!(episodes[1].lasted(START + 9 * SECOND), 4 * SECOND);
    // An end without a beginning is of an episode that began before.
    assert_eq!(folded(&out[1..2]), []);
}

/// Nothing ends a late-found episode: each stands by itself, closed, beside the live one.
#[test]
fn each_late_found_episode_is_its_own_and_none_stays_open() {
    let sent = |came: i64, time: i64, value: f64| {
        Event::Rows(START + came * SECOND, 0, vec![("T1", START + time * SECOND, value, 0)])
    };
    let live = [sent(1000, 1000, 0.4), sent(1001, 1001, 1.2)];
    let late = [sent(1002, 100, 1.3), sent(1003, 200, 0.4), sent(1004, 300, 1.6)];
    let out = judge(LIMIT, &[&live[..], &late, &[sent(1010, 1010, 0.4)]].concat());
    let episodes = folded(&out);
    let limit = episodes.iter().filter(|e| e.key.rule == "ch4");
    assert_eq!(limit.map(|e| e.key.late).collect::<Vec<_>>(), [false, true, true], "{:?}", shown(&out));
    assert_eq!(
        brief(&episodes),
        [(1001, Some(1010), Some(1.2)), (100, Some(100), Some(1.3)), (300, Some(300), Some(1.6))]
    );
}

#[test]
fn two_versions_differ_in_episodes_gained_lost_and_moved() {
    let series = [
        (0, 0.4),
        (1, 1.2),
        (2, 0.4),
        (5, 0.9),
        (6, 0.4),
        (10, 0.95),
        (11, 1.2),
        (12, 0.4),
        (20, 1.0),
        (21, 0.2),
    ];
    let strict = LIMIT.replace("1.0", "0.9");
    let judged = |rules: &str| folded(&paced(rules, &series, 22));
    let (changes, same) = differences(&judged(LIMIT), &judged(&strict));
    let told: Vec<String> = changes
        .iter()
        .filter(|c| c.episode().key.rule == "ch4")
        .map(|c| {
            let at = (c.from() - START) / SECOND;
            match c {
                Change::Gained(_) => format!("gained {at}"),
                Change::Lost(_) => format!("lost {at}"),
                Change::Moved(..) => format!("moved {at}"),
            }
        })
        .collect();
    assert_eq!(told, ["gained 5", "moved 10"]);
    assert!(same >= 2);
    let (back, _) = differences(&judged(&strict), &judged(LIMIT));
    assert!(matches!(back[0], Change::Lost(_)) && matches!(back[1], Change::Moved(..)));
    assert_eq!(differences(&judged(LIMIT), &judged(LIMIT)).0, []);
}
