//! A full disk: nothing more is acknowledged, the operator sees why, queries and alarms still answer; when space is freed everything
//! goes on by itself, and what was held back is there once.

use super::stand::*;
use super::told::Told;
use std::io::Write;
use std::path::PathBuf;
use tests::tmpfs::Tmpfs;

const MIB: usize = 1 << 20;

/// Another's file that takes the room.
struct Ballast(PathBuf);

impl Ballast {
    /// Takes a MiB more; false when there is none left.
    fn grow(&self, bytes: usize) -> bool {
        let file = std::fs::File::options().create(true).append(true).open(&self.0);
        file.and_then(|mut f| f.write_all(&vec![1; bytes]).and_then(|()| f.flush())).is_ok()
    }

    fn free(&self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

async fn held_back(stand: &Stand) -> i64 {
    Told::metrics(&stand.firedamp).await.get("firedamp_edge_held_back_total")
}

/// Waits until the push neighbour was sent away so many times more.
async fn refused(stand: &Stand, times: i64) {
    let before = stand.pushed_again();
    tests::wait_for_async("pushes are answered with 503", PATIENCE, || async {
        (stand.pushed_again() >= before + times).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_holds_everything_back_and_loses_nothing() {
    let Some(disk) = Tmpfs::mount(128) else { return };
    let head = format!(
        "[data]\ndir = \"{}\"\n[log]\npartitions = 2\ndisk_reserve = \"24MiB\"\n[storage]\nflush = \"500ms\"\n",
        disk.path().join("data").display()
    );
    let mut stand = Stand::start(&head, |_| String::new()).await;
    let ballast = Ballast(disk.path().join("ballast"));
    for _ in 0..2 {
        // Another fills the disk up to the reserve: alarms and queries still have room.
        let before = held_back(&stand).await;
        while held_back(&stand).await == before {
            assert!(ballast.grow(MIB), "the log takes readings although the disk is full");
        }
        refused(&stand, 3).await;
        let alarm = stand.alarmed("log-full", "log").await;
        assert_eq!(alarm["severity"], "orange", "{alarm}");
        let source = stand.says("calm", "log.disk_reserve").await;
        assert_eq!(source["up"], true, "the link is held, not lost: {source}");
        assert_eq!(stand.firedamp.get("/api/v1/sites").await.unwrap().as_array().unwrap().len(), 3);
        assert!(stand.firedamp.number("SELECT count(*) FROM readings").await.unwrap() > 0, "queries go on");
        // And then to the last byte.
        while ballast.grow(MIB) || ballast.grow(4096) {}
        // Whether there was room for this or not, the alarms must work afterwards.
        let ids = serde_json::json!({ "ids": [alarm["id"]] }).to_string();
        let _ = stand.firedamp.post("/api/v1/alarms/ack", "application/json", ids).await;
        refused(&stand, 3).await;
        ballast.free();
        stand.pass("after a full disk").await;
        stand.ended("log-full", "log").await;
        assert_eq!(stand.source("calm").await["message"], "");
    }
    let balance = stand.settle().await;
    for (name, b) in &balance {
        assert_eq!((b.refused, b.quarantined), (0, 0), "{name}: {b:?}");
    }
    let log = stand.firedamp.stop();
    assert!(log.contains("the log does not take readings") && log.contains("the log takes readings again"));
}
