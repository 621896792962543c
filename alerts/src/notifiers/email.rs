//! E-mail through SMTP. The whole message of RFC 5322, Date and Message-ID included, is rendered into the outbox: Chinese first, then
//! English, plain text. STARTTLS is required unless the configuration says otherwise; the connection is made for each message.
//!
//! A server that refuses the content or all addresses for good is believed; everything else is tried again, a refused sign-on too.
//! Where it refuses only some of the addresses the others get the message.

use super::{Message, Notice, Notifier, SendError, Settings, read_timeout};
use async_trait::async_trait;
use lettre::address::Envelope;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls as SmtpTls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message as Mail, Tokio1Executor};
use model::keys::{KeyDoc, key};
use model::pem::read_certificates;
use model::secret::{Login, read_login};
use model::toml_file::{Located, Section};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(super) mod text;

/// Settings of e-mail.
#[derive(Clone, Debug)]
pub struct EmailSettings {
    /// Name or address of the mail server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: Tls,
    /// Sender.
    pub from: Mailbox,
    /// Receivers.
    pub to: Vec<Mailbox>,
    /// Sign-on.
    pub login: Option<Login>,
    /// Certificates trusted beside the usual ones, PEM.
    pub ca: Option<Vec<u8>>,
    /// Longest time of one step of the conversation.
    pub timeout: Duration,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tls {
    /// Not at all: a server on loopback.
    None,
    /// By STARTTLS; refused where the server does not offer it.
    Starttls,
    /// From the first byte.
    Tls,
}

/// Keys of e-mail.
pub const KEYS: &[KeyDoc] = &[
    key("host", "text", "-", "name or address of the mail server"),
    key("port", "number", "587", "its port"),
    key(
        "tls",
        "`none`, `starttls` or `tls`",
        "\"starttls\"",
        "how the connection is protected; `none` only for a server on loopback",
    ),
    key("from", "text", "-", "sender"),
    key("to", "list of texts", "-", "receivers"),
    key("user", "text", "", "name for signing on"),
    key("password", "{ env } or { file }", "", "password for signing on"),
    key("ca", "text", "", "file of certificates in PEM that are trusted beside the usual ones"),
    key("timeout", "duration", "\"30s\"", "longest time of one try, from 1s to 1h"),
];

/// Reads the settings.
pub fn read(s: &Section<'_>) -> Option<Arc<dyn Settings>> {
    let mailbox = |text: &Located<&str>| match text.value.parse::<Mailbox>() {
        Ok(mailbox) => Some(mailbox),
        Err(e) => {
            s.file().error_at(text.at, format!("`{}` is no mail address: {e}", text.value), "");
            None
        }
    };
    let host = s.need_str("host", "\"mail.example.org\"");
    let port = s.int("port", 1, 65535).map_or(587, |p| p.value as u16);
    let tls = s.one_of("tls", &["none", "starttls", "tls"]).map_or("starttls", |t| t.value);
    let from = s.need_str("from", "\"firedamp@example.org\"").as_ref().and_then(mailbox);
    let to: Vec<Mailbox> = s.strs("to").unwrap_or_default().iter().filter_map(mailbox).collect();
    if to.is_empty() {
        s.missing("to", "[\"duty@example.org\"]");
    }
    let (login, ca) = (read_login(s, "user"), read_certificates(s, "ca"));
    let timeout = read_timeout(s, Duration::from_secs(30));
    let host = host?.value.to_owned();
    if tls == "none" && !["127.0.0.1", "localhost", "::1"].contains(&host.as_str()) {
        s.error("`tls = \"none\"` is for a mail server on loopback", "use `starttls` or `tls`");
        return None;
    }
    let tls = match tls {
        "none" => Tls::None,
        "tls" => Tls::Tls,
        _ => Tls::Starttls,
    };
    (!to.is_empty()).then_some(())?;
    Some(Arc::new(EmailSettings {
        host,
        port,
        tls,
        from: from?,
        to,
        login: login?,
        ca: ca?,
        timeout: timeout?,
    }))
}

impl Settings for EmailSettings {
    fn render(&self, notice: &Notice<'_>) -> Vec<u8> {
        let (subject, text) = text::words(notice);
        let mut mail = Mail::builder()
            .from(self.from.clone())
            .message_id(Some(format!("<{}@firedamp>", notice.key)))
            .date(SystemTime::UNIX_EPOCH + Duration::from_micros(notice.time.max(0) as u64))
            .subject(subject)
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        // An empty message is refused when it is to be sent, and becomes a dead letter.
        mail.body(text).map(|mail| mail.formatted()).unwrap_or_default()
    }

