//! One task a partition: gathers parts into records, appends them, answers their sources.
//!
//! While one append is under way the next record fills; it is sent when it is full or its linger is over and the append
//! before it has returned. So one append of a partition is under way at a time and its order is the order of the parts.

use super::{Body, EdgeMetrics, Full, Part, RECORD_ROWS_MAX, Ticket};
use bytes::Bytes;
use ingest::SinkError;
use model::record::Refused;
use model::{ReadingsBuilder, Record, Run, Stream};
use std::sync::Arc;
use std::time::Duration;
use stream::{Append, Log, LogError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Why a delivery is refused that the log was not asked to take.
pub(super) const BEHIND: &str = "one before it was not taken";

/// Where records go, and who is told how it went.
#[derive(Clone)]
pub struct To {
    pub log: Arc<dyn Log>,
    pub partition: u32,
    pub metrics: EdgeMetrics,
    pub full: Arc<Full>,
}

/// Runs until the edge is gone and its queue is empty.
pub async fn run(to: To, linger: Duration, mut queue: mpsc::UnboundedReceiver<Part>) {
    let mut under_way: Option<tokio::task::JoinHandle<()>> = None;
    let mut parts = Vec::new();
    while let Some(first) = queue.recv().await {
        let end = Instant::now() + linger;
        let mut rows = first.run.rows as usize;
        parts.push(first);
        while rows < RECORD_ROWS_MAX {
            let next = match tokio::time::timeout_at(end, queue.recv()).await {
                Ok(Some(part)) => part,
                Ok(None) | Err(_) => break,
            };
            rows += next.run.rows as usize;
            parts.push(next);
        }
        if let Some(before) = under_way.take() {
            // The task cannot panic on outside data; if it did, its parts' answers are dropped and read as closed.
            let _ = before.await;
        }
        let batch = std::mem::take(&mut parts);
        under_way = Some(tokio::spawn(append(to.clone(), batch)));
    }
    if let Some(before) = under_way {
        let _ = before.await;
    }
}

/// Who waits for an append.
struct Answer {
    done: oneshot::Sender<Result<(), SinkError>>,
    ticket: Ticket,
    _rows: tokio::sync::OwnedSemaphorePermit,
}

async fn append(To { log, partition, metrics, full }: To, mut parts: Vec<Part>) {
    for Part { done, ticket, .. } in parts.extract_if(.., |part| part.ticket.is_void()) {
        metrics.held_back();
        drop(ticket);
        let _ = done.send(Err(SinkError::Retry(BEHIND.to_owned())));
    }
    if parts.is_empty() {
        return;
    }
    let (records, answers, rows) = encode(parts);
    metrics.record(rows);
    let records = records.into_iter().map(|bytes| Append { bytes, origin: None }).collect();
    let result = match log.append(Stream::Readings, partition, records).await {
        Ok(_) => {
            full.taken();
            Ok(())
        }
        Err(LogError::Broken(why)) => {
            tracing::error!(partition, why, "the log is broken; nothing more is taken");
            Err(SinkError::Closed)
        }
        Err(e) => {
            metrics.held_back();
            full.refused(&e.to_string());
            Err(SinkError::Retry(e.to_string()))
        }
    };
    for Answer { done, ticket, _rows } in answers {
        if result.is_err() {
            ticket.refuse();
        }
        // Before the answer: whoever has the last one may send again at once, and then nothing is under way any more.
        drop(ticket);
        let _ = done.send(result.clone());
    }
}

fn encode(parts: Vec<Part>) -> (Vec<Bytes>, Vec<Answer>, usize) {
    let mut answers = Vec::with_capacity(parts.len());
    let mut runs: Vec<Run> = Vec::new();
    let mut readings: Vec<model::Readings> = Vec::new();
    let mut refused: Vec<Refused> = Vec::new();
    let mut records = Vec::new();
    for Part { run, body, done, ticket, _rows } in parts {
        match body {
            Body::Readings(rows) => {
                readings.push(rows);
                merge_run(&mut runs, run);
            }
            Body::Quarantine(rows) => records.push(Record::Quarantine { run, rows }.encode()),
            Body::Positions(positions) => records.push(Record::Positions { run, positions }.encode()),
            Body::Refused(total) => merge_refused(&mut refused, total),
        }
        answers.push(Answer { done, ticket, _rows });
    }
    let rows = readings.iter().map(model::Readings::len).sum();
    if !runs.is_empty() {
        let readings = match readings.len() {
            1 => readings.swap_remove(0),
            _ => {
                let mut all = ReadingsBuilder::with_capacity(rows);
                readings.iter().for_each(|r| all.extend(r));
                all.finish()
            }
        };
        records.push(Record::Readings { runs, readings }.encode());
    }
    if !refused.is_empty() {
        records.push(Record::Refused(refused).encode());
    }
    (records, answers, rows)
}

/// Rows of one source received in the same microsecond are one run.
fn merge_run(runs: &mut Vec<Run>, run: Run) {
    match runs.last_mut() {
        Some(last)
            if last.source == run.source && last.received == run.received && last.flags == run.flags =>
        {
            last.rows += run.rows;
        }
        _ => runs.push(run),
    }
}

fn merge_refused(totals: &mut Vec<Refused>, one: Refused) {
    match totals.iter_mut().find(|t| t.source == one.source && t.reason == one.reason) {
        Some(total) => total.count += one.count,
        None => totals.push(one),
    }
}
