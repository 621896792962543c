//! One poll of all units of a link.
//!
//! Units that answer are read first and delivered one by one, so that nobody waits for a unit that does not. A unit that
//! stopped answering costs the others one time-out, once: from then on it is asked on a second, short-lived link, which
//! is first tried with a unit that is known to answer. Where a device takes one link only, the second one proves useless
//! and such units are asked at the end of a poll, after everybody else was delivered.
//!
//! A missing value is a value: what could not be read is delivered as missing with its status once a poll. A replay is
//! different: its rows are those of the device, so a poll that was not whole delivers nothing.

use super::config::{Config, Replay, RowConfig};
use super::link::{Fault, Link, Target};
use super::plan::Block;
use super::unit::UnitState;
use crate::backoff::Backoff;
use crate::metrics::SourceMetrics;
use crate::outlet::Outlet;
use crate::{Context, DeliveryBuilder, SinkError};
use prometheus::IntCounter;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long a second link that proved useless is not tried again.
const SIDE_AGAIN: Duration = Duration::from_secs(600);
/// Most complaints in the health message.
const COMPLAINTS_MAX: usize = 3;

/// What happens on a link, counted.
pub struct Events {
    /// Polls that could not be started because the one before was still under way.
    pub skipped: IntCounter,
    /// Deliveries that had to wait for the log.
    pub held: IntCounter,
    exceptions: IntCounter,
    timeouts: IntCounter,
    foreign: IntCounter,
    broken: IntCounter,
    splits: IntCounter,
    rows_same: IntCounter,
    rows_torn: IntCounter,
    rows_lost: IntCounter,
}

impl Events {
    /// Resolves the counters, from zero.
    pub fn new(metrics: &SourceMetrics) -> Self {
        Self {
            skipped: metrics.event("poll_skipped"),
            held: metrics.event("poll_held"),
            exceptions: metrics.event("exception"),
            timeouts: metrics.event("timeout"),
            foreign: metrics.event("foreign_reply"),
            broken: metrics.event("link_broken"),
            splits: metrics.event("block_split"),
            rows_same: metrics.event("replay_row_same"),
            rows_torn: metrics.event("replay_row_incomplete"),
            rows_lost: metrics.event("replay_row_lost"),
        }
    }

    fn count(&self, fault: &Fault) {
        match fault {
            Fault::Exception(_) => self.exceptions.inc(),
            Fault::Timeout(_) => self.timeouts.inc(),
            Fault::Foreign(_) => self.foreign.inc(),
            Fault::Broken(_) => self.broken.inc(),
        }
    }
}

/// What a second link found out about a unit that did not answer.
enum Side {
    Answers,
    Silent(Fault),
    Useless(Fault),
}

/// The link and all its units.
pub struct Poller {
    context: Context,
    config: Arc<Config>,
    metrics: SourceMetrics,
    /// Counters of this link.
    pub events: Events,
    link: Link,
    link_backoff: Backoff,
    link_down: Option<(Instant, Fault)>,
    units: Vec<UnitState>,
    side: Option<(usize, JoinHandle<Side>)>,
    side_off_until: Option<Instant>,
    builder: DeliveryBuilder,
    words: Vec<u16>,
    row: i64,
    row_shown: Option<i64>,
}

impl Drop for Poller {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.side {
            task.abort();
        }
    }
}

impl Poller {
    /// Nothing is connected yet.
    pub fn new(context: Context, config: Arc<Config>, metrics: SourceMetrics) -> Self {
        Self {
            events: Events::new(&metrics),
            link: Link::new(config.target.clone(), config.timeout),
            link_backoff: Backoff::link(),
            link_down: None,
            units: (0..config.units.len()).map(|ix| UnitState::new(config.clone(), ix)).collect(),
            side: None,
            side_off_until: None,
            builder: DeliveryBuilder::new(&context),
            words: Vec::new(),
            row: 0,
            row_shown: None,
            context,
            config,
            metrics,
        }
    }

    /// Polls every unit once and delivers what came of it.
    ///
    /// # Errors
    /// When the sink is closed.
    pub async fn poll(&mut self, outlet: &Outlet) -> Result<(), SinkError> {
        self.end_side().await;
        let now = Instant::now();
        let (waiting, asked) = self.order(now);
        for ix in waiting {
            self.units[ix].lost();
            self.deliver(ix, outlet).await?;
        }
        for ix in asked {
            self.ask(ix).await;
            self.deliver(ix, outlet).await?;
        }
        if let Some(replay) = self.config.replay.clone() {
            self.deliver_row(&replay, outlet).await?;
        }
        self.begin_side();
        self.report();
        Ok(())
    }