    fn connect(&self) -> Result<Arc<dyn Notifier>, String> {
        Ok(Arc::new(Email::new(self)?))
    }
}

/// Sends by SMTP.
pub struct Email {
    from: Address,
    to: Vec<Address>,
    transport: AsyncSmtpTransport<Tokio1Executor>,
    timeout: Duration,
}

impl Email {
    /// Prepares the connection; it is made at each message.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(settings: &EmailSettings) -> Result<Self, String> {
        let tls = match settings.tls {
            Tls::None => SmtpTls::None,
            Tls::Tls => SmtpTls::Wrapper(parameters(settings)?),
            Tls::Starttls => SmtpTls::Required(parameters(settings)?),
        };
        let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host);
        let mut builder = builder.port(settings.port).tls(tls).timeout(Some(settings.timeout));
        if let Some((user, password)) = &settings.login {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        let to = settings.to.iter().map(|m| m.email.clone()).collect();
        Ok(Self {
            from: settings.from.email.clone(),
            to,
            transport: builder.build(),
            timeout: settings.timeout,
        })
    }

    async fn send_to(&self, to: &[Address], body: &[u8]) -> Result<(), SendError> {
        let envelope = Envelope::new(Some(self.from.clone()), to.to_vec())
            .map_err(|e| SendError::Refused(e.to_string()))?;
        match tokio::time::timeout(self.timeout, self.transport.send_raw(&envelope, body)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(e)) if is_final(&e) => Err(SendError::Refused(e.to_string())),
            Ok(Err(e)) => Err(SendError::Retry(e.to_string())),
            Err(_) => Err(SendError::Retry(format!(
                "the mail server did not answer within {} s",
                self.timeout.as_secs_f64()
            ))),
        }
    }
}

fn parameters(settings: &EmailSettings) -> Result<TlsParameters, String> {
    let mut parameters = TlsParameters::builder(settings.host.clone());
    if let Some(pem) = &settings.ca {
        parameters = parameters.add_root_certificate(Certificate::from_pem(pem).map_err(|e| e.to_string())?);
    }
    parameters.build().map_err(|e| e.to_string())
}

/// Whether the server refused this content or this address, not us: of the final answers those about mailbox and message.
fn is_final(e: &lettre::transport::smtp::Error) -> bool {
    let code = e.status().map(|c| c.to_string());
    code.is_some_and(|c| {
        matches!(c.as_str(), "501" | "541" | "550" | "551" | "552" | "553" | "554" | "555" | "556")
    })
}

#[async_trait]
impl Notifier for Email {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        if message.body.is_empty() {
            return Err(SendError::Refused(
                "the message could not be put into the form of an e-mail".to_owned(),
            ));
        }
        let first = match self.send_to(&self.to, &message.body).await {
            Err(SendError::Refused(e)) if self.to.len() > 1 => e,
            end => return end,
        };
        // Nobody got it: one by one, so that an address that is gone keeps it from nobody else.
        let (mut taken, mut refused) = (0, Vec::new());
        for to in &self.to {
            match self.send_to(std::slice::from_ref(to), &message.body).await {
                Ok(()) => taken += 1,
                Err(SendError::Refused(e)) => refused.push(format!("{to}: {e}")),
                Err(e) => return Err(e),
            }
        }
        match (taken, refused.is_empty()) {
            (0, _) => Err(SendError::Refused(first)),
            (_, true) => Ok(()),
            (_, false) => Err(SendError::Partly(refused.join("; "))),
        }
    }
}
