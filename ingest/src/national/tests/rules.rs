//! Each rule of the field, one test: what is in the file, where it goes, what is delivered, what is counted.

use super::setup::{DUCT, METHANE, MINE, SAMPLE, SAMPLE_NAME, at, points_of, refusals, start};
use crate::national::{read_areas, read_people};
use model::people::Presence;
use model::{PointId, status};

fn id(point: &str) -> PointId {
    PointId::of(MINE, point)
}

fn cdss(header_time: &str, records: &[String]) -> String {
    let body: String = records.iter().map(|r| format!("{r}~")).collect();
    format!("{MINE};测试煤矿;{header_time}~{body}||")
}

fn record(value: &str, time: &str) -> String {
    format!("{METHANE};激光甲烷;1301回风隅角T0;{value};%CH4;0;{time}")
}

#[tokio::test]
async fn the_sample_becomes_two_readings_and_is_done() {
    let inbox = start("");
    inbox.put(SAMPLE_NAME, SAMPLE);
    inbox.wait_file(&format!("done/{SAMPLE_NAME}")).await;
    let taken = inbox.taken();
    assert_eq!(taken.len(), 1);
    let rows: Vec<_> = (0..2).map(|i| taken[0].readings.row(i)).collect();
    let time = at("2026-09-23 10:13:15");
    assert_eq!(rows, [(id(METHANE), time, 1.02, status::ALARM), (id(DUCT), time, 1.0, 0)]);
    assert!(taken[0].refused.is_empty() && taken[0].unknown.is_empty());
    assert_eq!(inbox.files(), [format!("done/{SAMPLE_NAME}")]);
    inbox.wait_health("").await;
    assert!(inbox.fixture.health().up);
    inbox.stop().await;
}

#[tokio::test]
async fn without_its_two_pipes_a_file_waits_and_fails_after_ten_minutes() {
    let inbox = start("");
    let cut = &SAMPLE[..SAMPLE.len() - 1];
    inbox.put(SAMPLE_NAME, cut);
    let other = "620000000001_CDSS_20260923101318.txt";
    inbox.put(other, cdss("2026-09-23 10:13:18", &[]));
    inbox.wait_file(&format!("done/{other}")).await;
    inbox.fixture.clock.advance(9 * 60_000_000);
    inbox.put("620000000001_CDSS_20260923101320.txt", cdss("2026-09-23 10:13:20", &[]));
    inbox.wait_file("done/620000000001_CDSS_20260923101320.txt").await;
    assert!(inbox.path(SAMPLE_NAME).exists(), "it still waits");
    inbox.fixture.clock.advance(61_000_000);
    inbox.wait_file(&format!("failed/{SAMPLE_NAME}")).await;
    assert!(inbox.reason(&format!("failed/{SAMPLE_NAME}")).contains("does not end with two pipes"));
    assert_eq!(refusals(&inbox.taken()), [("incomplete", 1)]);
    // The rest of it comes later under the same name: it is a new file and is taken.
    inbox.put(SAMPLE_NAME, SAMPLE);
    inbox.wait_file(&format!("stale/{SAMPLE_NAME}")).await;
    inbox.stop().await;
}

#[tokio::test]
async fn a_file_that_still_grows_does_not_fail() {
    let inbox = start("");
    for end in [100, 150, 200] {
        std::fs::write(inbox.path(SAMPLE_NAME), &SAMPLE.as_bytes()[..end]).unwrap();
        let other = format!("620000000001_CDSS_20260923101{end}.txt");
        inbox.put(
            &other,
            cdss("2026-09-23 10:13:00", &[record("0.1", &format!("2026-09-23 10:00:0{}", end / 50))]),
        );
        inbox.wait_file(&format!("done/{other}")).await;
        inbox.fixture.clock.advance(9 * 60_000_000);
    }
    std::fs::write(inbox.path(SAMPLE_NAME), SAMPLE).unwrap();
    inbox.wait_file(&format!("done/{SAMPLE_NAME}")).await;
    inbox.stop().await;
}

#[tokio::test]
async fn another_mine_in_the_header_fails_the_file() {
    let inbox = start("");
    let name = "620000000002_CDSS_20260923101319.txt";
    inbox.put(name, SAMPLE);
    inbox.wait_file(&format!("failed/{name}")).await;
    assert!(
        inbox
            .reason(&format!("failed/{name}"))
            .contains("mine code 620000000001 in the header, 620000000002 in the file name")
    );
    assert_eq!(refusals(&inbox.taken()), [("mine", 1)]);
    inbox.wait_health("failed: mine code").await;
    inbox.stop().await;
}

