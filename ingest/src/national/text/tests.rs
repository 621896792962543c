//! The outer shape: every rule of the table is a case.

use super::*;
use proptest::prelude::*;

const HEADER: &str = "620000000001;测试煤矿;2026-09-23 10:13:19";

fn parsed(bytes: &[u8]) -> Result<(String, Vec<String>), String> {
    let text = open(bytes).map_err(|e| format!("{}: {e}", e.reason))?;
    Ok((text.header.mine.to_owned(), text.records().map(|r| r.text.to_owned()).collect()))
}

/// The records of a text, joined by `|`.
fn check(text: &str, expected: &str) {
    let (mine, records) = parsed(text.as_bytes()).unwrap_or_else(|e| panic!("{text:?}: {e}"));
    assert_eq!((mine.as_str(), records.join("|").as_str()), ("620000000001", expected), "of {text:?}");
}

fn refused(bytes: &[u8], expected: &str) {
    let error = parsed(bytes).expect_err("it is refused");
    assert!(error.contains(expected), "{error}");
}

#[test]
fn records_and_what_is_cut_around_them() {
    check(&format!("{HEADER}~||"), "");
    check(&format!("{HEADER}||"), "");
    check(&format!("{HEADER}~a;b~c;d~||"), "a;b|c;d");
    check(&format!("{HEADER}~a;b~c;d||"), "a;b|c;d");
    check(&format!("{HEADER}~\r\na;b~\r\n c;d ~\n||\r\n \t"), "a;b|c;d");
    check(&format!("\u{feff}{HEADER}~a~||"), "a");
    check(&format!("\"{HEADER}~a~||\"\n"), "a");
    check(&format!("{HEADER}~a~~b~||"), "a||b");
    check(&format!(" {} ~a~||", HEADER.replace(';', " ; ")), "a");
}

#[test]
fn a_file_is_complete_only_with_its_two_pipes() {
    for (text, complete) in [
        ("a~||", true),
        ("a~||\r\n\t ", true),
        ("a~||\"", true),
        ("a~|| \" \n", true),
        ("a~|", false),
        ("a~", false),
        ("||~a", false),
        ("", false),
        (" \n", false),
    ] {
        assert_eq!(is_complete(text.as_bytes()), complete, "{text:?}");
        if !complete {
            assert!(open(text.as_bytes()).is_err());
        }
    }
    assert!(!is_complete(&"a~测".as_bytes()[..4]), "cut inside a character");
}

#[test]
fn what_refuses_a_whole_file() {
    let gbk = [b"620000000001;".as_slice(), &[0xb2, 0xe2, 0xca, 0xd4], b";2026-09-23 10:13:19~||"].concat();
    refused(&gbk, "encoding: not UTF-8 at byte 13: it looks like GBK");
    refused(b"620000000001;\xff;2026-09-23 10:13:19~||", "of no known encoding");
    refused(format!("\"{HEADER}~||").as_bytes(), "quotes: a quote at one end");
    refused(format!("{HEADER}~a~||{HEADER}~b~||").as_bytes(), "end: two pipes stand inside");
    refused(
        "620000000001；测试煤矿;2026-09-23 10:13:19~||".as_bytes(),
        "header: the header holds a full-width",
    );
    refused("620000000001;测试煤矿~||".as_bytes(), "header: the header has 2 parts");
    refused(
        "620000000001;测试煤矿;23.09.2026~||".as_bytes(),
        "header: upload time of the header: time `23.09.2026`",
    );
    refused("620000000001;测试煤矿;2026-9-23 10:13:19~||".as_bytes(), "header: upload time");
    refused(b"||", "header");
    refused(b"\"", "quotes");
}

#[test]
fn names() {
    let good = Name { mine: "620000000001", kind: "CDSS", stamp: "20260923101319" };
    assert_eq!(name("620000000001_CDSS_20260923101319.txt"), Some(good));
    assert_eq!(name("150622B0012000000001_RYSS_20260923101319.TXT").unwrap().mine, "150622B0012000000001");
    for bad in [
        "620000000001_CDSS_20260923101319.tmp",
        "620000000001_CDSS_20260923101319",
        "62000000001_CDSS_20260923101319.txt",
        "62000000000B_CDSS_20260923101319.txt",
        "620000000001_cdss_20260923101319.txt",
        "620000000001__20260923101319.txt",
        "620000000001_CDSS_2026092310131.txt",
        "620000000001_CDSS_20260923101319_1.txt",
        "../../../etc/passwd.txt",
        "测试_CDSS_20260923101319.txt",
    ] {
        assert_eq!(name(bad), None, "{bad}");
    }
}

#[test]
fn fields_are_counted_and_a_full_width_semicolon_is_named_where_it_stands() {
    assert_eq!(fields::<3>("a; b ;"), Ok(["a", "b", ""]));
    assert_eq!(fields::<3>("a;b").unwrap_err().message, "2 fields, expected 3");
    assert_eq!(fields::<1>("a;b;c").unwrap_err().reason, "fields");
    let error = fields::<2>("瓦斯；b;c").unwrap_err();
    assert_eq!((error.reason, error.at), ("full_width", 6));
}

#[test]
fn records_know_where_they_stand() {
    let text = format!("{HEADER}~\r\n a;b~c||");
    let opened = open(text.as_bytes()).unwrap();
    for record in opened.records() {
        assert!(text[record.at..].starts_with(record.text));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_file_or_an_error_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        is_complete(&bytes);
        if let Ok(text) = open(&bytes) {
            text.records().for_each(|r| { let _ = fields::<7>(r.text); });
        }
    }

    #[test]
    fn any_text_in_the_shape_of_a_file_is_read(body in "[a-z0-9;~|\"；测 \r\n-]{0,120}", end in "(\\|\\|)?[ \r\n\"]{0,3}") {
        let bytes = format!("{HEADER}~{body}{end}");
        if let Ok(text) = open(bytes.as_bytes()) {
            prop_assert!(is_complete(bytes.as_bytes()));
            for record in text.records() {
                prop_assert!(bytes[record.at..].starts_with(record.text));
                let _ = fields::<15>(record.text);
            }
        }
    }
}
