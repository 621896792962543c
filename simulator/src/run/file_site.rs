//! A mine that drops national files: CDDY, RYXX and RYQY at the start and each hour, CDSS and RYSS each period. What cannot
//! be dropped waits, oldest first, so that files come in the order of their times.

use super::Stand;
use super::ticks::Tick;
use crate::files::drop::drop_file;
use crate::files::national;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// Files that wait; beyond it the oldest are given up.
const WAITING_MAX: usize = 2000;
const HOUR_S: u64 = 3600;

/// The task of a mine with files.
pub(super) async fn dropper(stand: Stand, inbox: PathBuf) {
    let mut ticks = stand.ticks();
    let mut waiting = VecDeque::new();
    loop {
        let tick = tokio::select! {
            () = stand.stop.cancelled() => return,
            tick = ticks.next() => tick,
        };
        write(&stand, &tick, &mut waiting);
        if stand.world.link_up(stand.site, tick.since) {
            while let Some((name, text)) = waiting.front() {
                if let Err(e) = drop_file(&inbox, name, String::clone(text)).await {
                    tracing::warn!("a simulated mine keeps {} files: {e:#}", waiting.len());
                    break;
                }
                stand.counters.files.fetch_add(1, Ordering::Relaxed);
                waiting.pop_front();
            }
        }
        let over = waiting.len().saturating_sub(WAITING_MAX);
        waiting.drain(..over);
        stand.counters.given_up.fetch_add(over as u64, Ordering::Relaxed);
    }
}

fn write(stand: &Stand, tick: &Tick, waiting: &mut VecDeque<(String, String)>) {
    let site = stand.place();
    let offset = stand.world.clock_offset(stand.site);
    let t = tick.time + offset;
    let now = stand.world.site_at(stand.site, tick.since);
    let mut add = |kind: &str, text| waiting.push_back((national::file_name(site, kind, t), text));
    let hourly = (HOUR_S / site.period.as_secs().max(1)).max(1);
    if tick.number.is_multiple_of(hourly) {
        add("CDDY", national::cddy(site, t));
        add("RYQY", national::ryqy(site, t));
        add("RYXX", national::ryxx(site, t));
    }
    add("CDSS", national::cdss(site, &now.samples, t));
    add("RYSS", national::ryss(site, &now.people, t, stand.started + offset));
    stand.count(now.samples.len(), tick.skipped);
}
