//! The folder: links, subfolders, crashes, a log that is away, stopping.

use super::setup::{SAMPLE, SAMPLE_NAME, refusals, start, start_in};
use crate::testing::Mood;

#[cfg(unix)]
#[tokio::test]
async fn symbolic_links_are_never_followed() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret.txt"), SAMPLE).unwrap();
    std::fs::write(outside.path().join("620000000001_CDSS_20260923101319.txt"), SAMPLE).unwrap();
    let inbox = start("");
    std::os::unix::fs::symlink(outside.path().join("secret.txt"), inbox.path(SAMPLE_NAME)).unwrap();
    std::os::unix::fs::symlink(outside.path(), inbox.path("aqjk")).unwrap();
    inbox.wait_health("2 symbolic links are not followed").await;
    assert!(inbox.taken().is_empty() && outside.path().join("secret.txt").exists());
    inbox.stop().await;
}

#[tokio::test]
async fn files_in_subfolders_are_read_and_hidden_ones_are_left() {
    let inbox = start("");
    std::fs::create_dir_all(inbox.path("620000000001/aqjk")).unwrap();
    std::fs::write(inbox.path(".620000000001_CDSS_20260923101320.txt"), SAMPLE).unwrap();
    std::fs::write(inbox.path(&format!("620000000001/aqjk/{SAMPLE_NAME}")), SAMPLE).unwrap();
    inbox.wait_file(&format!("done/{SAMPLE_NAME}")).await;
    assert_eq!(
        inbox.files(),
        [".620000000001_CDSS_20260923101320.txt".to_owned(), format!("done/{SAMPLE_NAME}")]
    );
    inbox.stop().await;
}

#[tokio::test]
async fn a_file_is_moved_only_when_it_is_durable() {
    let inbox = start("");
    inbox.fixture.sink.set(Mood::Stall);
    inbox.put(SAMPLE_NAME, SAMPLE);
    inbox.fixture.sink.wait_calls(1).await;
    assert!(inbox.path(SAMPLE_NAME).exists() && inbox.taken().is_empty());
    inbox.fixture.sink.set(Mood::Retry);
    inbox.fixture.sink.wait_calls(3).await;
    assert!(inbox.path(SAMPLE_NAME).exists());
    inbox.fixture.sink.set(Mood::Take);
    inbox.wait_file(&format!("done/{SAMPLE_NAME}")).await;
    assert_eq!(inbox.taken().len(), 1);
    inbox.stop().await;
}

#[tokio::test]
async fn a_file_that_the_log_did_not_take_is_read_again_after_a_restart() {
    let inbox = start("");
    inbox.fixture.sink.set(Mood::Retry);
    inbox.put(SAMPLE_NAME, SAMPLE);
    inbox.fixture.sink.wait_calls(2).await;
    let inbox = inbox.restart().await;
    assert!(inbox.path(SAMPLE_NAME).exists(), "not moved");
    inbox.fixture.sink.set(Mood::Take);
    inbox.wait_file(&format!("done/{SAMPLE_NAME}")).await;
    assert_eq!((inbox.taken().len(), refusals(&inbox.taken())), (1, vec![]));
    inbox.stop().await;
}

#[tokio::test]
async fn a_crash_before_the_move_reads_the_file_again_as_it_was() {
    let inbox = start("");
    inbox.put(SAMPLE_NAME, SAMPLE);
    inbox.wait_file(&format!("done/{SAMPLE_NAME}")).await;
    let (fixture, dir) = inbox.stop().await;
    // As a crash leaves it: durable, not moved, not written down.
    std::fs::rename(dir.path().join("done").join(SAMPLE_NAME), dir.path().join(SAMPLE_NAME)).unwrap();
    std::fs::remove_file(dir.path().join(".firedamp/seen.txt")).unwrap();
    let inbox = start_in(dir, "");
    inbox.wait_file(&format!("done/{SAMPLE_NAME}")).await;
    assert_eq!(
        inbox.taken()[0].readings,
        fixture.sink.taken()[0].readings,
        "the same readings: duplicates further on"
    );
    inbox.stop().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_moved_is_read_once_and_told() {
    let inbox = start("");
    inbox.wait_file("done").await;
    // A file where the folder should be: nobody can move anything into it, root neither.
    std::fs::remove_dir(inbox.path("done")).unwrap();
    std::fs::write(inbox.path("done"), "in the way").unwrap();
    inbox.put(SAMPLE_NAME, SAMPLE);
    inbox.wait_health("1 files were read and cannot be moved").await;
    let scans = inbox.fixture.context.metrics.source("inbox").event("file_done").get();
    std::fs::remove_file(inbox.path("done")).unwrap();
    inbox.wait_file(&format!("done/{SAMPLE_NAME}")).await;
    assert_eq!((inbox.taken().len(), scans), (1, 1));
    inbox.stop().await;
}

#[tokio::test]
async fn an_inbox_that_cannot_be_used_is_told_and_used_when_it_can() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("done"), "in the way").unwrap();
    let inbox = start_in(dir, "");
    inbox.wait_health("xists").await;
    assert!(!inbox.fixture.health().up);
    std::fs::remove_file(inbox.path("done")).unwrap();
    inbox.put(SAMPLE_NAME, SAMPLE);
    inbox.wait_file(&format!("done/{SAMPLE_NAME}")).await;
    inbox.stop().await;
}

#[tokio::test]
async fn many_files_are_under_way_at_a_time_and_all_arrive_in_order() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..200 {
        let time = format!("2026-09-23 10:{:02}:{:02}", n / 60, n % 60);
        let text = SAMPLE.replace("2026-09-23 10:13:19", &time).replace("2026-09-23 10:13:15", &time);
        std::fs::write(
            dir.path().join(format!("620000000001_CDSS_202609231000{n:04}.txt").replace("1000", "10")),
            text,
        )
        .unwrap();
    }
    let inbox = start_in(dir, "");
    inbox.wait_file("done/620000000001_CDSS_20260923100199.txt").await;
    let taken = inbox.taken();
    let times: Vec<_> = taken.iter().map(|d| d.readings.time[0]).collect();
    assert_eq!(times.len(), 200);
    assert!(times.is_sorted());
    inbox.stop().await;
}

#[cfg(unix)]
#[test]
fn old_finished_files_are_removed_and_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["done", "failed", "stale"] {
        std::fs::create_dir(dir.path().join(folder)).unwrap();
        std::fs::write(dir.path().join(folder).join("a.txt"), "x").unwrap();
    }
    let clock = model::SystemClock;
    let now = model::Clock::now(&clock);
    assert_eq!(super::super::inbox::remove_old(dir.path(), now - 3600 * 1_000_000), 0);
    assert_eq!(super::super::inbox::remove_old(dir.path(), now + 3600 * 1_000_000), 2);
    assert!(dir.path().join("failed/a.txt").exists());
}
