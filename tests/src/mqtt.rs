//! A subscriber to an MQTT broker, by MQTT 5: keeps every message that comes below one topic. The broker knows it again, so it misses
//! nothing while the broker is away, or it is.

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, Publish};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How long the broker may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// No session is shared by two.
static STARTED: AtomicUsize = AtomicUsize::new(0);

/// One message as it came.
#[derive(Clone, Debug)]
pub struct Got {
    /// Its topic.
    pub topic: String,
    /// The user property `idempotency-key`.
    pub key: Option<String>,
    /// What it says.
    pub payload: Vec<u8>,
}

impl Got {
    fn of(message: Publish) -> Self {
        let properties = message.properties.unwrap_or_default().user_properties;
        let key = properties.into_iter().find(|(name, _)| name == "idempotency-key").map(|(_, value)| value);
        let topic = String::from_utf8(message.topic.to_vec()).expect("topics are UTF-8");
        Self { topic, key, payload: message.payload.to_vec() }
    }
}

#[derive(Default)]
struct Seen {
    got: Mutex<Vec<Got>>,
    connects: AtomicUsize,
    subscribed: Notify,
}

/// A subscriber; dropped, it is away, and its session stays.
pub struct Subscriber {
    client: AsyncClient,
    marker: String,
    markers: AtomicUsize,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

impl Subscriber {
    /// Subscribes to all topics below one and waits until the broker says so.
    pub async fn start(port: u16, below: &str) -> Self {
        let id = format!("subscriber-{}", STARTED.fetch_add(1, Ordering::Relaxed));
        let marker = format!("{below}/{id}");
        let mut options = MqttOptions::new(id, "127.0.0.1", port);
        options.set_clean_start(false).set_session_expiry_interval(Some(3600));
        options.set_max_packet_size(Some(1 << 20));
        let (client, events) = AsyncClient::new(options, 10);
        let filter = Filter::new(format!("{below}/#"), QoS::AtLeastOnce);
        client.subscribe_many([filter]).await.expect("the event loop is there");
        let seen = Arc::new(Seen::default());
        let task = tokio::spawn(keep(events, seen.clone()));
        tokio::time::timeout(PATIENCE, seen.subscribed.notified())
            .await
            .expect("the broker lets it subscribe");
        Self { client, marker, markers: AtomicUsize::new(0), seen, task }
    }

    /// All that the broker took until now and nobody asked for yet, in its order. A message of the subscriber's own shows where that ends, so
    /// what is not among them did not come.
    pub async fn take(&self) -> Vec<Got> {
        let number = self.markers.fetch_add(1, Ordering::Relaxed).to_string();
        let published = self.client.publish(&self.marker, QoS::AtLeastOnce, false, number.clone());
        published.await.expect("the event loop is there");
        let (seen, marker) = (self.seen.clone(), self.marker.clone());
        let taken = move || {
            let mut got = seen.got.lock().expect("no holder of this lock panics");
            let end = got.iter().position(|got| got.topic == marker && got.payload == number.as_bytes())?;
            let mut taken: Vec<Got> = got.drain(..=end).collect();
            taken.retain(|got| got.topic != marker);
            Some(taken)
        };
        crate::wait_for_async("the broker sends it all", PATIENCE, move || ready(taken())).await
    }

    /// So often the broker accepted it.
    pub fn connects(&self) -> usize {
        self.seen.connects.load(Ordering::Relaxed)
    }

    /// Waits until the broker accepted it once more than so often.
    pub async fn is_back(&self, before: usize) {
        let seen = self.seen.clone();
        let back = move || (seen.connects.load(Ordering::Relaxed) > before).then_some(());
        crate::wait_for_async("the subscriber is back", PATIENCE, move || ready(back())).await;
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(mut events: EventLoop, seen: Arc<Seen>) {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::Publish(message))) => {
                seen.got.lock().expect("no holder of this lock panics").push(Got::of(message));
            }
            Ok(Event::Incoming(Packet::SubAck(_))) => seen.subscribed.notify_one(),
            Ok(Event::Incoming(Packet::ConnAck(_))) => _ = seen.connects.fetch_add(1, Ordering::Relaxed),
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
