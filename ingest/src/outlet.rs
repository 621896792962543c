//! From a source that polls or scans to the log: a task of its own that keeps several deliveries under way in order, so
//! that the source waits for the log only when the log is far behind.
//!
//! When the log does not take a delivery, nothing newer is handed over until it has taken this one: the window is let run
//! out, what was refused is tried again in order, and the source is held at the full queue meanwhile.

use crate::deliver::deliver;
use crate::metrics::{SourceMetrics, Tally};
use crate::{Context, Delivery, SinkError};
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Most deliveries under way. At 10 ms a delivery (linger and disk) it lets 3,200 of them through a second.
const WINDOW: usize = 32;
/// Deliveries that wait for the window.
const QUEUE: usize = 4;
/// How long what is under way is waited for at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// The source's end.
pub struct Outlet {
    context: Context,
    queue: mpsc::Sender<Item>,
    task: JoinHandle<()>,
}

/// A delivery that was handed over.
pub struct Sent {
    /// It had to wait, because the log is behind.
    pub waited: bool,
    /// Comes when the delivery is durable; fails when it is given up because firedamp stops.
    pub durable: oneshot::Receiver<()>,
}

struct Item {
    delivery: Delivery,
    done: oneshot::Sender<()>,
}

impl Outlet {
    /// Starts the task.
    pub fn start(context: Context, metrics: SourceMetrics, stop: CancellationToken) -> Self {
        let (queue, rest) = mpsc::channel(QUEUE);
        let task = Task { context: context.clone(), metrics, stop, window: FuturesOrdered::new() };
        Self { context, queue, task: tokio::spawn(task.run(rest)) }
    }

    /// Rests as long as the sink asks for, before devices are asked again: with many deliveries under way the source hardly notices that
    /// their answers are held back.
    pub async fn rest(&self) {
        let pause = self.context.sink.pause(&self.context.info);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }

    /// Hands one delivery over.
    ///
    /// # Errors
    /// When the sink is closed: nothing more will be taken.
    pub async fn send(&self, delivery: Delivery) -> Result<Sent, SinkError> {
        let (done, durable) = oneshot::channel();
        match self.queue.try_send(Item { delivery, done }) {
            Ok(()) => Ok(Sent { waited: false, durable }),
            Err(mpsc::error::TrySendError::Full(item)) => {
                self.queue.send(item).await.map_err(|_| SinkError::Closed)?;
                Ok(Sent { waited: true, durable })
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(SinkError::Closed),
        }
    }

    /// Lets what is under way finish; false when it did not within five seconds and was given up.
    pub async fn close(self) -> bool {
        let Self { queue, mut task, .. } = self;
        drop(queue);
        if tokio::time::timeout(DRAIN, &mut task).await.is_ok() {
            return true;
        }
        task.abort();
        false
    }
}

type Done = (Item, Result<(), SinkError>);

struct Task {
    context: Context,
    metrics: SourceMetrics,
    stop: CancellationToken,
    window: FuturesOrdered<BoxFuture<'static, Done>>,
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<Item>) {
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
                    Some(item) => self.hand_over(item),
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
    fn hand_over(&mut self, item: Item) {
        let (sink, info, delivery) =
            (self.context.sink.clone(), self.context.info.clone(), item.delivery.clone());
        self.window.push_back(Box::pin(async move { (item, sink.accept(&info, delivery).await) }));
    }

    fn durable(&self, item: Item) {
        self.metrics.durable(&Tally::of(&item.delivery));
        // Who does not care has dropped the other end.
        let _ = item.done.send(());
    }

    async fn take(&mut self, (item, result): Done) -> Result<(), SinkError> {
        match result {
            Ok(()) => {
                self.durable(item);
                Ok(())
            }
            Err(SinkError::Closed) => Err(SinkError::Closed),
            Err(SinkError::Retry(why)) => {
                tracing::warn!(source = %self.context.info.name, why, "held: the log does not take readings now");
                self.metrics.retries.inc();
                self.hold(item).await
            }
        }
    }

    async fn hold(&mut self, first: Item) -> Result<(), SinkError> {
        let mut again = vec![first];
        while let Some((item, result)) = self.window.next().await {
            match result {
                Ok(()) => self.durable(item),
                Err(SinkError::Retry(_)) => again.push(item),
                Err(SinkError::Closed) => return Err(SinkError::Closed),
            }
        }
        for item in again {
            deliver(&self.context, &self.metrics, item.delivery, &self.stop).await?;
            let _ = item.done.send(());
        }
        tracing::info!(source = %self.context.info.name, "goes on");
        Ok(())
    }
}
