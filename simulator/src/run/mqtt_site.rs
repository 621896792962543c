//! A site as an MQTT gateway that stores and forwards: what it cannot send waits, oldest first, up to a limit.

use super::Stand;
use crate::mqtt::payload::{people_messages, site_messages};
use crate::mqtt::{Message, Publisher, PublisherOptions};
use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;

/// Messages that wait for the link; beyond it the oldest are given up. Some ten minutes of a mine at one second.
const WAITING_MAX: usize = 20_000;
/// Unacknowledged messages under way.
const WINDOW: usize = 100;
/// People are told at least this rarely.
const PEOPLE_EVERY: Duration = Duration::from_secs(5);
/// At the end, what is under way gets this long.
const SETTLE_WITHIN: Duration = Duration::from_secs(1);

/// The task of a gateway.
///
/// # Errors
/// When the address of the broker is none.
pub(super) fn gateway(stand: Stand, url: &str) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let client = format!("firedamp-sim-{}", stand.place().code);
    let options = PublisherOptions { url: url.to_owned(), client, window: WINDOW };
    // Stopped by its gateway, so that what is under way can settle first.
    let publisher = Publisher::start(options, tokio_util::sync::CancellationToken::new())?;
    Ok(run(stand, publisher))
}

async fn run(stand: Stand, mut publisher: Publisher) {
    let mut ticks = stand.ticks();
    let mut waiting: VecDeque<Message> = VecDeque::new();
    let people_each = (PEOPLE_EVERY.as_nanos() / stand.place().period.as_nanos().max(1)).max(1) as u64;
    loop {
        let tick = tokio::select! {
            () = stand.stop.cancelled() => break,
            tick = ticks.next() => tick,
        };
        let now = stand.world.site_at(stand.site, tick.since);
        let t_ms = (tick.time + stand.world.clock_offset(stand.site)) / 1000;
        waiting.extend(site_messages(stand.place(), &now.samples, t_ms));
        if tick.number.is_multiple_of(people_each) {
            waiting.extend(people_messages(stand.place(), &now.people, t_ms));
        }
        stand.count(now.samples.len(), tick.skipped);
        let up = stand.world.link_up(stand.site, tick.since);
        publisher.set_link(up);
        if up {
            forward(&mut publisher, &mut waiting);
        }
        let over = waiting.len().saturating_sub(WAITING_MAX);
        if over > 0 {
            waiting.drain(..over);
            stand.counters.given_up.fetch_add(over as u64, Ordering::Relaxed);
            tracing::warn!(
                site = stand.place().code,
                "a simulated gateway gave up its {over} oldest messages"
            );
        }
    }
    // A broker that is away is no reason to wait; what it has taken is settled at once.
    let _ = timeout(SETTLE_WITHIN, publisher.settled()).await;
    publisher.stop().await;
}

/// Sends what there is room for.
fn forward(publisher: &mut Publisher, waiting: &mut VecDeque<Message>) {
    while let Some(message) = waiting.front() {
        match publisher.offer(message) {
            Ok(true) => drop(waiting.pop_front()),
            Ok(false) => return,
            Err(e) => {
                tracing::error!("a simulated gateway cannot send: {e:#}");
                return;
            }
        }
    }
}
