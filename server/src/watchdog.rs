//! The watchdog on the wall clock: raises `firedamp/log-silent` when the rules of a partition have seen neither record nor
//! tick for [`SILENT`]. The rules themselves learn the time from the log and could not notice.

use crate::runners::Shared;
use model::Micros;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Ten missed ticks.
pub(crate) const SILENT: Micros = 10 * model::time::SECOND;

/// Looks once a second until stopped.
pub async fn run(shared: Shared, partitions: u32, stop: CancellationToken) {
    let start = shared.clock.now();
    // Not known at the start: an earlier process may have raised it.
    let mut silent: Vec<Option<bool>> = vec![None; partitions as usize];
    loop {
        tokio::select! {
            biased;
            _ = stop.cancelled() => return,
            _ = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        for p in 0..partitions {
            let since = shared.clock.now() - shared.lag.seen(p).max(start);
            let is = since > SILENT;
            if is && silent[p as usize] != Some(true) {
                let reason = format!(
                    "partition {p}: neither record nor tick for {}",
                    model::time::show_duration(since)
                );
                shared.own.raise("log-silent", &p.to_string(), reason);
            }
            if !is && shared.lag.seen(p) < start {
                continue;
            }
            if !is && silent[p as usize] != Some(false) {
                shared.own.clear("log-silent", &p.to_string(), format!("partition {p} is read again"));
            }
            silent[p as usize] = Some(is);
        }
    }
}
