//! National files as they lie on the disk, against the rules of MT/T 1201.1.

use crate::support::{PATIENCE, mines, start, with_files};
use model::ManualClock;
use simulator::{Plan, Running, Scenario, StartOptions, Transport};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Files of a folder by type, once each of `kinds` is there `count` times.
async fn wait(dir: &Path, kinds: &[(&str, usize)]) -> BTreeMap<String, Vec<String>> {
    let look = async {
        loop {
            let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for entry in std::fs::read_dir(dir).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if name.starts_with('.') {
                    continue; // under its temporary name: no reader takes it
                }
                let parts: Vec<&str> = name.strip_suffix(".txt").expect("ends .txt").split('_').collect();
                assert!(parts.len() == 3 && parts[0].len() == 12 && parts[2].len() == 14, "{name}");
                assert!(parts[2].bytes().all(|b| b.is_ascii_digit()));
                found.entry(parts[1].to_owned()).or_default().push(name);
            }
            found.values_mut().for_each(|names| names.sort());
            if kinds.iter().all(|(kind, n)| found.get(*kind).is_some_and(|f| f.len() >= *n)) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, look).await.expect("the files come")
}

/// Header and records of a file, each as fields; checks what holds for every file.
fn parse(dir: &Path, name: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let bytes = std::fs::read(dir.join(name)).unwrap();
    assert_ne!(bytes[..3], [0xef, 0xbb, 0xbf], "no BOM");
    let text = String::from_utf8(bytes).expect("UTF-8");
    assert!(text.ends_with("~||") && !text.contains(['\n', '\r', '；', '"']), "{text}");
    let mut parts = text[..text.len() - 3].split('~').map(|r| r.split(';').map(str::to_owned).collect());
    let header: Vec<String> = parts.next().unwrap();
    assert_eq!(header[0], name[..12], "the mine of the header is that of the name");
    let uploaded = header.last().unwrap();
    let stamp: String = uploaded.chars().filter(char::is_ascii_digit).collect();
    assert_eq!(stamp, name[name.len() - 18..name.len() - 4], "the time of the header is that of the name");
    model::time::parse_national(uploaded).unwrap();
    (header, parts.collect())
}

/// The first whole second of a run: files know no smaller time.
fn first(running: &Running) -> i64 {
    running.started + (-running.started).rem_euclid(1_000_000)
}

fn since(running: &Running, t: i64) -> Duration {
    Duration::from_micros((t - running.started).try_into().unwrap())
}

#[tokio::test]
async fn files_are_whole_valid_and_say_what_the_world_says() {
    let dir = tempfile::tempdir().unwrap();
    let plan = Plan { file_mines: 1, file_period: Duration::from_secs(1), ..mines(1, Scenario::Surge) };
    let running = start(&plan, with_files(dir.path().join("inbox"))).await;
    assert_eq!((running.transports(), &running.mqtt_url), (&[Transport::Files][..], &None));
    let inbox = running.inbox.clone().unwrap();
    let once = [("CDDY", 1), ("RYXX", 1), ("RYQY", 1), ("CDSS", 2), ("RYSS", 2)];
    let files = wait(&inbox, &once).await;
    let site = &running.world.sites()[0];

    let (header, definitions) = parse(&inbox, &files["CDDY"][0]);
    assert_eq!((header.len(), definitions.len()), (7, site.points.len()));
    for (d, p) in definitions.iter().zip(&site.points) {
        assert_eq!((d.len(), &d[0], d[0].len(), &*d[1], d[2].len()), (24, &p.code, 28, "01", 17));
        assert_eq!((&d[3], &d[4]), (&d[0][16..20].to_owned(), &d[0][14..16].to_owned()));
        let analog = d[4] == "MN";
        assert!(d[5..16].iter().all(|f| f.is_empty() != analog), "fields 6 to 16 are for MN: {d:?}");
        assert_eq!(d[16..18].iter().all(|f| !f.is_empty()), d[4] == "KG");
        assert!(d[6..16].iter().all(|f| f.is_empty() || f.parse::<f64>().is_ok()));
    }
    assert_eq!(definitions[0][8..10], ["1", "1"], "alarm and release of the corner");
    assert_eq!(definitions[0][12..14], ["1.5", "1"]);

    for (k, name) in files["CDSS"].iter().enumerate() {
        let (header, values) = parse(&inbox, name);
        assert_eq!((header.len(), values.len()), (3, site.points.len()));
        let t = model::time::parse_national(&header[2]).unwrap();
        assert_eq!(t, first(&running) + k as i64 * 1_000_000, "one a second, from the start");
        let now = running.world.site_at(0, since(&running, t)).samples;
        for ((v, p), s) in values.iter().zip(&site.points).zip(now) {
            assert_eq!((v.len(), &v[0], v[5].parse()), (7, &p.code, Ok(s.status)));
            assert_eq!(v[3].parse::<f64>().ok(), s.value);
            assert_eq!(model::time::parse_national(&v[6]), Ok(t));
        }
    }

    let (header, people) = parse(&inbox, &files["RYXX"][0]);
    assert_eq!((header.len(), people.len()), (8, site.people.len()));
    assert!(people.iter().all(|p| p.len() == 9 && p[0].len() == 17 && !p[1].is_empty()));
    let (_, areas) = parse(&inbox, &files["RYQY"][0]);
    assert!(areas.iter().all(|a| a.len() == 4 && a[1].len() == 16 && a[2].parse::<u32>().is_ok()));
    let (header, seen) = parse(&inbox, &files["RYSS"][0]);
    let t = model::time::parse_national(&header[2]).unwrap();
    let now = running.world.site_at(0, since(&running, t)).people;
    assert_eq!(seen.iter().filter(|s| s[2] == "1").count(), now.iter().filter(|p| p.below).count());
    for s in &seen {
        assert_eq!((s.len(), s[0].len(), s[7].len()), (15, 17, 22));
        assert!(areas.iter().any(|a| a[1] == s[5]) && s[7].starts_with(&s[5]));
        assert_eq!(s[2] == "1", s[4].is_empty(), "whoever is below has no time out");
        for time in [&s[3], &s[6], &s[8]] {
            assert!(model::time::parse_national(time).unwrap() <= t);
        }
    }
    // Counted once it stands there, which may be seen before.
    let counted = async {
        while running.counts().files < 7 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), counted).await.expect("all are counted");
    running.stop().await;
    let left = std::fs::read_dir(&inbox).unwrap().filter(|e| {
        let name = e.as_ref().unwrap().file_name();
        name.to_str().unwrap().starts_with('.')
    });
    assert_eq!(left.count(), 0, "no temporary file is left");
}

