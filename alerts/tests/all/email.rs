//! E-mail against a mail server of another make: what arrives, byte for byte the same at each try, signed on, over STARTTLS.

use alerts::notifiers::email::{EmailSettings, Tls};
use alerts::{AlarmStore, MemoryStore, Message, Notifier, SendError, Settings, TransitionBatch, conformance};
use model::To;
use model::secret::Secret;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tests::python::{SMTP, venv};

pub struct Server {
    child: Child,
    lines: Receiver<String>,
    port: u16,
}

impl Server {
    pub fn start(args: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/all/email/server.py");
        let mut command = Command::new(venv(SMTP));
        let mut child = command
            .arg(script)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python starts");
        let out = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let (sender, lines) = channel();
        std::thread::spawn(move || out.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let line: String = lines.recv().expect("it prints");
        let port = line.trim().parse().unwrap_or_else(|_| panic!("the mail server printed `{line}`"));
        Self { child, lines, port }
    }

    /// The next message it took: who from, who to, its bytes.
    pub fn taken(&self) -> serde_json::Value {
        let line = self.lines.recv_timeout(Duration::from_secs(60)).expect("it took something");
        serde_json::from_str(&line).unwrap()
    }

    /// Messages that it took and nobody asked for.
    pub fn waiting(&self) -> usize {
        self.lines.try_iter().count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn settings(port: u16, to: &[&str]) -> EmailSettings {
    EmailSettings {
        host: "localhost".to_owned(),
        port,
        tls: Tls::None,
        from: "监测 <firedamp@example.org>".parse().unwrap(),
        to: to.iter().map(|t| t.parse().unwrap()).collect(),
        login: None,
        ca: None,
        timeout: Duration::from_secs(5),
    }
}

/// The message of an alarm that opened, as it lies in the outbox.
async fn message(settings: &EmailSettings) -> Message {
    let receiver = alerts::Receiver::new("duty", Arc::new(settings.clone()));
    let store = MemoryStore::new(vec![receiver]).with_places(conformance::places());
    let transitions = vec![conformance::transition(1_764_000_000, "alarm", To::On, 1.62)];
    store.apply(TransitionBatch { partition: 0, next: 1, transitions, now: 5, hold: false }).await.unwrap();
    store.outbox_due("duty", i64::MAX, 1).await.unwrap().remove(0)
}

async fn send(settings: &EmailSettings, message: &Message) -> Result<(), SendError> {
    let notifier: Arc<dyn Notifier> = settings.connect().unwrap();
    notifier.send(message).await
}

/// Bytes as the server got them, with the line ends of the outbox.
pub fn bytes(taken: &serde_json::Value) -> Vec<u8> {
    let text = taken["data"].as_str().unwrap();
    let mut command =
        Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut command.stdin.take().unwrap(), text.as_bytes()).unwrap();
    command.wait_with_output().unwrap().stdout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_arrives_as_it_lies_in_the_outbox() {
    let server = Server::start(&[]);
    let settings = settings(server.port, &["值班 <duty@example.org>", "li@example.org"]);
    let message = message(&settings).await;
    for _ in 0..2 {
        send(&settings, &message).await.unwrap();
        let taken = server.taken();
        assert_eq!(taken["from"], "firedamp@example.org");
        assert_eq!(taken["to"], serde_json::json!(["duty@example.org", "li@example.org"]));
        let got = String::from_utf8(bytes(&taken)).unwrap();
        assert_eq!(got.trim_end(), String::from_utf8(message.body.clone()).unwrap().trim_end());
        assert!(got.contains(&format!("Message-ID: <{}@firedamp>", message.key)), "{got}");
        assert!(got.contains("Date: Mon, 24 Nov 2025 16:00:00 +0000"), "{got}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_gone_keeps_it_from_nobody_else() {
    let server = Server::start(&[]);
    let some = settings(server.port, &["duty@example.org", "gone@example.org", "li@example.org"]);
    let error = send(&some, &message(&some).await).await.unwrap_err();
    assert!(
        matches!(&error, SendError::Partly(e) if e.contains("gone@example.org") && e.contains("no such user")),
        "{error:?}"
    );
    assert_eq!(
        [server.taken(), server.taken()].map(|t| t["to"][0].as_str().unwrap().to_owned()),
        ["duty@example.org", "li@example.org"]
    );
    let none = settings(server.port, &["gone@example.org"]);
    let error = send(&none, &message(&none).await).await.unwrap_err();
    assert!(matches!(&error, SendError::Refused(e) if e.contains("no such user")), "{error:?}");
    let later = settings(server.port, &["busy@example.org"]);
    let error = send(&later, &message(&later).await).await.unwrap_err();
    assert!(matches!(&error, SendError::Retry(e) if e.contains("try again later")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_mended_later_so_nothing_is_given_up() {
    let server = Server::start(&["--login", "firedamp", "right"]);
    let mut settings = settings(server.port, &["duty@example.org"]);
    let message = message(&settings).await;
    settings.login = Some(("firedamp".to_owned(), Secret::new("wrong")));
    let error = send(&settings, &message).await.unwrap_err();
    assert!(matches!(error, SendError::Retry(_)), "{error:?}");
    settings.login = Some(("firedamp".to_owned(), Secret::new("right")));
    send(&settings, &message).await.unwrap();
    assert_eq!(server.taken()["login"], true);
}

/// A certificate for localhost, signed by itself: certificate and key.
fn certificate(dir: &Path) -> Option<(String, String)> {
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let (cert, key) = (cert.to_str()?.to_owned(), key.to_str()?.to_owned());
    let args = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost"];
    let mut command = Command::new("openssl");
    command.args(args).args([
        "-addext",
        "subjectAltName=DNS:localhost",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]);
    command.args(["-keyout", &key, "-out", &cert]).stderr(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Some((cert, key)),
        other => {
            eprintln!("SKIPPED: openssl makes no certificate: {other:?}");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starttls_is_wanted_and_the_certificate_checked() {
    let dir = tempfile::tempdir().unwrap();
    let Some((cert, key)) = certificate(dir.path()) else { return };
    let server = Server::start(&["--tls", &cert, &key]);
    let mut settings = settings(server.port, &["duty@example.org"]);
    let message = message(&settings).await;
    settings.tls = Tls::Starttls;
    let error = send(&settings, &message).await.unwrap_err();
    assert!(matches!(&error, SendError::Retry(_)), "an unknown certificate: {error:?}");
    settings.ca = Some(std::fs::read(&cert).unwrap());
    send(&settings, &message).await.unwrap();
    assert_eq!(server.taken()["tls"], true);
    // A server that does not offer it gets nothing.
    let plain = Server::start(&[]);
    settings.port = plain.port;
    let error = send(&settings, &message).await.unwrap_err();
    assert!(matches!(&error, SendError::Retry(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_or_is_not_there_is_tried_again() {
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings(hanging.local_addr().unwrap().port(), &["duty@example.org"]);
    settings.timeout = Duration::from_millis(200);
    let message = message(&settings).await;
    assert!(matches!(send(&settings, &message).await, Err(SendError::Retry(_))));
    drop(hanging);
    assert!(matches!(send(&settings, &message).await, Err(SendError::Retry(_))));
}
