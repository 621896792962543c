//! What became of the tries to deliver messages.

use super::{Work, entry, plain};
use crate::journal::Entry;
use crate::store::{Settled, Tables};
use crate::tell::LIST;
use crate::{OutboxRow, OwnAlarm, StoreError, own};
use aws_lc_rs::digest::{SHA256, digest};
use model::Micros;
use serde_json::json;

impl<T: Tables> Work<'_, T> {
    /// The receiver took it.
    pub async fn delivered(&mut self, key: &str, now: Micros) -> Result<(), StoreError> {
        let Some(row) = self.tables.settle(key, &Settled::Delivered { now }).await? else { return Ok(()) };
        self.more.delivered += u64::from(!row.drill);
        self.tables.start_clock(&row.alarm, now).await?;
        self.tried(&row, "delivered", "", now).await
    }

    /// Writes down what became of a try.
    async fn tried(
        &mut self,
        message: &OutboxRow,
        event: &str,
        error: &str,
        now: Micros,
    ) -> Result<(), StoreError> {
        let OutboxRow { key, attempts, body, .. } = message;
        let content = hex::encode(digest(&SHA256, body));
        let detail = json!({ "key": key, "attempts": attempts, "sha256": content }).to_string();
        let by = &message.receiver;
        let alarm_id = if message.alarm == LIST { String::new() } else { message.alarm.clone() };
        let entry = Entry { alarm_id, detail, ..entry(event, by, error, now) };
        self.append(entry).await.map(|_| ())
    }

    /// The receiver did not take it.
    pub async fn failed(
        &mut self,
        key: &str,
        error: &str,
        next_at: Option<Micros>,
        now: Micros,
    ) -> Result<(), StoreError> {
        let error = &plain(error);
        let Some(next_at) = next_at else {
            let dead = self.tables.settle(key, &Settled::Dead { error, now }).await?;
            return self.buried(dead.as_slice(), error, now).await;
        };
        let again = self.tables.settle(key, &Settled::Again { error, next_at }).await?;
        match again {
            Some(message) => self.tried(&message, "failed", error, now).await,
            None => Ok(()),
        }
    }

    /// Gives up what is too old.
    pub async fn expire(
        &mut self,
        receiver: &str,
        created_before: Micros,
        now: Micros,
    ) -> Result<u64, StoreError> {
        let dead = self.tables.expire(receiver, created_before, now).await?;
        self.buried(&dead, "not delivered within its deadline", now).await?;
        Ok(dead.len() as u64)
    }

    /// Dead letters are counted, and are an alarm, unless they told of a receiver's own trouble.
    async fn buried(&mut self, dead: &[OutboxRow], error: &str, now: Micros) -> Result<(), StoreError> {
        for message in dead {
            self.tried(message, "given_up", error, now).await?;
        }
        self.more.dead += dead.iter().filter(|d| !d.drill).count() as u64;
        let loud = dead.iter().filter(|d| !d.quiet).count();
        let Some(first) = dead.iter().find(|d| !d.quiet) else { return Ok(()) };
        let (name, key) = (&first.receiver, &first.key);
        let what = if loud == 1 {
            format!("message {key} is given up")
        } else {
            format!("{loud} messages are given up, {key} first")
        };
        let reason = format!("receiver `{name}` was not told, {what}: {error}");
        self.own(&OwnAlarm::about_receiver(own::DEAD_LETTER, name, reason, true), now).await.map(|_| ())
    }
}
