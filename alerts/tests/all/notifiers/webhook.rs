//! The webhook and a bureau.

use super::{Counterpart, Hopeless, assert_same, episode, suite};
use crate::bureau::{Bureau, Manner, PATIENCE, receiver, settings};
use alerts::{Message, Settings};
use async_trait::async_trait;
use axum::http::StatusCode;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// A bureau in a runtime of its own: when that ends, so do its connections.
struct Office {
    bureau: Bureau,
    port: u16,
    runtime: Option<Runtime>,
    hopeless: [Hopeless; 2],
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/")
}

impl Office {
    fn open(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let listener = std::net::TcpListener::bind(("127.0.0.1", self.port)).unwrap();
        self.bureau.serve(runtime.handle(), listener);
        self.runtime = Some(runtime);
    }
}

#[async_trait]
impl Counterpart for Office {
    fn at(&self, port: u16, timeout: Duration) -> Arc<dyn Settings> {
        Arc::new(settings(&url(port), timeout))
    }

    fn settings(&self) -> Arc<dyn Settings> {
        self.at(self.port, Duration::from_secs(5))
    }

    async fn took(&mut self, messages: &[Message]) {
        self.bureau.assert_one_content_a_key();
        let taken = std::mem::take(&mut *self.bureau.taken.lock().unwrap());
        assert_same(taken, messages, |m| &m.body);
    }

    async fn stop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
        let port = self.port;
        let closed = move || ready((!tests::listens(port)).then_some(()));
        tests::wait_for_async("the bureau is closed", PATIENCE, closed).await;
    }

    async fn start_again(&mut self) {
        self.open();
    }

    fn refused(&mut self) -> Vec<Hopeless> {
        vec![self.hopeless[0].clone()]
    }

    fn mendable(&mut self) -> Vec<Hopeless> {
        vec![self.hopeless[1].clone()]
    }
}

/// A message for a bureau that answers always like this.
async fn hopeless(status: StatusCode) -> Hopeless {
    let (_, url) = Bureau::start(Manner::Always(status)).await;
    let settings = receiver("good", &url).settings;
    let message = episode(&settings).await.remove(0);
    Hopeless { settings, message }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_keeps_all_promises() {
    let hopeless =
        [hopeless(StatusCode::UNPROCESSABLE_ENTITY).await, hopeless(StatusCode::UNAUTHORIZED).await];
    let (bureau, port) = (Bureau::new(Manner::Good), tests::free_port());
    let mut office = Office { bureau, port, runtime: None, hopeless };
    office.open();
    suite(&mut office).await;
    office.stop().await;
}
