//! How fast the SQLite store is, on this machine: a flood in one batch, single alarms one after the other, and pages of a long
//! history, and from a transition to a webhook on loopback at 100 alarms a second. `cargo run -p alerts --example speed -- FILE [ALARMS]`; the file is made anew.

use alerts::notifiers::webhook::WebhookSettings;
use alerts::{
    AlarmFilter, AlarmStore, Dispatcher, Receiver, SqlStore, TransitionBatch, conformance, journal,
};
use model::{Clock, Origin, PointId, Severity, SystemClock, To, Transition, TransitionId};
use prometheus::Registry;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Alarm `n`, at a point of its own of one of 3,400 sites.
fn on(n: u64) -> Transition {
    let (site, point) = (format!("{:012}", n % 3_400), format!("T{n}"));
    let point_id = PointId::of(&site, &point);
    let id = TransitionId::of("ch4", point_id, "alarm", Origin { collector: 1, sequence: n }, 0, 0);
    let severity = Severity::ALL[(n % 4) as usize];
    Transition { id, site, point, point_id, severity, ..conformance::transition(n + 1, "alarm", To::On, 1.1) }
}

fn off(n: u64) -> Transition {
    let id = TransitionId::of("ch4", PointId(n as i64), "alarm", Origin { collector: 2, sequence: n }, 0, 1);
    Transition { id, to: To::Off, ..on(n) }
}

fn receivers(n: usize) -> Vec<Receiver> {
    let settings = WebhookSettings {
        url: "http://127.0.0.1:1/".into(),
        secret: None,
        ca: None,
        timeout: Duration::from_secs(1),
    };
    (0..n).map(|i| Receiver::new(&format!("r{i}"), Arc::new(settings.clone()))).collect()
}

async fn open(file: &str, n: usize) -> SqlStore {
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{file}{end}"));
    }
    SqlStore::open(&format!("sqlite:{file}"), receivers(n), &Registry::new())
        .await
        .expect("the file can be made")
}

fn batch(next: u64, transitions: Vec<Transition>) -> TransitionBatch {
    TransitionBatch { partition: 0, next, transitions, now: next as i64, hold: false }
}

/// CPU seconds of this process so far, for machines that others use too.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> =
        stat.rsplit(") ").next().unwrap_or("").split(' ').filter_map(|f| f.parse().ok()).collect();
    // After the state: utime and stime are the eleventh and twelfth numbers, in hundredths of a second.
    fields.get(10).zip(fields.get(11)).map_or(0.0, |(u, s)| (u + s) / 100.0)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut args = std::env::args().skip(1);
    let file = args.next().expect("usage: speed FILE [ALARMS]");
    let history: u64 = args.next().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    for n in [0, 1, 10] {
        let store = open(&file, n).await;
        let flood = (0..10_000).map(on).collect();
        let (begin, used) = (Instant::now(), cpu());
        store.apply(batch(1, flood)).await.expect("applied");
        let (wall, used) = (begin.elapsed().as_secs_f64(), cpu() - used);
        println!("10,000 alarms in one batch, {n} receivers: {wall:.2} s, CPU {used:.2} s");
    }
    told(&file).await;
    let store = open(&file, 1).await;
    let mut times: Vec<Duration> = Vec::new();
    for k in 0..2_000 {
        let begin = Instant::now();
        store.apply(batch(k + 1, vec![on(k)])).await.expect("applied");
        times.push(begin.elapsed());
    }
    times.sort();
    println!(
        "one alarm a batch, fsync included: p50 {:?}, p99 {:?}, max {:?}",
        times[1_000], times[1_980], times[1_999]
    );
    let begin = Instant::now();
    let mut next = 10_000;
    for from in (2_000..history).step_by(10_000) {
        let range = from..(from + 10_000).min(history);
        next += 1;
        store
            .apply(batch(next, range.clone().map(on).chain(range.map(off)).collect()))
            .await
            .expect("applied");
    }
    println!("history of {history} alarms written in {:.1} s", begin.elapsed().as_secs_f64());
    pages(&store).await;
    let (begin, used) = (Instant::now(), cpu());
    let found =
        journal::verify(&store, &[], |_| ()).await.expect("it can be read").expect("nobody changed it");
    let (wall, used) = (begin.elapsed().as_secs_f64(), cpu() - used);
    println!("journal of {} entries verified: {wall:.2} s, CPU {used:.2} s", found.seq);
    let size = std::fs::metadata(&file).map(|m| m.len()).unwrap_or(0);
    println!("file: {} bytes an alarm", size / history);
}