#[tokio::test]
async fn a_header_ahead_of_the_clock_is_taken_and_moves_no_clock() {
    let inbox = start("");
    let ahead = "620000000001_CDSS_20990101000000.txt";
    inbox.put(ahead, cdss("2099-01-01 00:00:00", &[record("1.6", "2099-01-01 00:00:00")]));
    inbox.wait_file(&format!("done/{ahead}")).await;
    assert_eq!(
        inbox.taken()[0].readings.row(0),
        (id(METHANE), at("2099-01-01 00:00:00"), 1.6, status::FUTURE)
    );
    let events = inbox.fixture.context.metrics.source("inbox");
    assert_eq!(events.event("header_future").get(), 1);
    inbox.wait_health("the clock of mine 620000000001 is").await;
    inbox.put(SAMPLE_NAME, SAMPLE);
    inbox.wait_file(&format!("done/{SAMPLE_NAME}")).await;
    assert_eq!(inbox.taken()[1].readings.status[1], 0, "what follows is not stale");
    inbox.stop().await;
}

#[tokio::test]
async fn an_older_header_of_its_type_is_stale_and_corrects_history_only() {
    let inbox = start("");
    inbox.put(SAMPLE_NAME, SAMPLE);
    inbox.wait_file(&format!("done/{SAMPLE_NAME}")).await;
    let old = "620000000001_CDSS_20260923101249.txt";
    inbox.put(old, cdss("2026-09-23 10:12:49", &[record("0.9", "2026-09-23 10:12:45")]));
    inbox.wait_file(&format!("stale/{old}")).await;
    let stale = status::STALE | status::HISTORICAL;
    assert_eq!(inbox.taken()[1].readings.row(0), (id(METHANE), at("2026-09-23 10:12:45"), 0.9, stale));
    assert!(
        inbox
            .reason(&format!("stale/{old}"))
            .starts_with("stale: header time 2026-09-23T02:12:49.000Z is older")
    );
    // Another type has its own newest time.
    let other = "620000000001_KGBH_20260923101249.txt";
    inbox.put(other, format!("{MINE};x;2026-09-23 10:12:49~{DUCT};0;2026-09-23 10:12:45~||"));
    inbox.wait_file(&format!("done/{other}")).await;
    // It is known after a restart, too.
    let inbox = inbox.restart().await;
    let older = "620000000001_CDSS_20260923101219.txt";
    inbox.put(older, cdss("2026-09-23 10:12:19", &[]));
    inbox.wait_file(&format!("stale/{older}")).await;
    inbox.stop().await;
}

#[tokio::test]
async fn files_that_wait_together_are_read_in_the_order_of_their_names_times() {
    let dir = tempfile::tempdir().unwrap();
    for second in [30, 10, 20, 40] {
        let time = format!("2026-09-23 10:13:{second}");
        let text = cdss(&time, &[record(&format!("0.{second}"), &time)]);
        std::fs::write(dir.path().join(format!("620000000001_CDSS_202609231013{second}.txt")), text).unwrap();
    }
    let inbox = super::setup::start_in(dir, "");
    inbox.wait_file("done/620000000001_CDSS_20260923101340.txt").await;
    let values: Vec<f64> = inbox.taken().iter().map(|d| d.readings.value[0]).collect();
    assert_eq!(values, [0.1, 0.2, 0.3, 0.4]);
    inbox.stop().await;
}

#[tokio::test]
async fn the_same_content_twice_is_a_duplicate() {
    let inbox = start("");
    inbox.put(SAMPLE_NAME, SAMPLE);
    inbox.wait_file(&format!("done/{SAMPLE_NAME}")).await;
    inbox.put(SAMPLE_NAME, SAMPLE);
    inbox.wait_file(&format!("duplicate/{SAMPLE_NAME}.dup1")).await;
    let inbox = inbox.restart().await;
    inbox.put(SAMPLE_NAME, SAMPLE);
    inbox.wait_file(&format!("duplicate/{SAMPLE_NAME}.dup2")).await;
    let other_name = "620000000001_CDSS_20260923101320.txt";
    inbox.put(other_name, SAMPLE);
    inbox.wait_file(&format!("duplicate/{other_name}.dup1")).await;
    let rows: usize = inbox.taken().iter().map(|d| d.readings.len()).sum();
    assert_eq!((rows, refusals(&inbox.taken())), (2, vec![("duplicate", 3)]));
    inbox.stop().await;
}

