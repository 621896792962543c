//! Answers that nobody reads to their end, as with `| head`: exit code 3 without a word, since what was read is not the whole; and a
//! demo that goes on.

use crate::stand::*;
use std::process::{Command, Stdio};
use tests::firedamp::Firedamp;

/// Runs a command whose standard output is closed before it says anything: exit code and standard error.
fn unread(firedamp: &Firedamp, arguments: &[&str]) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(BINARY);
    command.current_dir(firedamp.folder()).args(arguments).env_remove("FIREDAMP_CONFIG");
    let done = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
    (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
}

#[tokio::test]
async fn who_stops_reading_gets_no_word_and_no_success() {
    let config = pushed();
    let mut readings = "site,point,time,value,status\n".to_owned();
    for (n, value) in [0.5, 1.2, 0.5, 1.6].iter().enumerate() {
        readings += &format!("LW,MM31,2026-01-01T00:0{n}:00Z,{value},0\n");
    }
    let files = [
        ("firedamp.toml", &*config),
        ("sites.csv", SITES),
        ("points.csv", POINTS),
        ("rules.toml", RULES),
        ("r.csv", &*readings),
    ];
    let mut firedamp = Firedamp::prepare(BINARY, &files);
    // A line written to a full buffer, and one that a macro prints.
    for more in [&["--format", "jsonl"][..], &[]] {
        let (code, said) = unread(&firedamp, &[&["backtest", "--readings", "r.csv"][..], more].concat());
        assert_eq!(code, Some(3), "{said}");
        assert!(!said.contains("error") && !said.contains("panicked"), "{said}");
    }
    // The report is asked for, whoever reads the lines.
    for more in [&["--format", "jsonl"][..], &[]] {
        let asked = [&["backtest", "--readings", "r.csv", "--report", "report.html"][..], more].concat();
        let (code, said) = unread(&firedamp, &asked);
        assert_eq!(code, Some(3), "{said}");
        let report = std::fs::read_to_string(firedamp.folder().join("report.html")).unwrap();
        assert!(report.contains("MM31"), "{report}");
        std::fs::remove_file(firedamp.folder().join("report.html")).unwrap();
    }
    assert_eq!(unread(&firedamp, &["check", "--reference"]), (Some(3), String::new()));
    assert_eq!(unread(&firedamp, &["rules", "show", "MM31"]), (Some(3), String::new()));
    firedamp.start().await;
    for format in ["table", "csv", "arrow"] {
        let asked = ["query", "SELECT 1 AS one", "--format", format];
        assert_eq!(unread(&firedamp, &asked), (Some(3), String::new()), "{format}");
    }
    firedamp.stop();
}

#[test]
fn a_demo_goes_on_when_nobody_reads_and_ends_clean() {
    let firedamp = Firedamp::prepare(BINARY, &[]);
    let listen = format!("127.0.0.1:{}", tests::free_port());
    let (code, said) = unread(&firedamp, &["demo", "--for", "15s", "--listen", &listen]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("demo: stopped clean") && !said.contains("panicked"), "{said}");
}
