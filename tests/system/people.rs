//! People below ground over a restart: who was below is not forgotten, and a complete snapshot corrects it. Rules about them, from the
//! national files to the receiver, through a `kill -9`; and the same again from the log and from the table.

use crate::once::{entries, judged, log_of};
use crate::stand::{BINARY, FILES, POINTS, RULES};
use firedamp::config::{catalog_of_files, pack_files};
use firedamp::versions::Version;
use model::{Clock, Problems, Record, Stream};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use stream::Log;
use tests::firedamp::Firedamp;
use tests::webhook::Webhook;

const MINE: &str = "620000000001";
/// An inbox folder; the table is committed often.
const CONFIG: &str = "[storage]\nflush = \"200ms\"\n\n[[source]]\nname = \"files\"\nkind = \"national\"\ndir = \"inbox\"\nevery = \"50ms\"\n";

/// Drops a complete snapshot of the cards below, `ago` seconds old.
fn drop_snapshot(firedamp: &Firedamp, ago: i64, cards: &[u32]) {
    let rows: Vec<(u32, u32, &str)> = cards.iter().map(|card| (*card, 1, "正常")).collect();
    drop_rows(firedamp, ago, &rows, "");
}

/// Drops a snapshot of cards, the area and the work state of each; `more`: records as they are.
fn drop_rows(firedamp: &Firedamp, ago: i64, rows: &[(u32, u32, &str)], more: &str) {
    let local = model::time::rfc3339(model::SystemClock.now() + (8 * 3600 - ago) * model::time::SECOND);
    let time = local[..19].replace('T', " ");
    let row = |(card, area, state): &(u32, u32, &str)| {
        format!(
            "{MINE}{card:05};n{card};1;{time};xxxx-xx-xx xx:xx:xx;{MINE}{area:04};{time};{MINE}{area:04}000001;{time};三八制;1.00;\
             {state};0;0;~"
        )
    };
    let text = format!("{MINE};mine;{time}~{}{more}||", rows.iter().map(row).collect::<String>());
    drop_file(firedamp, "RYSS", &time, &text);
}

fn drop_file(firedamp: &Firedamp, kind: &str, time: &str, text: &str) {
    let stamp: String = time.chars().filter(char::is_ascii_digit).collect();
    let inbox = firedamp.folder().join("inbox");
    let hidden = inbox.join(".new");
    std::fs::write(&hidden, text).unwrap();
    std::fs::rename(hidden, inbox.join(format!("{MINE}_{kind}_{stamp}.txt"))).unwrap();
}

