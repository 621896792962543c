//! People below ground over a restart: who was below is not forgotten, and a complete snapshot corrects it.

use crate::stand::{BINARY, FILES, POINTS, RULES};
use model::Clock;
use serde_json::Value;
use std::time::Duration;
use tests::firedamp::Firedamp;

const MINE: &str = "620000000001";
/// An inbox folder; the table is committed often.
const CONFIG: &str = "[storage]\nflush = \"200ms\"\n\n[[source]]\nname = \"files\"\nkind = \"national\"\ndir = \"inbox\"\nevery = \"50ms\"\n";

/// Drops a complete snapshot of the cards below, `ago` seconds old.
fn drop_snapshot(firedamp: &Firedamp, ago: i64, cards: &[u32]) {
    let local = model::time::rfc3339(model::SystemClock.now() + (8 * 3600 - ago) * model::time::SECOND);
    let time = local[..19].replace('T', " ");
    let stamp: String = time.chars().filter(char::is_ascii_digit).collect();
    let row = |card: &u32| {
        format!(
            "{MINE}{card:05};n{card};1;{time};xxxx-xx-xx xx:xx:xx;{MINE}0001;{time};{MINE}0001000001;{time};三八制;1.00;正常;0;0;~"
        )
    };
    let text = format!("{MINE};mine;{time}~{}||", cards.iter().map(row).collect::<String>());
    let inbox = firedamp.folder().join("inbox");
    let hidden = inbox.join(".new");
    std::fs::write(&hidden, text).unwrap();
    std::fs::rename(hidden, inbox.join(format!("{MINE}_RYSS_{stamp}.txt"))).unwrap();
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
