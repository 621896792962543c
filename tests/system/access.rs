//! What a token of one county sees of the alarms of another and can do with them: nothing. And what the journal keeps of who signed on and
//! of what came into force.

use crate::stand::*;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;
use tests::firedamp::Firedamp;
use tests::wait_for_async;

const WAIT: Duration = Duration::from_secs(30);

const TOKENS: &str = r#"
[[server.token]]
name = "centre"
role = "admin"
secret = { env = "CENTRE" }

[[server.token]]
name = "east"
role = "operator"
secret = { env = "EAST" }
regions = ["14"]

[[server.token]]
name = "west"
role = "operator"
secret = { env = "WEST" }
regions = ["15"]

"#;
/// The longwall is in the east.
const WEST: (&str, &str) = ("WW,Westwall,mine,150100\n", "WW,W1,entry,ch4,%,0,30,T1,30s\n");

/// firedamp with these tokens, each with its name as its secret, and further lines of its configuration.
fn stand(more: &str, files: &[(&str, &str)]) -> Firedamp {
    let config = format!("{TOKENS}{}{more}", pushed());
    let (sites, points) = (SITES.to_owned() + WEST.0, POINTS.to_owned() + WEST.1);
    let own = [
        ("firedamp.toml", &*config),
        ("sites.csv", &*sites),
        ("points.csv", &*points),
        ("rules.toml", RULES),
    ];
    let mut firedamp = Firedamp::prepare(BINARY, &[&own, files].concat());
    for (name, secret) in [("CENTRE", "centre"), ("EAST", "east"), ("WEST", "west")] {
        firedamp.set(name, secret);
    }
    firedamp
}

/// What the API answers to a token: with a body it is posted.
async fn ask(firedamp: &Firedamp, token: &str, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
    let url = firedamp.url(&format!("/api/v1/{path}"));
    let client = Client::new();
    let request = body.map_or_else(|| client.get(&url), |body| client.post(&url).json(body));
    let answer = request.bearer_auth(token).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or_default())
}

async fn seen(firedamp: &Firedamp, token: &str, path: &str) -> Value {
    let (status, answer) = ask(firedamp, token, path, None).await;
    assert_eq!(status, StatusCode::OK, "{path} as {token}: {answer}");
    answer
}

fn ids(alarms: &Value) -> Vec<&str> {
    alarms.as_array().unwrap().iter().map(|alarm| alarm["id"].as_str().unwrap()).collect()
}