async fn pages(store: &SqlStore) {
    let all = AlarmFilter { all: true, limit: 100, ..AlarmFilter::default() };
    let middle =
        store.list(&AlarmFilter { limit: 5_000, ..all.clone() }).await.expect("listed").pop().map(|a| a.id);
    for (name, filter) in [
        ("active", AlarmFilter { all: false, ..all.clone() }),
        ("all, first page", all.clone()),
        ("all, page 51", AlarmFilter { after: middle, ..all.clone() }),
        ("one site", AlarmFilter { site: Some(format!("{:012}", 77)), ..all.clone() }),
        ("one severity", AlarmFilter { severity: Some(Severity::Red), ..all.clone() }),
        ("one region without alarms", AlarmFilter { region: Some("62".into()), ..all.clone() }),
        (
            "site and severity",
            AlarmFilter { site: Some(format!("{:012}", 77)), severity: Some(Severity::Blue), ..all },
        ),
    ] {
        let mut times: Vec<Duration> = Vec::new();
        let mut rows = 0;
        for _ in 0..20 {
            let begin = Instant::now();
            rows = store.list(&filter).await.expect("listed").len();
            times.push(begin.elapsed());
        }
        times.sort();
        println!("page of {rows}: {name}: p50 {:?}, max {:?}", times[10], times[19]);
    }
}

/// 500 alarms at 100 a second, from `apply` to the arrival at a server on loopback.
async fn told(file: &str) {
    let arrived: Arc<Mutex<Vec<(String, Instant)>>> = Arc::default();
    let seen = arrived.clone();
    let take = axum::routing::post(move |body: String| {
        let seen = seen.clone();
        async move {
            let now = Instant::now();
            let message: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
            let id = message["alarm"]["id"].as_str().unwrap_or_default().to_owned();
            seen.lock().expect("no holder of this lock panics").push((id, now));
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("it listens"));
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/", take)).await });
    let receivers = vec![Receiver::new(
        "r0",
        Arc::new(WebhookSettings { url, secret: None, ca: None, timeout: Duration::from_secs(5) }),
    )];
    drop(open(file, 0).await);
    let store = SqlStore::open(&format!("sqlite:{file}"), receivers.clone(), &Registry::new())
        .await
        .expect("it opens");
    let (store, stop) = (Arc::new(store), CancellationToken::new());
    let dispatcher = Dispatcher::new(store.clone(), receivers, Arc::new(SystemClock), &Registry::new())
        .expect("it can be set up");
    let running = tokio::spawn(dispatcher.run(stop.clone()));
    let mut every = tokio::time::interval(Duration::from_millis(10));
    let mut began = HashMap::new();
    for n in 0..500 {
        every.tick().await;
        let t = on(n);
        began.insert(t.id.to_string(), Instant::now());
        store
            .apply(TransitionBatch { now: SystemClock.now(), ..batch(n + 1, vec![t]) })
            .await
            .expect("applied");
    }
    while store.counts().await.expect("counted").pending > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    running.await.expect("it ends");
    let arrived = arrived.lock().expect("no holder of this lock panics");
    let mut times: Vec<Duration> =
        arrived.iter().filter_map(|(id, at)| Some(*at - *began.get(id)?)).collect();
    times.sort();
    println!(
        "transition to webhook at 100/s: p50 {:?}, p99 {:?}, max {:?}",
        times[250], times[495], times[499]
    );
}