#[tokio::test]
async fn the_same_name_with_other_content_is_a_correction() {
    let inbox = start("");
    inbox.put(SAMPLE_NAME, SAMPLE);
    inbox.wait_file(&format!("done/{SAMPLE_NAME}")).await;
    inbox.put(SAMPLE_NAME, SAMPLE.replace("1.02", "0.72"));
    inbox.wait_file(&format!("done/{SAMPLE_NAME}.dup1")).await;
    assert_eq!(inbox.taken()[1].readings.value[0], 0.72);
    inbox.stop().await;
}

#[tokio::test]
async fn bad_records_are_skipped_up_to_a_fifth_of_the_file() {
    let inbox = start("");
    let good = |n: usize| record("0.5", &format!("2026-09-23 10:13:{n:02}"));
    let mut records: Vec<_> = (0..8).map(good).collect();
    records.insert(3, "a;b;c".to_owned());
    records.push(record("x", "2026-09-23 10:13:00"));
    let name = "620000000001_CDSS_20260923101319.txt";
    inbox.put(name, cdss("2026-09-23 10:13:19", &records));
    inbox.wait_file(&format!("partial/{name}")).await;
    let reason = inbox.reason(&format!("partial/{name}"));
    let expected = "2 of 10 records were skipped, the others taken\nrecord 4: 3 fields, expected 7\nrecord 10: value `x`";
    assert!(reason.starts_with(expected), "{reason}");
    assert_eq!(inbox.taken()[0].readings.len(), 8);
    assert_eq!(refusals(&inbox.taken()), [("fields", 1), ("value", 1)]);
    inbox.stop().await;
}

#[tokio::test]
async fn more_than_a_fifth_of_bad_records_fails_the_whole_file() {
    let inbox = start("");
    let mut records: Vec<_> = (0..7).map(|n| record("0.5", &format!("2026-09-23 10:13:{n:02}"))).collect();
    records.extend(["a".to_owned(), "b".to_owned()]);
    let name = "620000000001_CDSS_20260923101319.txt";
    inbox.put(name, cdss("2026-09-23 10:13:19", &records));
    inbox.wait_file(&format!("failed/{name}")).await;
    assert!(inbox.reason(&format!("failed/{name}")).starts_with("2 of 9 records are bad, more than 20 %"));
    let taken = inbox.taken();
    assert_eq!((taken[0].readings.len(), refusals(&taken)), (0, vec![("fields", 2), ("file", 7)]));
    // Failed files are not remembered: the mended one is no duplicate and not stale.
    inbox.put(name, cdss("2026-09-23 10:13:19", &records[..7]));
    inbox.wait_file(&format!("done/{name}")).await;
    inbox.stop().await;
}

#[tokio::test]
async fn a_key_twice_in_a_file_the_later_counts() {
    let inbox = start("");
    let time = "2026-09-23 10:13:15";
    let records = [record("0.5", time), record("0.6", "2026-09-23 10:13:10"), record("0.7", time)];
    inbox.put(SAMPLE_NAME, cdss("2026-09-23 10:13:19", &records));
    inbox.wait_file(&format!("done/{SAMPLE_NAME}")).await;
    let taken = inbox.taken();
    assert_eq!(*taken[0].readings.value, [0.6, 0.7], "another time is another reading");
    assert_eq!(refusals(&taken), [("repeated", 1)]);
    inbox.stop().await;
}

#[tokio::test]
async fn a_wrong_encoding_fails_the_file_with_its_name() {
    let inbox = start("");
    let gbk = [b"620000000001;".as_slice(), &[0xb2, 0xe2], b";2026-09-23 10:13:19~||"].concat();
    inbox.put(SAMPLE_NAME, gbk);
    inbox.wait_file(&format!("failed/{SAMPLE_NAME}")).await;
    assert!(inbox.reason(&format!("failed/{SAMPLE_NAME}")).contains("it looks like GBK"));
    assert_eq!(refusals(&inbox.taken()), [("encoding", 1)]);
    inbox.stop().await;
}

#[tokio::test]
async fn an_unknown_type_and_a_strange_name_are_kept() {
    let inbox = start("");
    let bureau = "620000000001_YCBJ_20260923101400.txt";
    inbox.put(bureau, "620000000001;x;2026-09-23 10:14:00~||");
    inbox.put("notes.docx", "hello");
    inbox.wait_file(&format!("unknown/{bureau}")).await;
    inbox.wait_file("unknown/notes.docx").await;
    assert!(inbox.reason(&format!("unknown/{bureau}")).contains("type YCBJ is not read by this release"));
    assert_eq!(refusals(&inbox.taken()), [("unknown_type", 2)]);
    inbox.stop().await;
}