/// What became of each alarm, in the order of the answer.
async fn acted(firedamp: &Firedamp, token: &str, action: &str, ids: &[&str]) -> Vec<String> {
    let body = json!({ "ids": ids, "note": "why", "for": "30min", "way": "phone", "called": "Li", "cause": "c", "measure": "m" });
    let (status, answer) = ask(firedamp, token, action, Some(&body)).await;
    assert_eq!(status, StatusCode::OK, "{action} as {token}: {answer}");
    let results = answer["results"].as_array().unwrap();
    results.iter().map(|result| result["outcome"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_operator_of_one_county_neither_sees_another_s_alarm_nor_acts_on_it() {
    let mut firedamp = stand("", &[]);
    firedamp.start().await;
    let time = model::time::rfc3339(model::Clock::now(&model::SystemClock));
    let over = |site, point| json!({ "site": site, "point": point, "time": time, "value": 1.2, "status": 0 });
    let rows = json!([over("LW", "MM116"), over("WW", "W1")]);
    assert_eq!(ask(&firedamp, "centre", "readings", Some(&rows)).await.0, StatusCode::OK);
    let all = wait_for_async("both alarms", WAIT, || async {
        let all = seen(&firedamp, "centre", "alarms").await;
        (all.as_array()?.len() == 2).then_some(all)
    })
    .await;
    let of = |site: &str| all.as_array().unwrap().iter().find(|a| a["site"] == site).unwrap().clone();
    let (own, other) = (of("WW"), of("LW"));
    let (own, other) = (own["id"].as_str().unwrap(), other["id"].as_str().unwrap());
    for (token, own, other) in [("west", own, other), ("east", other, own)] {
        assert_eq!(ids(&seen(&firedamp, token, "alarms?all=true").await), [own]);
        assert_eq!(seen(&firedamp, token, &format!("alarms/{own}")).await["id"], own);
        assert!(
            !seen(&firedamp, token, &format!("alarms/{own}/history")).await.as_array().unwrap().is_empty()
        );
        // Nor by the first digits, which would say that there is one.
        for id in [other, &other[..10]] {
            for path in [format!("alarms/{id}"), format!("alarms/{id}/history")] {
                let (status, answer) = ask(&firedamp, token, &path, None).await;
                assert_eq!(status, StatusCode::NOT_FOUND, "{path} as {token}: {answer}");
            }
        }
    }

    assert_eq!(acted(&firedamp, "east", "alarms/shelve", &[other]).await, ["shelved"]);
    let shelved = seen(&firedamp, "centre", "shelved").await;
    assert_eq!((shelved.as_array().unwrap().len(), &shelved[0]["site"]), (1, &json!("LW")));
    assert_eq!(seen(&firedamp, "east", "shelved").await, shelved);
    assert_eq!(seen(&firedamp, "west", "shelved").await, json!([]));

    let history = format!("alarms/{other}/history");
    let before = seen(&firedamp, "centre", &history).await;
    let described = seen(&firedamp, "west", "openapi.json").await;
    let paths = described["paths"].as_object().unwrap();
    let actions: Vec<&str> = paths
        .iter()
        .filter(|(path, item)| path.starts_with("/api/v1/alarms/") && item.get("post").is_some())
        .map(|(path, _)| path.trim_start_matches("/api/v1/"))
        .collect();
    assert!(actions.len() >= 9, "{actions:?}");
    for action in &actions {
        assert_eq!(acted(&firedamp, "west", action, &[other]).await, ["gone"], "{action}");
    }
    assert_eq!(seen(&firedamp, "centre", &history).await, before, "nothing happened to it");
    assert_eq!(seen(&firedamp, "centre", "shelved").await, shelved);
    // One that is another's does not keep back what may be done with the own.
    assert_eq!(acted(&firedamp, "west", "alarms/ack", &[other, own]).await, ["acked", "gone"]);
    firedamp.stop();
}

const ROUTES: &str = "to = \"county\"\n\n[[roster]]\nname = \"duty\"\nfile = \"duty.csv\"\nfallback = \"county\"\n\n\
                      [[route]]\nname = \"east\"\nregion = \"14\"\nto = \"duty\"\n";
const DUTY: &str = "from,to,person,receiver\n2020-01-01 00:00,2090-01-01 00:00,Wang,county\n";
const RECEIVER: &str = "[alerts]\nroutes = \"routes.toml\"\n\n[[receiver]]\nname = \"county\"\nkind = \"webhook\"\n\
                        url = \"http://127.0.0.1:9/\"\n";

/// What the journal has of an event, in its order: by whom, and with what.
fn journal(firedamp: &Firedamp, event: &str) -> Vec<(String, Value)> {
    let program = "import sqlite3,sys,json; d = sqlite3.connect('data/alarms.db'); \
                   print(json.dumps(d.execute('SELECT by, detail FROM journal WHERE event = ? ORDER BY seq', sys.argv[1:]).fetchall()))";
    let mut python = Command::new("python3");
    let said = python.current_dir(firedamp.folder()).args(["-c", program, event]).output().unwrap();
    let rows: Vec<(String, String)> = serde_json::from_slice(&said.stdout).unwrap();
    rows.into_iter().map(|(by, detail)| (by, serde_json::from_str(&detail).unwrap_or_default())).collect()
}

/// The hashes of what lies in the folder.
fn hashes(firedamp: &Firedamp) -> Value {
    let read = |name: &str| std::fs::read_to_string(firedamp.folder().join(name)).unwrap();
    let blake3 = |text: String| blake3::hash(text.as_bytes()).to_hex().to_string();
    let version = crate::once::version(&read("sites.csv"), &read("points.csv"), &read("rules.toml"), 2);
    let catalog = (0..2).map(|p| version.of_partition(p).catalog_text.to_string()).collect();
    let rules = json!([[firedamp.folder().join("rules.toml"), read("rules.toml")]]).to_string();
    json!({ "config": blake3(read("firedamp.toml")), "rules": blake3(rules), "catalog": blake3(catalog),
            "routes": blake3(read("routes.toml") + &read("duty.csv")) })
}

#[tokio::test]
async fn the_journal_says_who_signed_on_and_by_which_texts_what_came_into_force() {
    let mut firedamp = stand(RECEIVER, &[("routes.toml", ROUTES), ("duty.csv", DUTY)]);
    let mut in_force = vec![hashes(&firedamp)];
    firedamp.start().await;
    // One that changes a text and is told to read it; nothing is kept of one that finds all as it was.
    let reload = async |file: &str, text: &str| {
        let path = firedamp.folder().join(file);
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + text).unwrap();
        let (status, answer) = ask(&firedamp, "centre", "reload", Some(&json!({}))).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        hashes(&firedamp)
    };
    in_force.push(reload("rules.toml", "\n# looked at\n").await);
    reload("rules.toml", "").await;
    in_force.push(reload("points.csv", "WW,W2,return,ch4,%,0,30,T1,30s\n").await);
    in_force.push(reload("duty.csv", "2090-01-01 00:00,2091-01-01 00:00,Li,county\n").await);
    for (token, status) in [("nobody's", 401), ("west", 200)] {
        let (answered, _) = ask(&firedamp, "", "session", Some(&json!({ "token": token }))).await;
        assert_eq!(answered.as_u16(), status, "{token}");
    }
    wait_for_async("the last reload in the journal", WAIT, || async {
        (journal(&firedamp, "reloaded").len() >= 3).then_some(())
    })
    .await;
    let changed = |key: &str| in_force.windows(2).map(|two| two[0][key] != two[1][key]).collect::<Vec<_>>();
    assert_eq!(changed("rules"), [true, false, false]);
    assert_eq!(changed("catalog"), [false, true, false]);
    assert_eq!(changed("routes"), [false, false, true]);
    let by_firedamp = |hashes: &Value| ("firedamp".to_owned(), hashes.clone());
    assert_eq!(journal(&firedamp, "started"), [by_firedamp(&in_force[0])]);
    let reloaded: Vec<_> = in_force[1..].iter().map(by_firedamp).collect();
    assert_eq!(journal(&firedamp, "reloaded"), reloaded);
    assert_eq!(journal(&firedamp, "signed_on"), [("west".to_owned(), Value::Null)]);
    firedamp.stop();
    // The next start says what is in force then.
    firedamp.start().await;
    wait_for_async("the second start in the journal", WAIT, || async {
        (journal(&firedamp, "started").get(1)? == &by_firedamp(&in_force[3])).then_some(())
    })
    .await;
    firedamp.stop();
}