/// Waits until so many are below, so many of them uncertain.
async fn until_below(firedamp: &Firedamp, below: u64, uncertain: u64) {
    tests::wait_for_async("the count of people below", Duration::from_secs(30), || async {
        let people = firedamp.get("/api/v1/people").await.ok()?;
        let mine = people.as_array()?.iter().find(|mine| mine["site"] == MINE)?.clone();
        (mine["below"] == below && mine["uncertain"] == uncertain).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_is_below_is_known_after_a_restart() {
    let sites = format!("site,name,kind,region\nLW,Longwall,mine,140100\n{MINE},Mine,mine,620100\n");
    let config = format!("{FILES}{CONFIG}");
    let files = [
        ("firedamp.toml", config.as_str()),
        ("sites.csv", &sites),
        ("points.csv", POINTS),
        ("rules.toml", RULES),
    ];
    let mut firedamp = Firedamp::prepare(BINARY, &files);
    firedamp.start().await;
    drop_snapshot(&firedamp, 60, &[1, 2, 3]);
    until_below(&firedamp, 3, 0).await;
    // Once committed nothing of it is read from the log again.
    tests::wait_for_async("the positions are committed", Duration::from_secs(30), || async {
        let log = firedamp.folder().join("data/lake/person_positions/_delta_log");
        (std::fs::read_dir(log).ok()?.count() > 1).then_some(())
    })
    .await;
    firedamp.stop();
    firedamp.start().await;
    until_below(&firedamp, 3, 3).await;
    let cards = firedamp.get(&format!("/api/v1/people/{MINE}")).await.unwrap();
    let first: &Value = &cards[0];
    assert_eq!((&first["name"], &first["area"]), (&"n1".into(), &format!("{MINE}0001").into()), "{cards}");
    drop_snapshot(&firedamp, 30, &[1, 3]);
    until_below(&firedamp, 2, 0).await;
}

const PARTITIONS: u32 = 2;
const PACKS: [&str; 2] = ["people", "people-unverified"];
const RYXX: &str = "620000000001_RYXX_20261101000000.txt";
const RYQY: &str = "620000000001_RYQY_20261101000000.txt";
/// Six may be below, two in area 1, nobody in area 2.
const PERSONS: &str = "620000000001;mine;6;KJ1;rydw;maker;2030-12-31;2026-11-01 00:00:00~62000000000100001;n1;miner;未设置;one;;;0;1~||";
const AREAS: &str = "620000000001;mine;2026-11-01 00:00:00~重点区域;6200000000010001;2;face~限制区域;6200000000010002;;goaf~||";

/// What the receiver was told of a rule at a point: the events of its alarms, in order.
fn told(webhook: &Webhook, rule: &str) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    let of_rule = |m: Value| (m["alarm"]["rule"] == rule).then_some(m);
    let messages = webhook.received().into_iter().filter(|m| seen.insert(m.key.clone()));
    let line =
        |m: Value| format!("{} {}", m["event"].as_str().unwrap(), m["alarm"]["reason"].as_str().unwrap());
    messages.filter_map(|m| of_rule(m.json())).map(line).collect()
}

async fn until_told(webhook: &Webhook, rule: &str, begins: &[&str]) {
    tests::wait_for_async(&format!("{rule}: {begins:?} is told"), Duration::from_secs(30), || async {
        let told = told(webhook, rule);
        (told.len() >= begins.len()).then_some(())
    })
    .await;
    let told = told(webhook, rule);
    let fits = told.iter().zip(begins).all(|(told, begin)| told.starts_with(begin));
    assert!(told.len() == begins.len() && fits, "{rule}: {told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_about_people_through_files_a_kill_the_log_and_the_table() {
    let webhook = Webhook::start().await;
    let config = format!(
        "[log]\npartitions = {PARTITIONS}\n\n[catalog]\npoints = [\"{RYQY}\", \"{RYXX}\"]\n\n[rules]\npacks = {PACKS:?}\n\n{CONFIG}\n\
         [[receiver]]\nname = \"county\"\nkind = \"webhook\"\nurl = \"{}\"\nsecret = {{ env = \"COUNTY_SECRET\" }}\n",
        webhook.url
    );
    let files = [("firedamp.toml", config.as_str()), (RYXX, PERSONS), (RYQY, AREAS)];
    let mut firedamp = Firedamp::prepare(BINARY, &files);
    firedamp.set("COUNTY_SECRET", "s");
    firedamp.start().await;
    drop_file(&firedamp, "RYXX", "2026-11-01 00:00:00", PERSONS);
    drop_file(&firedamp, "RYQY", "2026-11-01 00:00:00", AREAS);
    let fine = "正常";
    drop_rows(&firedamp, 70, &[(1, 1, fine), (2, 1, fine), (3, 3, fine)], "");
    until_below(&firedamp, 3, 0).await;
    drop_rows(&firedamp, 60, &[(1, 1, fine), (2, 1, fine), (3, 1, "求救"), (4, 2, fine)], "");
    let capacity = format!("raised 3 people in area {MINE}0001, 2 may be (0 uncertain");
    until_told(&webhook, "people-capacity-area", &[&capacity]).await;
    let restricted = format!("raised card {MINE}00004 (n4, area {MINE}0002, station");
    until_told(&webhook, "people-restricted", &[&restricted]).await;
    let help = format!("raised card {MINE}00003 (n3, area {MINE}0001, station");
    until_told(&webhook, "unverified-people-help", &[&help]).await;
    firedamp.kill9();
    firedamp.start().await;
    // A record is skipped: who is absent is uncertain, and nothing ends. Another one calls.
    let some = [(3, 1, "求救"), (4, 2, fine), (5, 3, "求救"), (6, 3, fine)];
    drop_rows(&firedamp, 50, &some, "broken;~");
    until_below(&firedamp, 6, 2).await;
    let further = format!("changed card {MINE}00005 (n5, area {MINE}0003, station");
    until_told(&webhook, "unverified-people-help", &[&help, &further]).await;
    firedamp.kill9();
    firedamp.start().await;
    drop_rows(&firedamp, 40, &[(1, 1, fine), (2, 1, fine), (6, 3, fine)], "");
    until_told(&webhook, "people-capacity-area", &[&capacity, "cleared 2 people in area"]).await;
    until_told(&webhook, "people-restricted", &[&restricted, "cleared nobody any more"]).await;
    until_told(&webhook, "unverified-people-help", &[&help, &further, "cleared nobody any more"]).await;
    until_told(&webhook, "people-capacity-mine", &[]).await;
    firedamp.stop();
    again(&firedamp).await;
}

/// One judgement of the whole log, and a backtest of the table, decide what was decided live.
async fn again(firedamp: &Firedamp) {
    let folder = firedamp.folder();
    let mut problems = Problems::default();
    let points = [folder.join(RYQY), folder.join(RYXX)];
    let catalog = catalog_of_files(None::<&Path>, &points, PARTITIONS, &mut problems);
    let packs: Vec<String> = PACKS.iter().map(|p| (*p).to_owned()).collect();
    let version = Arc::new(Version::of_all(&pack_files(&packs), &catalog));
    let log = log_of(firedamp, PARTITIONS);
    let (mut once, mut live) = (BTreeMap::new(), BTreeMap::new());
    for p in 0..PARTITIONS {
        let readings = entries(&log, Stream::Readings, p).await;
        once.extend(
            judged(&readings, version.of_partition(p)).unwrap().into_iter().map(|t| (t.id.to_string(), t)),
        );
        for entry in entries(&log, Stream::Transitions, p).await {
            let Record::Transitions(all) = entry.decode().unwrap() else { panic!("not transitions") };
            live.extend(all.into_iter().map(|t| (t.id.to_string(), t)));
        }
    }
    log.close().await.unwrap();
    assert_eq!(live, once);
    assert_eq!(live.len(), 7);
    let out = firedamp.run(&["backtest", "--config", "firedamp.toml", "--format", "jsonl"]).unwrap();
    let lines: Vec<Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let tested: Vec<&str> = lines.iter().map(|l| l["id"].as_str().unwrap()).collect();
    assert_eq!(tested.len(), 7, "{out}");
    assert!(tested.iter().all(|id| live.contains_key(*id)), "{out}");
}
