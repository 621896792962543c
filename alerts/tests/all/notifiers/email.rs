//! E-mail and a mail server of another make.

use super::{Counterpart, Hopeless, assert_same, episode, suite};
use crate::email::{Server, bytes, settings};
use alerts::{Message, Settings};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

struct Post {
    server: Option<Server>,
    port: u16,
    refused: Vec<Message>,
    mendable: Vec<Message>,
}

fn to(address: &str, port: u16, timeout: Duration) -> Arc<dyn Settings> {
    let mut settings = settings(port, &[address]);
    settings.timeout = timeout;
    Arc::new(settings)
}

fn with(settings: Arc<dyn Settings>, messages: &[Message]) -> Vec<Hopeless> {
    messages.iter().map(|m| Hopeless { settings: settings.clone(), message: m.clone() }).collect()
}

#[async_trait]
impl Counterpart for Post {
    fn at(&self, port: u16, timeout: Duration) -> Arc<dyn Settings> {
        to("duty@example.org", port, timeout)
    }

    fn settings(&self) -> Arc<dyn Settings> {
        self.at(self.port, Duration::from_secs(10))
    }

    async fn took(&mut self, messages: &[Message]) {
        let server = self.server.as_ref().unwrap();
        let taken: Vec<Vec<u8>> = messages.iter().map(|_| bytes(&server.taken())).collect();
        let key = |mail: &[u8]| {
            let text = String::from_utf8_lossy(mail).into_owned();
            let (_, rest) = text.split_once("Message-ID: <").unwrap();
            rest.split_once("@firedamp>").unwrap().0.to_owned()
        };
        assert_same(taken.into_iter().map(|mail| (key(&mail), mail)).collect(), messages, |m| &m.body);
        assert_eq!(server.waiting(), 0, "no message more");
    }

    async fn stop(&mut self) {
        self.server = None;
    }

    async fn start_again(&mut self) {
        self.server = Some(Server::start(&["--port", &self.port.to_string()]));
    }

    fn refused(&mut self) -> Vec<Hopeless> {
        with(to("gone@example.org", self.port, Duration::from_secs(10)), &self.refused)
    }

    fn mendable(&mut self) -> Vec<Hopeless> {
        with(to("busy@example.org", self.port, Duration::from_secs(10)), &self.mendable)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e_mail_keeps_all_promises() {
    let port = tests::free_port();
    let server = Server::start(&["--port", &port.to_string()]);
    let mut post = Post { server: Some(server), port, refused: Vec::new(), mendable: Vec::new() };
    post.refused = episode(&to("gone@example.org", port, Duration::from_secs(10))).await;
    post.mendable = episode(&to("busy@example.org", port, Duration::from_secs(10))).await;
    suite(&mut post).await;
}