    /// Units that are not asked in this poll, and those that are: the ones that answer first.
    fn order(&self, now: Instant) -> (Vec<usize>, Vec<usize>) {
        let (well, away): (Vec<_>, Vec<_>) =
            (0..self.units.len()).partition(|ix| self.units[*ix].away().is_none());
        let aside = !well.is_empty() && !self.side_is_off(now);
        let due = |ix: &usize| !aside && self.units[*ix].away().is_some_and(|away| away.until <= now);
        let (due, waiting): (Vec<_>, Vec<_>) = away.into_iter().partition(due);
        (waiting, well.into_iter().chain(due).collect())
    }

    fn side_is_off(&self, now: Instant) -> bool {
        self.side_off_until.is_some_and(|until| now < until)
    }

    /// Opens the link when it is not open and its back-off is over.
    async fn connect(&mut self) -> Result<(), Fault> {
        if self.link.is_open() {
            return Ok(());
        }
        if let Some((until, why)) = &self.link_down
            && Instant::now() < *until
        {
            return Err(why.clone());
        }
        match self.link.open().await {
            Ok(opened) => {
                if opened {
                    self.metrics.connects.inc();
                }
                if self.link_down.take().is_some() {
                    tracing::info!(source = %self.context.info.name, target = %self.config.target, "connected again");
                }
                self.metrics.connected.set(1);
                Ok(())
            }
            Err(why) => {
                if self.link_down.is_none() {
                    tracing::warn!(source = %self.context.info.name, %why, "not connected");
                }
                self.events.count(&why);
                self.link_down = Some((Instant::now() + self.link_backoff.delay(), why.clone()));
                Err(why)
            }
        }
    }

    /// Reads one unit as far as it goes; the outcome stands in its state.
    async fn ask(&mut self, ix: usize) {
        let mut todo = VecDeque::from(self.units[ix].begin(Instant::now()));
        let mut again = true;
        while let Some(block) = todo.pop_front() {
            if self.connect().await.is_err() {
                return self.units[ix].lost();
            }
            let unit = self.units[ix].number();
            let mut words = std::mem::take(&mut self.words);
            let result = self.link.read(unit, block.table, block.address, block.count, &mut words).await;
            let now = Instant::now();
            let answers = match &result {
                Ok(()) => {
                    self.units[ix].read(&block, &words);
                    true
                }
                Err(Fault::Exception(code)) => !matches!(code, 10 | 11),
                Err(_) => false,
            };
            self.words = words;
            if answers {
                self.heard(ix, now);
            }
            let Err(fault) = result else { continue };
            self.events.count(&fault);
            match fault {
                Fault::Exception(code) if answers => {
                    if let Some([first, second]) = self.units[ix].excepted(&block, code, now) {
                        self.events.splits.inc();
                        todo.push_front(second);
                        todo.push_front(first);
                    }
                }
                // The device may have closed an idle link, or a stray reply came: once more on a new one.
                Fault::Broken(_) | Fault::Foreign(_) if again => {
                    again = false;
                    todo.push_front(block);
                }
                fault => return self.gone(ix, fault, now),
            }
        }
    }

    /// A unit answered, be it with an exception.
    fn heard(&mut self, ix: usize, now: Instant) {
        let first = self.units.iter().all(|u| u.away().is_some());
        self.link_backoff.reset();
        if self.units[ix].answers() {
            tracing::info!(source = %self.context.info.name, unit = self.units[ix].number(), "answers again");
        }
        if first {
            // Most likely it was the gateway: the others are asked at once.
            self.units.iter_mut().for_each(|u| u.ask_now(now));
        }
        let mut health = self.context.health.write().expect("no holder of this lock panics");
        health.last = Some(self.context.clock.now());
    }

    fn gone(&mut self, ix: usize, why: Fault, now: Instant) {
        if self.units[ix].away().is_none() {
            tracing::warn!(source = %self.context.info.name, unit = self.units[ix].number(), %why, "does not answer");
        }
        self.units[ix].gone(why, now);
    }

    /// Hands the points of a unit over as they stand after its poll.
    async fn deliver(&mut self, ix: usize, outlet: &Outlet) -> Result<(), SinkError> {
        if self.config.replay.is_some() {
            return Ok(());
        }
        self.builder.begin();
        self.add(ix, None);
        self.send(outlet).await
    }

    fn add(&mut self, ix: usize, time: Option<model::Micros>) {
        let unit = &self.units[ix];
        for p in unit.points() {
            let (value, bits) = unit.value(p);
            self.builder.reading(&p.site, &p.point, time, value, bits);
        }
    }

    async fn send(&mut self, outlet: &Outlet) -> Result<(), SinkError> {
        let delivery = self.builder.finish();
        if delivery.readings.is_empty() && delivery.unknown.is_empty() && delivery.refused.is_empty() {
            return Ok(());
        }
        if outlet.send(delivery).await?.waited {
            self.events.held.inc();
        }
        Ok(())
    }

