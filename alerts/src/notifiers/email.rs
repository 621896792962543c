//! E-mail by SMTP: the JSON of the outbox told in words, Chinese and English, with a Message-ID made of the key, so that a second
//! delivery is recognised as the same message.

use super::{Message, Notifier, SendError};
use async_trait::async_trait;
use lettre::message::{Mailbox, header::ContentType};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message as Mail, Tokio1Executor};
use model::keys::{KeyDoc, key};
use model::secret::{Secret, read_secret};
use model::toml_file::{Located, Section};
use serde_json::Value;
use std::fmt::Write;
use std::time::Duration;

/// Settings of e-mail.
#[derive(Clone, Debug)]
pub struct EmailOptions {
    /// Name or address of the mail server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// `none`, `starttls` (refused where the server does not offer it) or `tls`.
    pub tls: String,
    /// Sender.
    pub from: Mailbox,
    /// Receivers.
    pub to: Vec<Mailbox>,
    /// Sign-on.
    pub login: Option<(String, Secret)>,
    /// Longest time of one try.
    pub timeout: Duration,
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
    key("timeout", "duration", "\"30s\"", "longest time of one try"),
];

/// Reads the settings.
pub fn read(s: &Section<'_>) -> Option<EmailOptions> {
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
    if !s.has("to") {
        s.missing("to", "[\"duty@example.org\"]");
    }
    let to: Vec<Mailbox> = s.strs("to").unwrap_or_default().iter().filter_map(mailbox).collect();
    let user = s.str("user").map(|u| u.value.to_owned());
    let password = s.has("password").then(|| read_secret(s, "password")).flatten();
    let timeout =
        s.duration("timeout").map_or(Duration::from_secs(30), |d| Duration::from_micros(d.value as u64));
    let host = host?.value.to_owned();
    if tls == "none" && !["127.0.0.1", "localhost", "::1"].contains(&host.as_str()) {
        s.error("`tls = \"none\"` is for a mail server on loopback", "use `starttls` or `tls`");
        return None;
    }
    let login = user.zip(password);
    Some(EmailOptions { host, port, tls: tls.to_owned(), from: from?, to, login, timeout })
}

/// Sends by SMTP.
pub struct Email {
    options: EmailOptions,
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl Email {
    /// Prepares the connection; it is made at the first message.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(options: EmailOptions) -> Result<Self, String> {
        type Smtp = AsyncSmtpTransport<Tokio1Executor>;
        let builder = match options.tls.as_str() {
            "none" => Smtp::builder_dangerous(&options.host),
            "tls" => Smtp::relay(&options.host).map_err(|e| e.to_string())?,
            _ => Smtp::starttls_relay(&options.host).map_err(|e| e.to_string())?,
        };
        let mut builder = builder.port(options.port).timeout(Some(options.timeout));
        if let Some((user, password)) = &options.login {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        Ok(Self { transport: builder.build(), options })
    }

    fn mail(&self, message: &Message) -> Result<Mail, String> {
        let body: Value = serde_json::from_slice(&message.body).map_err(|e| e.to_string())?;
        let (subject, text) = words(&body);
        let mut mail = Mail::builder()
            .from(self.options.from.clone())
            .message_id(Some(format!("<{}@firedamp>", message.key)))
            .subject(subject)
            .header(ContentType::TEXT_PLAIN);
        for to in &self.options.to {
            mail = mail.to(to.clone());
        }
        mail.body(text).map_err(|e| e.to_string())
    }
}

/// Terms of the glossary, code, Chinese, English.
const TERMS: [(&str, &str, &str); 8] = [
    ("raised", "报警", "alarm"),
    ("changed", "报警变化", "alarm changed"),
    ("cleared", "报警解除", "alarm cleared"),
    ("digest", "补报汇总", "late digest"),
    ("red", "红色", "red"),
    ("orange", "橙色", "orange"),
    ("yellow", "黄色", "yellow"),
    ("blue", "蓝色", "blue"),
];

fn term(code: &str) -> String {
    match TERMS.iter().find(|(c, ..)| *c == code) {
        Some((_, zh, en)) => format!("{zh} ({en})"),
        None => code.to_owned(),
    }
}

/// Subject and text of a message.
fn words(body: &Value) -> (String, String) {
    let event = term(body["event"].as_str().unwrap_or_default());
    let alarms: Vec<&Value> = match body["alarms"].as_array() {
        Some(list) => list.iter().collect(),
        None => vec![&body["alarm"]],
    };
    let text = |a: &Value, key: &str| a[key].as_str().unwrap_or("-").to_owned();
    let first = alarms.first().copied().unwrap_or(&Value::Null);
    let more = if alarms.len() > 1 { format!(" +{}", alarms.len() - 1) } else { String::new() };
    let (site, point) = (text(first, "site"), text(first, "point"));
    let subject = format!("{event} {} {site} {point}{more}", term(&text(first, "severity")));
    let mut out = String::new();
    for a in alarms {
        let _ = writeln!(out, "{event}  {}", term(&text(a, "severity")));
        let _ = writeln!(out, "单位 site: {}\n测点 point: {}", text(a, "site"), text(a, "point"));
        let _ = writeln!(
            out,
            "规则 rule: {} / {}\n原因 reason: {}",
            text(a, "rule"),
            text(a, "level"),
            text(a, "reason")
        );
        let _ = writeln!(
            out,
            "峰值 peak: {}\n开始 opened: {}\n结束 closed: {}",
            a["peak"],
            text(a, "opened"),
            text(a, "closed")
        );
        let _ = writeln!(out, "编号 id: {}\n", text(a, "id"));
    }
    (subject, out)
}

#[async_trait]
impl Notifier for Email {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let mail = self.mail(message).map_err(SendError::Refused)?;
        match self.transport.send(mail).await {
            Ok(_) => Ok(()),
            Err(e) if e.is_permanent() => Err(SendError::Refused(e.to_string())),
            Err(e) => Err(SendError::Retry(e.to_string())),
        }
    }
}
