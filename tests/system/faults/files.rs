//! National files that are cut off, of the wrong encoding, mine, type or time, or hold bad records: each ends in its folder with a
//! reason beside it, counted, and the files behind it are read.

use super::stand::*;
use super::told::Told;
use model::time::{MINUTE, SECOND};

const DROP: &str = "[[source]]\nname = \"drop\"\nkind = \"national\"\ndir = \"drop\"\nevery = \"20ms\"\nfailed_after = \"1s\"\n";

struct File {
    what: &'static str,
    name: String,
    content: Vec<u8>,
    folder: &'static str,
    /// Reason and count of what is refused.
    refused: Option<(&'static str, i64)>,
    stored: i64,
}

fn files() -> Vec<File> {
    // Files are read in the order of their times; these begin two hours ago.
    let start = now() - 7200 * SECOND;
    let mut n = 0;
    let mut file = |what, folder, refused, stored, change: &dyn Fn(String) -> Vec<u8>| {
        n += 1;
        let (name, text) = of_other(start + n * SECOND, n);
        File { what, name, content: change(text), folder, refused, stored }
    };
    let bytes = |text: String| text.into_bytes();
    let cut = |text: String| text.trim_end_matches("~||").as_bytes().to_vec();
    let gbk = |text: String| {
        let (head, tail) = text.split_once("测试煤矿").unwrap();
        [head.as_bytes(), b"\xb2\xe2\xca\xd4\xc3\xba\xbf\xf3", tail.as_bytes()].concat()
    };
    let other_mine = |text: String| text.replacen(MINE, "620000000009", 1).into_bytes();
    let bad_record = |text: String| text.replace("m/s;0;", "m/s;zero;").into_bytes();
    let year_1970 = |text: String| {
        let at = national(start + 6 * SECOND);
        text.replace(&at, "1970-01-01 08:00:00").into_bytes()
    };
    let mut all = vec![
        file("good", "done", None, 1, &bytes),
        file("cut off", "failed", Some(("incomplete", 1)), 0, &cut),
        file("GBK", "failed", Some(("encoding", 1)), 0, &gbk),
        file("another mine", "failed", Some(("mine", 1)), 0, &other_mine),
        file("a record that is none", "failed", Some(("status", 1)), 0, &bad_record),
        file("year 1970", "stale", Some(("time", 1)), 0, &year_1970),
        file("good behind", "done", None, 1, &bytes),
    ];
    let named = |what, name: &str, folder, refused| {
        let content = all[0].content.clone();
        File { what, name: name.to_owned(), content, folder, refused: Some((refused, 1)), stored: 0 }
    };
    let unknown =
        named("a type that is not read", &all[0].name.replace("CDSS", "XXXX"), "unknown", "unknown_type");
    let no_name = named("no name of a national file", "readme.doc", "unknown", "unknown_type");
    all.extend([unknown, no_name]);
    all
}

/// As the neighbour's files, of another sensor.
fn of_other(time: i64, value: i64) -> (String, String) {
    let (name, text) = national_file(time, value);
    (name, text.replace(SENSOR, OTHER_SENSOR))
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_files_end_in_their_folders_with_a_reason() {
    let mut stand =
        Stand::start("[log]\npartitions = 2\n[storage]\nflush = \"500ms\"\n", |_| DROP.to_owned()).await;
    let inbox = stand.firedamp.folder().join("drop");
    let (mut stored, mut refused) = (0, 0);
    for file in files() {
        let series = file
            .refused
            .map(|(r, _)| format!("firedamp_ingest_refused_total{{reason=\"{r}\",source=\"drop\"}}"));
        let before = Told::metrics(&stand.firedamp).await;
        put(&inbox, &file.name, &file.content);
        let end = inbox.join(file.folder).join(&file.name);
        tests::wait_for_async(&format!("{}: {}", file.what, end.display()), PATIENCE, || async {
            end.exists().then_some(())
        })
        .await;
        stored += file.stored;
        let Some(((reason, count), series)) = file.refused.zip(series) else { continue };
        refused += count;
        let counted = Told::metrics(&stand.firedamp).await.get(&series) - before.get(&series);
        assert_eq!(counted, count, "{}: {reason}", file.what);
        let shown = stand.source("drop").await;
        let shown = shown["refused"].as_array().unwrap().iter().find(|r| r["reason"] == reason).cloned();
        let sample = shown.unwrap_or_default()["sample"].as_str().unwrap_or_default().to_owned();
        assert!(
            sample.contains(&file.name) || file.folder == "stale" && sample.contains("1970"),
            "{}: {sample}",
            file.what
        );
        if file.folder != "done" {
            let why =
                std::fs::read_to_string(inbox.join(file.folder).join(format!("{}.reason.txt", file.name)));
            assert!(!why.unwrap().trim().is_empty(), "{}", file.what);
        }
    }
    // A file as large as none is: refused without being read.
    let (name, _) = national_file(now() - 3600 * SECOND, 0);
    let huge = inbox.join(format!(".{name}"));
    std::fs::File::create(&huge).unwrap().set_len((64 << 20) + 1).unwrap();
    std::fs::rename(&huge, inbox.join(&name)).unwrap();
    stand.says("drop", "bytes, more than").await;
    refused += 1;
    stored += clock_ahead(&stand, &inbox).await;
    let balance = stand.settle().await;
    let wanted = Balance { received: stored + refused, refused, stored, duplicate: 0, quarantined: 0 };
    assert_eq!(balance["drop"], wanted);
    stand.firedamp.stop();
}

/// A mine whose clock is an hour ahead: its readings are kept, it is told, and ends with the first file of the right time.
async fn clock_ahead(stand: &Stand, inbox: &std::path::Path) -> i64 {
    let (name, text) = of_other(now() + 60 * MINUTE, 8);
    put(inbox, &name, text);
    stand.alarmed("source-clock", "drop").await;
    stand.says("drop", "ahead").await;
    stand.pass("hostile files, and a mine whose clock is ahead").await;
    let (name, text) = of_other(now(), 9);
    put(inbox, &name, text);
    stand.ended("source-clock", "drop").await;
    2
}
