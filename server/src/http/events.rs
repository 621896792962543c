//! The stream of events, one a tab: `hello` (stream id, newest seq), `alarm` (id = seq, full row), `count`, `site`, `value`,
//! `people`, and `beat` every 2 s with the server's time.
//!
//! `Last-Event-ID` replays the alarms after it; one that is too old, or of another database, gets `reset` and the page
//! asks for the list again. Values are sent for the watched points only, the newest of each, at most 4 frames a second;
//! alarms are never coalesced.

use super::{App, Failure, State, Who};
use ::alerts::{AlarmEvent, AlarmFilter};
use ahash::AHashMap;
use axum::extract::{Path, Query, State as Extract};
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use axum::{Extension, Json};
use model::time::rfc3339;
use model::{AlarmState, Condition, Micros, PointId, Severity};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

/// How often the alarm store is asked for new events; a stream adds at most one frame to it.
const LOOK: Duration = Duration::from_millis(100);
const FRAME: Duration = Duration::from_millis(250);
const BEAT_FRAMES: u32 = 8;
/// Events a slow tab may be behind before it gets `reset`.
const BEHIND_MAX: usize = 4096;
/// Events replayed after a reconnect.
const REPLAY_MAX: usize = 10_000;
/// Points one stream may watch: what is on a screen.
const WATCH_MAX: usize = 2_000;
const TOPICS: [&str; 5] = ["alarm", "count", "site", "value", "people"];

type Watched = Arc<Mutex<Vec<(String, String, PointId)>>>;

/// Hands new alarm events to all streams, and knows what each stream watches.
#[derive(Clone)]
pub struct Hub {
    events: broadcast::Sender<Arc<AlarmEvent>>,
    streams: Arc<Mutex<AHashMap<String, Watched>>>,
    stop: CancellationToken,
}

impl Hub {
    /// Starts following the alarm store.
    pub fn start(state: &State, stop: CancellationToken) -> Self {
        let (events, _) = broadcast::channel(BEHIND_MAX);
        tokio::spawn(follow(state.clone(), events.clone(), stop.clone()));
        Self { events, streams: Arc::default(), stop }
    }
}

async fn follow(state: State, events: broadcast::Sender<Arc<AlarmEvent>>, stop: CancellationToken) {
    let mut seq = None;
    loop {
        tokio::select! {
            _ = stop.cancelled() => return,
            _ = tokio::time::sleep(LOOK) => {}
        }
        let after = match seq {
            Some(seq) => seq,
            None => match state.alarms.head().await {
                Ok(newest) => *seq.insert(newest.seq),
                Err(_) => continue,
            },
        };
        match state.alarms.events_after(after, BEHIND_MAX).await {
            Ok(new) => {
                for event in new {
                    seq = Some(event.seq);
                    // No stream open is no error.
                    let _ = events.send(Arc::new(event));
                }
            }
            Err(e) => tracing::warn!("alarm events cannot be read: {e}"),
        }
    }
}

/// Query of a stream.
#[derive(Deserialize)]
pub struct StreamQuery {
    topics: Option<String>,
}

