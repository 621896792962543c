//! What was received and is not yet durable: deliveries in the order they came, several under way at a time.
//!
//! - The sink sees them in order: each is issued after the one before it, and polled first in that order.
//! - Acknowledgements come out in order: those of a delivery only when it and all before it are durable.
//! - When the sink says Retry, nothing new is issued until all that is under way has come back; then, after a back-off, the
//!   oldest that is not durable goes alone, and when it was taken the others follow in order. Nothing is given up while the
//!   source runs.
//!
//! The bound is the caller's: it looks at [`Window::messages`] and [`Window::bytes`] before it pushes.

use super::connection::Ack;
use crate::backoff::Backoff;
use crate::metrics::{SourceMetrics, Tally};
use crate::{Context, Delivery, SinkError};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use std::collections::VecDeque;
use tokio::time::Instant;

/// One delivery and the messages it was made of.
struct Entry {
    delivery: Delivery,
    tally: Tally,
    acks: Vec<Ack>,
    messages: usize,
    bytes: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Waiting,
    UnderWay,
    Durable,
}

/// Whether deliveries are issued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flow {
    /// As they come.
    Open,
    /// Not before this time.
    Held(Instant),
    /// One, to see whether the log takes readings again.
    Probing,
}

/// What came of waiting.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Acknowledge these, in this order.
    Acks(Vec<Ack>),
    /// The sink does not take readings now: why.
    Held(String),
    /// The sink is closed: nothing more will become durable.
    Closed,
}

type Accepting = BoxFuture<'static, (u64, Result<(), SinkError>)>;

/// Deliveries between receipt and durability.
pub(super) struct Window {
    context: Context,
    metrics: SourceMetrics,
    /// Front: the oldest that is not acknowledged.
    entries: VecDeque<Entry>,
    /// Number of the front entry, counted from the start.
    first: u64,
    under_way: FuturesUnordered<Accepting>,
    backoff: Backoff,
    flow: Flow,
    closed: bool,
    messages: usize,
    bytes: usize,
}

impl Window {
    pub(super) fn new(context: &Context, metrics: &SourceMetrics) -> Self {
        Self {
            context: context.clone(),
            metrics: metrics.clone(),
            entries: VecDeque::new(),
            first: 0,
            under_way: FuturesUnordered::new(),
            backoff: Backoff::sink(),
            flow: Flow::Open,
            closed: false,
            messages: 0,
            bytes: 0,
        }
    }

    /// Messages received and not yet durable.
    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    /// Their bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether everything is durable and acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether nothing will become durable without another attempt: what is left when firedamp stops.
    pub(super) fn is_idle(&self) -> bool {
        let done = self.entries.front().is_some_and(|e| e.state == State::Durable);
        self.closed || (self.under_way.is_empty() && !done)
    }

    /// Adds a delivery made of `messages` messages of `bytes` bytes, to be acknowledged by `acks`.
    pub(super) fn push(&mut self, delivery: Delivery, acks: Vec<Ack>, messages: usize, bytes: usize) {
        let tally = Tally::of(&delivery);
        self.messages += messages;
        self.bytes += bytes;
        self.metrics.under_way.add(messages as i64);
        // Messages without a reading in them: there is nothing to make durable, but their turn must come.
        let state = if tally == Tally::default() { State::Durable } else { State::Waiting };
        self.entries.push_back(Entry { delivery, tally, acks, messages, bytes, state });
        if self.flow == Flow::Open && state == State::Waiting {
            self.issue(self.entries.len() - 1);
        }
    }

    /// Forgets what was to be acknowledged: the connection is gone, and its packet ids mean nothing to the next one. The
    /// number of acknowledgements thrown away.
    pub(super) fn forget_acks(&mut self) -> u64 {
        let forgotten = self.entries.iter_mut().map(|e| std::mem::take(&mut e.acks).len() as u64).sum();
        self.metrics.stale_acks.inc_by(forgotten);
        forgotten
    }

    /// Waits for the next step; for ever when there is nothing to wait for. May be cancelled at any time.
    pub(super) async fn next(&mut self) -> Step {
        loop {
            if let Some(acks) = self.pop_durable() {
                return Step::Acks(acks);
            }
            if self.closed {
                return Step::Closed;
            }
            if self.under_way.is_empty() {
                let Flow::Held(until) = self.flow else { return std::future::pending().await };
                tokio::time::sleep_until(until).await;
                self.flow = Flow::Probing;
                match self.waiting().first() {
                    Some(oldest) => self.issue(*oldest),
                    None => self.flow = Flow::Open,
                }
            }
            if let Some((number, result)) = self.under_way.next().await
                && let Some(why) = self.settle(number, result)
            {
                return Step::Held(why);
            }
        }
    }

    /// Places of the deliveries that are to be issued, oldest first.
    fn waiting(&self) -> Vec<usize> {
        (0..self.entries.len()).filter(|ix| self.entries[*ix].state == State::Waiting).collect()
    }

    fn issue(&mut self, ix: usize) {
        let number = self.first + ix as u64;
        let entry = &mut self.entries[ix];
        entry.state = State::UnderWay;
        let delivery = entry.delivery.clone();
        let (sink, info) = (self.context.sink.clone(), self.context.info.clone());
        self.under_way.push(Box::pin(async move { (number, sink.accept(&info, delivery).await) }));
    }

    /// Notes the outcome of one delivery; says why when it is the first that is held back.
    fn settle(&mut self, number: u64, result: Result<(), SinkError>) -> Option<String> {
        let entry = &mut self.entries[(number - self.first) as usize];
        match result {
            Ok(()) => {
                entry.state = State::Durable;
                self.metrics.durable(&entry.tally);
                if self.flow == Flow::Probing {
                    self.flow = Flow::Open;
                    self.backoff.reset();
                    self.waiting().into_iter().for_each(|ix| self.issue(ix));
                }
                None
            }
            Err(SinkError::Closed) => {
                self.closed = true;
                None
            }
            Err(SinkError::Retry(why)) => {
                entry.state = State::Waiting;
                self.metrics.retries.inc();
                if matches!(self.flow, Flow::Held(_)) {
                    return None;
                }
                self.flow = Flow::Held(Instant::now() + self.backoff.delay());
                Some(why)
            }
        }
    }

    fn pop_durable(&mut self) -> Option<Vec<Ack>> {
        if self.entries.front()?.state != State::Durable {
            return None;
        }
        let entry = self.entries.pop_front()?;
        self.first += 1;
        self.messages -= entry.messages;
        self.bytes -= entry.bytes;
        self.metrics.under_way.sub(entry.messages as i64);
        Some(entry.acks)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.metrics.under_way.sub(self.messages as i64);
    }
}

#[cfg(test)]
mod tests;
