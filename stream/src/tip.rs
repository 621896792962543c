//! How far a region is durable, and whether it goes on: what [`crate::Log::wait`] waits for.

use crate::LogError;
use tokio::sync::watch;

/// The durable end of a region; shared by the writer and all who wait.
#[derive(Debug)]
pub struct Tip(watch::Sender<State>);

#[derive(Clone, Debug, Default)]
struct State {
    next: u64,
    /// Why nothing more comes.
    ended: Option<String>,
    /// How often it was opened: who waits since an earlier life is told.
    life: u64,
}

impl Tip {
    /// A region whose next offset is `next`.
    pub fn at(next: u64) -> Self {
        Self(watch::Sender::new(State { next, ended: None, life: 0 }))
    }

    /// Everything before `next` is durable.
    pub fn reached(&self, next: u64) {
        self.0.send_if_modified(|s| {
            let moved = s.next < next;
            s.next = s.next.max(next);
            moved
        });
    }

    /// The durable end is `next`, even if it was later before.
    pub fn set(&self, next: u64) {
        self.0.send_modify(|s| s.next = next);
    }

    /// Nothing more comes: those who wait are told why. The first reason stays.
    pub fn end(&self, why: &str) {
        self.0.send_if_modified(|s| {
            let first = s.ended.is_none();
            s.ended.get_or_insert_with(|| why.to_owned());
            first
        });
    }

    /// Why nothing more comes, if so.
    pub fn ended(&self) -> Option<LogError> {
        self.0.borrow().ended.clone().map(LogError::Broken)
    }

    /// Why nothing more comes, once that is so.
    pub async fn why_ended(&self) -> LogError {
        let mut receiver = self.0.subscribe();
        let why = receiver.wait_for(|s| s.ended.is_some()).await.ok().and_then(|s| s.ended.clone());
        LogError::Broken(why.unwrap_or_default())
    }

    /// A new life begins at `next`; those who waited in the one before fail.
    pub fn again(&self, next: u64) {
        self.0.send_modify(|s| *s = State { next, ended: None, life: s.life + 1 });
    }

    /// Returns once `from` is durable. Cancel-safe.
    pub async fn wait(&self, from: u64) -> Result<(), LogError> {
        let mut receiver = self.0.subscribe();
        let life = receiver.borrow().life;
        let state = receiver.wait_for(|s| s.next > from || s.ended.is_some() || s.life != life).await;
        let why = match state {
            Ok(s) if s.life != life => "the process crashed".to_owned(),
            Ok(s) if s.next > from => return Ok(()),
            Ok(s) => s.ended.clone().unwrap_or_default(),
            Err(_) => "the log was dropped".to_owned(),
        };
        Err(LogError::Broken(why))
    }
}