#[tokio::test]
async fn an_unknown_point_goes_to_quarantine_and_a_missing_value_is_a_status() {
    let inbox = start("");
    let stranger = "62000000000101MN004300009F09;甲烷;x;0.4;%CH4;0;2026-09-23 10:13:15".to_owned();
    inbox.put(SAMPLE_NAME, cdss("2026-09-23 10:13:19", &[stranger, record("-9999", "2026-09-23 10:13:15")]));
    inbox.wait_file(&format!("done/{SAMPLE_NAME}")).await;
    let taken = inbox.taken();
    assert_eq!((taken[0].unknown.len(), taken[0].unknown[0].value), (1, Some(0.4)));
    let row = taken[0].readings.row(0);
    assert!(row.2.is_nan() && row.3 == status::MISSING);
    inbox.stop().await;
}

fn ryss(header_time: &str, rows: &[(u32, &str)]) -> String {
    let body: String = rows
        .iter()
        .map(|(card, flag)| {
            format!(
                "{MINE}{card:05};张{card};{flag};2026-09-23 08:00:00;xxxx-xx-xx xx:xx:xx;{MINE}0001;2026-09-23 \
                 09:00:00;{MINE}0001000001;2026-09-23 09:30:00;三八制;1.00;正常;0;0;~"
            )
        })
        .collect();
    format!("{MINE};测试煤矿;{header_time}~{body}||")
}

#[tokio::test]
async fn people_come_as_snapshots_complete_only_when_nothing_was_skipped() {
    let inbox = start("");
    let name = |t: &str| format!("620000000001_RYSS_20260923{t}.txt");
    inbox.put(&name("100000"), ryss("2026-09-23 10:00:00", &[(1, "1"), (2, "2"), (1, "1")]));
    inbox.wait_file(&format!("done/{}", name("100000"))).await;
    inbox.put(
        &name("100500"),
        ryss("2026-09-23 10:05:00", &[(1, "1"), (2, "1"), (3, "1"), (4, "1"), (5, "7")]),
    );
    inbox.wait_file(&format!("partial/{}", name("100500"))).await;
    inbox.put(&name("101000"), ryss("2026-09-23 10:10:00", &[]));
    inbox.wait_file(&format!("done/{}", name("101000"))).await;
    inbox.put(&name("100700"), ryss("2026-09-23 10:07:00", &[(9, "1")]));
    inbox.wait_file(&format!("stale/{}", name("100700"))).await;
    let taken = inbox.taken();
    let seen: Vec<_> = taken
        .iter()
        .map(|d| {
            let p = d.positions.as_ref().unwrap();
            let s = p.snapshot.as_ref().unwrap();
            (p.rows.len(), s.complete, s.stale, s.time)
        })
        .collect();
    let expected = [
        (2, true, false, at("2026-09-23 10:00:00")),
        (4, false, false, at("2026-09-23 10:05:00")),
        (0, true, false, at("2026-09-23 10:10:00")),
        (1, true, true, at("2026-09-23 10:07:00")),
    ];
    assert_eq!(seen, expected);
    let first = &taken[0].positions.as_ref().unwrap().rows;
    let presence: Vec<_> = first.iter().map(|p| (p.card.ends_with('1'), p.presence)).collect();
    assert_eq!(presence, [(false, Presence::Out), (true, Presence::Below)]);
    assert_eq!(refusals(&taken), [("flag", 1), ("repeated", 1)]);
    inbox.fixture.clock.advance(16 * 60_000_000);
    inbox.wait_health("mine 620000000001: no new RYSS for 15 min").await;
    inbox.stop().await;
}

#[tokio::test]
async fn people_of_a_mine_that_is_not_in_the_catalog_fail_and_may_come_again() {
    let inbox = start("");
    let name = "620000000002_RYSS_20260923100000.txt";
    let text = ryss("2026-09-23 10:00:00", &[(1, "1")]).replace("620000000001", "620000000002");
    inbox.put(name, text);
    inbox.wait_file(&format!("failed/{name}")).await;
    assert!(inbox.reason(&format!("failed/{name}")).contains("mine 620000000002 is not in the catalog"));
    inbox.stop().await;
}

