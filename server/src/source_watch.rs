//! Looks at the sources once a second and raises what an operator has to see: `firedamp/source-down` for one that is not
//! connected for [`DOWN`], `firedamp/source-lost` for one whose broker says that it dropped messages. Each ends by itself.
//! `firedamp/source-clock` comes from the edge, which sees the readings. Those of a source that is not configured any more end at
//! the start: nothing else would end them.

use crate::runners::own::OwnAlarms;
use crate::sources::Sources;
use ::alerts::{AlarmFilter, AlarmStore};
use model::{Clock, Micros};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a source may be away before it is an alarm: a link that breaks is made again within a few seconds.
const DOWN: Micros = 5 * model::time::SECOND;
/// How often they are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Alarms about a source, by its name.
const OF_SOURCES: [&str; 3] = ["source-down", "source-lost", "source-clock"];

/// Ends the alarms of sources that are not among those with these names.
pub async fn end_those_of_others(store: &dyn AlarmStore, names: &[String], own: &OwnAlarms) {
    let of_firedamp = AlarmFilter { site: Some("firedamp".to_owned()), ..AlarmFilter::default() };
    let active = match store.list(&of_firedamp).await {
        Ok(active) => active,
        Err(e) => return tracing::warn!("alarms of sources that are gone are not ended: {e}"),
    };
    for alarm in active.iter().filter(|a| !names.contains(&a.point)) {
        let what = OF_SOURCES.iter().find(|what| alarm.rule.strip_prefix("firedamp/") == Some(what));
        if let Some(what) = what {
            own.clear(what, &alarm.point, format!("source `{}` is not configured any more", alarm.point));
        }
    }
}

/// What is known of one source.
#[derive(Clone, Copy, Default, Debug)]
struct Seen {
    /// Since when it is not up.
    down_since: Option<Micros>,
    /// The alarms as they were last told; `None`: not yet in this process.
    down: Option<bool>,
    lost: Option<bool>,
}

/// Looks until stopped.
pub async fn run(sources: Sources, clock: Arc<dyn Clock>, own: OwnAlarms, stop: CancellationToken) {
    let mut seen = BTreeMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let now = clock.now();
        for (name, health) in sources.healths() {
            look(seen.entry(name.clone()).or_default(), &name, &health, now, &own);
        }
    }
}

fn look(seen: &mut Seen, name: &str, health: &ingest::Health, now: Micros, own: &OwnAlarms) {
    if health.up {
        seen.down_since = None;
    }
    let since = if health.up { now } else { *seen.down_since.get_or_insert(now) };
    // Whether it is down is known once it is up or has been away long enough.
    let down = if health.up { Some(false) } else { Some(true).filter(|_| now - since >= DOWN) };
    if down.is_some() && down != seen.down {
        seen.down = down;
        match down {
            Some(true) => own.raise(
                "source-down",
                name,
                format!("source `{name}` is not connected: {}", health.message),
            ),
            _ => own.clear("source-down", name, format!("source `{name}` is connected")),
        }
    }
    let lost = !health.lost.is_empty();
    if seen.lost != Some(lost) {
        seen.lost = Some(lost);
        match lost {
            true => own.raise("source-lost", name, format!("source `{name}`: {}", health.lost)),
            false => own.clear("source-lost", name, format!("source `{name}` has lost nothing lately")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingest::Health;
    use model::time::SECOND;

    #[tokio::test]
    async fn alarms_of_sources_that_are_gone_end_and_no_others() {
        let store = ::alerts::MemoryStore::new(Vec::new());
        for (what, key) in [("source-down", "gone"), ("source-clock", "there"), ("records-gone", "gone")] {
            let alarm = ::alerts::OwnAlarm {
                what: what.to_owned(),
                key: key.to_owned(),
                severity: model::Severity::Orange,
                reason: String::new(),
                on: true,
            };
            store.raise_own(alarm, 0).await.unwrap();
        }
        let (own, mut told) = OwnAlarms::queue();
        end_those_of_others(&store, &["there".to_owned()], &own).await;
        let ended = told.try_recv().unwrap();
        assert_eq!((&*ended.what, &*ended.key, ended.on), ("source-down", "gone", false));
        assert!(told.try_recv().is_err());
    }

    #[tokio::test]
    async fn down_after_a_while_and_up_at_once() {
        let (own, mut told) = OwnAlarms::queue();
        let mut seen = Seen::default();
        let mut look = |up: bool, lost: &str, at: Micros| {
            let health = Health { up, message: "refused".into(), lost: lost.into(), last: None };
            look(&mut seen, "east", &health, at * SECOND, &own);
            let mut out = Vec::new();
            while let Ok(alarm) = told.try_recv() {
                out.push((alarm.what, alarm.on));
            }
            out
        };
        let down = |on| ("source-down".to_owned(), on);
        let lost = |on| ("source-lost".to_owned(), on);
        assert_eq!(look(false, "", 0), [lost(false)], "whether it is down is not known yet");
        assert_eq!(look(false, "", 4), []);
        assert_eq!(look(false, "", 5), [down(true)]);
        assert_eq!(look(false, "", 9), [], "raised once");
        assert_eq!(look(true, "", 10), [down(false)]);
        assert_eq!(look(false, "", 11), [], "a short break is none");
        assert_eq!(look(true, "3 dropped", 14), [lost(true)]);
        assert_eq!(look(true, "4 dropped", 15), []);
        assert_eq!(look(true, "", 16), [lost(false)]);
    }
}