    /// The row of a replay, when all of it was read and it is not the one before.
    async fn deliver_row(&mut self, replay: &Replay, outlet: &Outlet) -> Result<(), SinkError> {
        if !self.units.iter().all(UnitState::is_whole) {
            self.events.rows_torn.inc();
            return Ok(());
        }
        let shown = replay
            .row
            .as_ref()
            .and_then(|row: &RowConfig| self.units[row.unit].number_in(row.item, row.ty, row.order));
        if shown.is_some() && shown == self.row_shown {
            self.events.rows_same.inc();
            return Ok(());
        }
        if let (Some(now), Some(before)) = (shown, self.row_shown)
            && now > before + 1
        {
            let lost = now - before - 1;
            self.events.rows_lost.inc_by(lost as u64);
            tracing::warn!(source = %self.context.info.name, lost, row = now, "the device went past rows that were not read");
        }
        self.row_shown = shown;
        let row = shown.unwrap_or(self.row);
        self.row = row.saturating_add(1);
        let time = replay.start.saturating_add(replay.step.saturating_mul(row));
        self.builder.begin();
        for ix in 0..self.units.len() {
            self.add(ix, Some(time));
        }
        self.send(outlet).await
    }

    /// Starts asking one unit that is due on a second link.
    fn begin_side(&mut self) {
        let now = Instant::now();
        if self.side.is_some() || self.side_is_off(now) {
            return;
        }
        // The one that waits longest, so that many dead ones cannot keep one that is back from being asked.
        let due = self.units.iter().enumerate().filter_map(|(ix, u)| Some((u.away()?.until, ix)));
        let Some((_, ix)) = due.filter(|(until, _)| *until <= now).min() else { return };
        let known = self.units.iter().find(|u| u.away().is_none());
        let known = known.and_then(|u| Some((u.number(), u.some_block()?)));
        let (Some(known), Some(block)) = (known, self.units[ix].some_block()) else { return };
        let asked = (self.units[ix].number(), block);
        let (target, timeout) = (self.config.target.clone(), self.config.timeout);
        self.side = Some((ix, tokio::spawn(ask_aside(target, timeout, known, asked))));
    }

    /// Takes the result of the second link, when there is one.
    async fn end_side(&mut self) {
        if !self.side.as_ref().is_some_and(|(_, task)| task.is_finished()) {
            return;
        }
        let Some((ix, task)) = self.side.take() else { return };
        let Ok(found) = task.await else { return };
        let now = Instant::now();
        match found {
            Side::Answers => self.heard(ix, now),
            Side::Silent(why) => {
                self.events.count(&why);
                self.units[ix].gone(why, now);
            }
            Side::Useless(why) => {
                tracing::info!(source = %self.context.info.name, %why, "the device takes one link only");
                self.side_off_until = Some(now + SIDE_AGAIN);
            }
        }
    }

    /// Health for people.
    fn report(&self) {
        let mut complaints = Vec::new();
        match &self.link_down {
            Some((_, why)) => complaints.push(why.to_string()),
            None => {
                for unit in &self.units {
                    complaints.extend(unit.complaints(COMPLAINTS_MAX));
                }
            }
        }
        let more = complaints.len().saturating_sub(COMPLAINTS_MAX);
        complaints.truncate(COMPLAINTS_MAX);
        let mut message = complaints.join("; ");
        if more > 0 {
            message.push_str(&format!("; and {more} more"));
        }
        let up = self.link_down.is_none() && self.units.iter().any(|u| u.away().is_none());
        self.metrics.connected.set(i64::from(up));
        let mut health = self.context.health.write().expect("no holder of this lock panics");
        if health.message != message {
            tracing::debug!(source = %self.context.info.name, message, "health");
            health.message = message;
        }
        health.up = up;
    }
}

/// Asks a unit on a link of its own, after a unit that is known to answer did so there.
async fn ask_aside(target: Target, timeout: Duration, known: (u8, Block), asked: (u8, Block)) -> Side {
    let mut link = Link::new(target, timeout);
    let mut words = Vec::new();
    if let Err(why) = link.open().await {
        return Side::Useless(why);
    }
    let (unit, block) = known;
    match link.read(unit, block.table, block.address, block.count, &mut words).await {
        Ok(()) | Err(Fault::Exception(_)) => {}
        Err(why) => return Side::Useless(why),
    }
    let (unit, block) = asked;
    match link.read(unit, block.table, block.address, block.count, &mut words).await {
        Err(fault @ Fault::Exception(10 | 11)) => Side::Silent(fault),
        Ok(()) | Err(Fault::Exception(_)) => Side::Answers,
        Err(fault) => Side::Silent(fault),
    }
}