/// `GET /api/v1/stream`.
pub async fn stream(
    Extract(app): Extract<App>,
    Extension(who): Extension<Who>,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl futures::Stream<Item = Result<Event, Infallible>>>, Failure> {
    let topics: Vec<String> = match &query.topics {
        None => TOPICS.iter().map(|t| (*t).to_owned()).collect(),
        Some(list) => list.split(',').map(str::to_owned).collect(),
    };
    if let Some(wrong) = topics.iter().find(|t| !TOPICS.contains(&t.as_str())) {
        return Err(Failure::bad(format!("topic `{wrong}` is not one of {}", TOPICS.join(", "))));
    }
    let last = headers.get("last-event-id").and_then(|h| h.to_str().ok()).and_then(|h| h.parse().ok());
    let (sender, receiver) = mpsc::channel(256);
    let sid = hex::encode(rand::random::<[u8; 8]>());
    let watched = Watched::default();
    app.hub.streams.lock().expect("no holder of this lock panics").insert(sid.clone(), watched.clone());
    let feed = Feed {
        who,
        topics,
        sender,
        watched,
        sent: AHashMap::new(),
        counts: Value::Null,
        people: Value::Null,
    };
    tokio::spawn(async move {
        let hub = app.hub.clone();
        tokio::select! {
            _ = hub.stop.cancelled() => {}
            _ = feed.run(app, &sid, last) => {}
        }
        hub.streams.lock().expect("no holder of this lock panics").remove(&sid);
    });
    Ok(Sse::new(tokio_stream::wrappers::ReceiverStream::new(receiver)))
}

/// Body of a watch.
#[derive(Deserialize)]
pub struct Watch {
    /// `[[site, point], ..]`.
    points: Vec<(String, String)>,
}

/// `POST /api/v1/stream/{sid}/watch`.
pub async fn watch(
    Extract(app): Extract<App>,
    Extension(who): Extension<Who>,
    Path(sid): Path<String>,
    Json(body): Json<Watch>,
) -> Result<Json<Value>, Failure> {
    if body.points.len() > WATCH_MAX {
        return Err(Failure::bad(format!("{} points, at most {WATCH_MAX} are watched", body.points.len())));
    }
    let watched = app.hub.streams.lock().expect("no holder of this lock panics").get(&sid).cloned();
    let watched = watched.ok_or_else(|| Failure::missing(format!("there is no stream `{sid}`")))?;
    let catalog = app.sources.context().catalog();
    let points = body.points.into_iter().filter(|(site, _)| who.sees_code(&catalog, site)).filter_map(
        |(site, point)| {
            let ix = catalog.find(&site, &point)?;
            Some((site, point, catalog.ids()[ix as usize]))
        },
    );
    let points: Vec<_> = points.collect();
    let known: Vec<_> = points.iter().map(|(site, point, _)| (site.clone(), point.clone())).collect();
    *watched.lock().expect("no holder of this lock panics") = points;
    Ok(Json(json!({ "watched": known })))
}

/// One stream.
struct Feed {
    who: Who,
    topics: Vec<String>,
    sender: mpsc::Sender<Result<Event, Infallible>>,
    watched: Watched,
    sent: AHashMap<PointId, Micros>,
    counts: Value,
    people: Value,
}

/// The tab is gone.
struct Gone;

impl Feed {
    async fn run(mut self, app: App, sid: &str, last: Option<i64>) {
        let mut events = app.hub.events.subscribe();
        let _ = self.follow(&app, sid, last, &mut events).await;
    }

    async fn follow(
        &mut self,
        app: &App,
        sid: &str,
        last: Option<i64>,
        events: &mut broadcast::Receiver<Arc<AlarmEvent>>,
    ) -> Result<(), Gone> {
        let newest = app.alarms.head().await.map_or(0, |head| head.seq);
        self.send("hello", json!({ "sid": sid, "seq": newest, "now": rfc3339(app.clock.now()) })).await?;
        let mut seq = last.unwrap_or(newest);
        if last.is_some() {
            self.replay(app, &mut seq, newest).await?;
        }
        let mut frames = tokio::time::interval(FRAME);
        let mut frame = 0u32;
        loop {
            tokio::select! {
                biased; // an alarm goes out before values
                event = events.recv() => match event {
                    Ok(event) => self.alarm(app, &event, &mut seq).await?,
                    Err(broadcast::error::RecvError::Lagged(_)) => self.send("reset", json!({})).await?,
                    Err(broadcast::error::RecvError::Closed) => return Ok(()),
                },
                _ = frames.tick() => {
                    self.values(app).await?;
                    if frame.is_multiple_of(4) {
                        self.slow(app).await?;
                    }
                    if frame.is_multiple_of(BEAT_FRAMES) {
                        self.send("beat", json!({ "now": rfc3339(app.clock.now()) })).await?;
                    }
                    frame = frame.wrapping_add(1);
                }
            }
        }
    }

    async fn replay(&mut self, app: &App, seq: &mut i64, newest: i64) -> Result<(), Gone> {
        let missed = app.alarms.events_after(*seq, REPLAY_MAX + 1).await.unwrap_or_default();
        if *seq > newest || missed.len() > REPLAY_MAX {
            *seq = newest;
            return self.send("reset", json!({})).await;
        }
        for event in missed {
            self.alarm(app, &event, seq).await?;
        }
        Ok(())
    }

    fn wants(&self, topic: &str) -> bool {
        self.topics.iter().any(|t| t == topic)
    }

    async fn send(&self, name: &str, data: Value) -> Result<(), Gone> {
        self.sender.send(Ok(Event::default().event(name).data(data.to_string()))).await.map_err(|_| Gone)
    }

    async fn alarm(&self, app: &App, event: &AlarmEvent, seq: &mut i64) -> Result<(), Gone> {
        if event.seq <= *seq {
            return Ok(());
        }
        *seq = event.seq;
        if !self.wants("alarm") || !self.who.sees_code(&app.sources.context().catalog(), &event.alarm.site) {
            return Ok(());
        }
        let data = json!({ "seq": event.seq, "event": event.event, "alarm": event.alarm }).to_string();
        let frame = Event::default().event("alarm").id(event.seq.to_string()).data(data);
        self.sender.send(Ok(frame)).await.map_err(|_| Gone)
    }

    /// One frame of columns with the watched points that have something newer.
    async fn values(&mut self, app: &App) -> Result<(), Gone> {
        if !self.wants("value") {
            return Ok(());
        }
        let watched = self.watched.lock().expect("no holder of this lock panics").clone();
        let now = app.clock.now();
        let (mut i, mut v, mut q, mut age) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (at, (_, _, id)) in watched.iter().enumerate() {
            let Some(last) = app.live.last(*id) else { continue };
            if self.sent.insert(*id, last.received) == Some(last.received) {
                continue;
            }
            i.push(at);
            v.push(last.value.is_finite().then_some(last.value));
            q.push(last.status);
            age.push((now - last.received) / 1000);
        }
        if i.is_empty() {
            return Ok(());
        }
        self.send("value", json!({ "t": rfc3339(now), "i": i, "v": v, "q": q, "age": age })).await
    }

    /// Counts, sites and people, when they have changed; once a second.
    async fn slow(&mut self, app: &App) -> Result<(), Gone> {
        let catalog = app.sources.context().catalog();
        let filter = AlarmFilter { limit: usize::MAX, ..AlarmFilter::default() };
        let alarms = app.alarms.list(&filter).await.unwrap_or_default();
        let mut levels: BTreeMap<&str, [u64; 2]> = Severity::WORDS.into_iter().map(|w| (w, [0, 0])).collect();
        let mut sites: BTreeMap<&str, u64> = BTreeMap::new();
        for alarm in
            alarms.iter().filter(|a| a.state == AlarmState::Active && self.who.sees_code(&catalog, &a.site))
        {
            let level = levels.entry(alarm.severity.as_str()).or_default();
            level[0] += 1;
            level[1] += u64::from(alarm.condition() == Condition::Unacknowledged);
            *sites.entry(&alarm.site).or_default() += 1;
        }
        let counts = json!({ "levels": levels, "sites": sites });
        if counts != self.counts {
            self.counts = counts.clone();
            if self.wants("count") {
                self.send("count", json!({ "levels": counts["levels"] })).await?;
            }
            if self.wants("site") {
                self.send("site", json!({ "alarms": counts["sites"] })).await?;
            }
        }
        let people = app.live.people(crate::people::People::counts);
        let people: Vec<_> = people.into_iter().filter(|c| self.who.sees_code(&catalog, &c.site)).collect();
        let people = json!(people);
        if people != self.people && self.wants("people") {
            self.people = people.clone();
            self.send("people", people).await?;
        }
        Ok(())
    }
}
