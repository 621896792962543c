//! From the poller to the log: a task of its own that keeps several deliveries under way in order, so that polling waits
//! for the log only when the log is far behind.
//!
//! When the log does not take a delivery, nothing newer is handed over until it has taken this one: the window is let run
//! out, what was refused is tried again in order, and the poller is held at the full channel meanwhile.

use crate::deliver::deliver;
use crate::metrics::{SourceMetrics, Tally};
use crate::{Context, Delivery, SinkError};
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Most deliveries under way. At 10 ms a delivery (linger and disk) it lets 3,200 of them through a second.
const WINDOW: usize = 32;
/// Deliveries that wait for the window.
const QUEUE: usize = 4;
/// How long what is under way is waited for at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// The poller's end.
pub struct Outlet {
    queue: mpsc::Sender<Delivery>,
    task: JoinHandle<()>,
}

impl Outlet {
    /// Starts the task.
    pub fn start(context: Context, metrics: SourceMetrics, stop: CancellationToken) -> Self {
        let (queue, rest) = mpsc::channel(QUEUE);
        let task = Task { context, metrics, stop, window: FuturesOrdered::new() };
        Self { queue, task: tokio::spawn(task.run(rest)) }
    }

    /// Hands one delivery over; true when it had to wait for the log.
    ///
    /// # Errors
    /// When the sink is closed: nothing more will be taken.
    pub async fn send(&self, delivery: Delivery) -> Result<bool, SinkError> {
        match self.queue.try_send(delivery) {
            Ok(()) => Ok(false),
            Err(mpsc::error::TrySendError::Full(delivery)) => {
                self.queue.send(delivery).await.map_err(|_| SinkError::Closed)?;
                Ok(true)
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(SinkError::Closed),
        }
    }

    /// Lets what is under way finish; false when it did not within five seconds and was given up.
    pub async fn close(self) -> bool {
        let Self { queue, mut task } = self;
        drop(queue);
        if tokio::time::timeout(DRAIN, &mut task).await.is_ok() {
            return true;
        }
        task.abort();
        false
    }
}

type Done = (Delivery, Result<(), SinkError>);

struct Task {
    context: Context,
    metrics: SourceMetrics,
    stop: CancellationToken,
    window: FuturesOrdered<BoxFuture<'static, Done>>,
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<Delivery>) {
        loop {
            tokio::select! {
                // What is done first: it makes room, and a refusal must be seen before anything newer is handed over.
                biased;
                Some(done) = self.window.next() => {
                    if self.take(done).await.is_err() {
                        return;
                    }
                }
                next = queue.recv(), if self.window.len() < WINDOW => match next {
                    Some(delivery) => self.hand_over(delivery),
                    None if self.window.is_empty() => return,
                    None => while let Some(done) = self.window.next().await {
                        if self.take(done).await.is_err() {
                            return;
                        }
                    },
                },
            }
            self.metrics.under_way.set(self.window.len() as i64);
        }
    }

    /// The window polls it before anything newer, so the sink sees deliveries in order.
    fn hand_over(&mut self, delivery: Delivery) {
        let (sink, info, kept) = (self.context.sink.clone(), self.context.info.clone(), delivery.clone());
        self.window.push_back(Box::pin(async move { (kept, sink.accept(&info, delivery).await) }));
    }

    async fn take(&mut self, (delivery, result): Done) -> Result<(), SinkError> {
        match result {
            Ok(()) => {
                self.metrics.durable(&Tally::of(&delivery));
                Ok(())
            }
            Err(SinkError::Closed) => Err(SinkError::Closed),
            Err(SinkError::Retry(why)) => {
                tracing::warn!(source = %self.context.info.name, why, "polling is held: the log does not take readings now");
                self.metrics.retries.inc();
                self.hold(delivery).await
            }
        }
    }

    async fn hold(&mut self, first: Delivery) -> Result<(), SinkError> {
        let mut again = vec![first];
        while let Some((delivery, result)) = self.window.next().await {
            match result {
                Ok(()) => self.metrics.durable(&Tally::of(&delivery)),
                Err(SinkError::Retry(_)) => again.push(delivery),
                Err(SinkError::Closed) => return Err(SinkError::Closed),
            }
        }
        for delivery in again {
            deliver(&self.context, &self.metrics, delivery, &self.stop).await?;
        }
        tracing::info!(source = %self.context.info.name, "polling goes on");
        Ok(())
    }
}