#[tokio::test]
async fn a_failed_sensor_is_minus_9999_and_a_broken_link_holds_files_back() {
    let dir = tempfile::tempdir().unwrap();
    // At 20 world seconds a second: the sensor has failed from 0.75 to 3 s.
    let base = Plan {
        file_mines: 1,
        file_period: Duration::from_secs(1),
        rate: 20.0,
        ..mines(1, Scenario::SensorFault)
    };
    let running = start(&base, with_files(dir.path().to_owned())).await;
    let files = wait(dir.path(), &[("CDSS", 2)]).await;
    let (_, values) = parse(dir.path(), &files["CDSS"][1]);
    assert_eq!((&*values[1][3], &*values[1][5]), ("-9999", "128"));
    running.stop().await;

    let dir = tempfile::tempdir().unwrap();
    let plan = Plan { scenario: Scenario::LinkBreak, ..base };
    // A clock on a whole second, so that the first file is due at once.
    let clock = Arc::new(ManualClock::at(1_790_000_000_000_000));
    let running = start(&plan, StartOptions { clock, ..with_files(dir.path().to_owned()) }).await;
    // Down from 0.75 to 2.25 s: the files of seconds 1 and 2 come with that of second 3.
    let early = wait(dir.path(), &[("CDSS", 1)]).await;
    assert_eq!(early["CDSS"].len(), 1);
    let files = wait(dir.path(), &[("CDSS", 4)]).await;
    for (k, name) in files["CDSS"].iter().take(4).enumerate() {
        let (header, _) = parse(dir.path(), name);
        assert_eq!(model::time::parse_national(&header[2]).unwrap(), first(&running) + k as i64 * 1_000_000);
    }
    running.stop().await;
}

#[tokio::test]
async fn plans_that_do_not_fit_their_options_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        (mines(1, Scenario::Quiet), with_files(dir.path().to_owned()), "file_mines = 1"),
        (Plan { file_mines: 1, ..mines(1, Scenario::Quiet) }, crate::support::options(None), "give a folder"),
        (
            mines(1, Scenario::Quiet),
            simulator::StartOptions { mqtt: false, modbus: false, ..crate::support::options(None) },
            "allow MQTT or Modbus",
        ),
        (mines(1, Scenario::TankOverfill), crate::support::options(None), "needs a plant"),
        (mines(1, Scenario::Quiet), crate::support::options(Some("mqtts://x".to_owned())), "plain MQTT"),
    ];
    for (plan, options, says) in cases {
        let said = simulator::start(&plan, options, CancellationToken::new()).await.unwrap_err();
        assert!(format!("{said:#}").contains(says), "{said:#}");
    }
}