#[tokio::test]
async fn who_and_areas_are_kept_beside_each_other() {
    let inbox = start("");
    let who = |time: &str, name: &str| {
        format!(
            "{MINE};测试煤矿;320;KJ0002X;定位;厂家;2030-12-31;{time}~{MINE}00001;{name};采煤工;未设置;一队;;;0;1~||"
        )
    };
    inbox.put("620000000001_RYXX_20260923100000.txt", who("2026-09-23 10:00:00", "张三"));
    let areas = format!(
        "{MINE};测试煤矿;2026-09-23 10:00:00~重点区域;{MINE}0001;30;工作面~限制区域;{MINE}0002;0;采空区~||"
    );
    inbox.put("620000000001_RYQY_20260923100000.txt", areas);
    inbox.wait_file("done/620000000001_RYXX_20260923100000.txt").await;
    inbox.wait_file("done/620000000001_RYQY_20260923100000.txt").await;
    inbox.put("620000000001_RYXX_20260923110000.txt", who("2026-09-23 11:00:00", "李四"));
    inbox.wait_file("done/620000000001_RYXX_20260923110000.txt").await;
    inbox.put("620000000001_RYXX_20260923090000.txt", who("2026-09-23 09:00:00", "王五"));
    inbox.wait_file("stale/620000000001_RYXX_20260923090000.txt").await;
    let people = read_people(inbox.dir.path(), MINE).unwrap();
    assert_eq!(
        (people.authorised, people.persons.len(), people.persons[0].name.as_str()),
        (Some(320), 1, "李四")
    );
    let areas = read_areas(inbox.dir.path(), MINE).unwrap();
    assert_eq!(areas.iter().map(|a| a.authorised).collect::<Vec<_>>(), [Some(30), Some(0)]);
    assert!(inbox.taken().is_empty(), "no readings");
    let events = inbox.fixture.context.metrics.source("inbox");
    assert_eq!(events.event("card_has_another_name").get(), 1);
    assert!(read_areas(inbox.dir.path(), "../x").unwrap().is_empty());
    inbox.stop().await;
}

#[tokio::test]
async fn definitions_are_set_aside_and_told() {
    let inbox = start("");
    let name = "620000000001_CDDY_20260923100000.txt";
    let fields = format!(
        "{DUCT};01;62000000000100001;1003;KG;{}有风;无风;1302掘进;;;;;2026-09-23 10:00:00",
        ";".repeat(11)
    );
    let text = format!("{MINE};测试煤矿;KJ;系统;厂家;2030-12-31;2026-09-23 10:00:00~{fields}~||");
    assert_eq!(points_of(&text), 1);
    inbox.put(name, &text);
    inbox.wait_file(&format!("catalog/{name}")).await;
    assert!(
        inbox
            .reason(&format!("catalog/{name}"))
            .starts_with("1 points of mine 620000000001, 1 of them new or different: list this file under")
    );
    inbox.wait_health("catalog: 1 points of mine").await;
    assert!(inbox.taken().is_empty());
    inbox.stop().await;
}

#[tokio::test]
async fn definitions_that_the_catalog_has_are_done() {
    let inbox = start("");
    let file = |hour: u32, high: &str, unit: &str| {
        let at = format!("2026-09-23 {hour:02}:00:00");
        let fields =
            format!("{METHANE};01;62000000000100001;1004;MN;{unit};{high};0;;;;;;;;;;;1302;1;2;-350;;{at}");
        let name = format!("620000000001_CDDY_20260923{hour:02}0000.txt");
        (name, format!("{MINE};测试煤矿;KJ;系统;厂家;2030-12-31;{at}~{fields}~||"))
    };
    let (name, text) = file(8, "40", "%CH4");
    let mut problems = model::Problems::default();
    let (sites, points) = crate::national::catalog_from_file(&name, &text, &mut problems);
    assert_eq!((points.len(), problems.errors()), (1, 0), "{problems}");
    // What the catalog says beyond the file is nothing new, nor is another name of the unit.
    let with_period = |(point, place): (model::Point, _)| {
        (model::Point { period: Some(1), unit: "%".to_owned(), ..point }, place)
    };
    let points = points.into_iter().map(with_period).collect();
    let catalog = model::Catalog::build(sites, points, 4, &mut problems);
    *inbox.fixture.context.catalog.write().unwrap() = std::sync::Arc::new(catalog);
    inbox.put(&name, &text);
    inbox.wait_file(&format!("done/{name}")).await;
    for (hour, high, unit) in [(9, "100", "%CH4"), (10, "40", "ppm")] {
        let (name, text) = file(hour, high, unit);
        inbox.put(&name, &text);
        inbox.wait_file(&format!("catalog/{name}")).await;
        assert!(inbox.reason(&format!("catalog/{name}")).contains("1 of them new or different"));
    }
    inbox.wait_health("catalog: 1 points of mine").await;
    inbox.stop().await;
}
