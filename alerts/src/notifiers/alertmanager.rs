//! Alertmanager of Prometheus, API v2: an alarm as an alert, so that an Alertmanager that is there already groups, silences and pages.
//!
//! - **What an alert is.** Alertmanager knows an alert by its labels and tells of it once. They are: `alertname` (the rule), `site`, `point`,
//!   `region`, `quantity`, `alarm` (the id) and `receiver` (the name of this one), which stay what they are from the first to the last
//!   message of an alarm, and `level` and `severity`, by which people route. So an alarm that rises is a new alert, which is told anew,
//!   and the message that fires it resolves the one before under the labels that it was fired with. The id is there because messages
//!   of two alarms of one rule and point have no order: the end of the one must not resolve the other.
//! - **Nothing fires on that the newest message does not say.** A message that resolves an alert may have been given up, or `labels` may
//!   have changed since the alert was fired. So what else fires there with the id and the receiver's name is looked for after each
//!   message, and resolved. Only while that has not been done is a message tried again that Alertmanager has already taken.
//! - **`endsAt`.** Prometheus repeats an alert, and one not repeated is resolved after `resolve_timeout`. A message of the outbox is sent
//!   once, with bytes that never change, so an active alert ends at [`FAR`], and the message of its end says the real time.
//! - **Times** are never after the decision: a device clock that is ahead would keep an alert firing after its end, or make it end before
//!   it begins, which Alertmanager refuses.
//! - A digest is one alert for each alarm of it. They are over: Alertmanager tells nobody of an alert that is resolved when it first
//!   hears of it.
//!
//! Alertmanager keeps alerts in memory: after its own restart it knows an active alarm again with its next change. It has no
//! idempotency key; the labels do that.

use super::email::text;
use super::{Message, Notice, Notifier, SendError, Settings, http, read_timeout};
use async_trait::async_trait;
use model::keys::{KeyDoc, key};
use model::pem::read_certificates;
use model::secret::{Login, read_login};
use model::time::{TIME_MAX, parse, rfc3339};
use model::toml_file::Section;
use model::{Alarm, AlarmState, Micros, Severity};
use reqwest::RequestBuilder;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// When an active alert ends: after the latest time that a reading can have.
const FAR: Micros = TIME_MAX;

/// Settings of Alertmanager.
#[derive(Clone, Debug)]
pub struct AlertmanagerSettings {
    /// Name of the receiver, a label: two receivers may be one Alertmanager.
    pub name: String,
    /// Where it is, without `/api/v2/alerts`.
    pub url: String,
    /// Labels beside those of the alarm.
    pub labels: Vec<(String, String)>,
    /// Where a person sees the alarm; `{id}` in it becomes its id.
    pub link: Option<String>,
    /// Sign-on.
    pub login: Option<Login>,
    /// Certificates trusted beside those of the machine, PEM.
    pub ca: Option<Vec<u8>>,
    /// Longest time of one try.
    pub timeout: Duration,
}

/// Keys of Alertmanager.
pub const KEYS: &[KeyDoc] = &[
    key(
        "url",
        "text",
        "-",
        "the Alertmanager; alerts are POSTed to `/api/v2/alerts` below it, and those that still fire are read there",
    ),
    key(
        "labels",
        "list of texts",
        "",
        "`name=value`: labels beside alertname (the rule), site, point, region, quantity, level, severity, alarm (the id), receiver \
         (its name) and drill",
    ),
    key("link", "text", "", "generatorURL: where a person sees the alarm; `{id}` in it becomes its id"),
    key("user", "text", "", "name for signing on (basic authentication)"),
    key("password", "{ env } or { file }", "", "password for signing on"),
    key("ca", "text", "", "file of certificates in PEM that are trusted beside those of the machine"),
    key("timeout", "duration", "\"10s\"", "longest time of one try, from 1s to 1h"),
];

/// Labels that firedamp sets.
const OWN: [&str; 10] =
    ["alertname", "site", "point", "region", "quantity", "level", "severity", "alarm", "receiver", "drill"];

/// Reads the settings.
pub fn read(s: &Section<'_>) -> Option<Arc<dyn Settings>> {
    let url = s.need_str("url", "\"http://127.0.0.1:9093\"");
    let (labels, link) = (read_labels(s), s.str("link"));
    let (login, ca) = (read_login(s, "user"), read_certificates(s, "ca"));
    let timeout = read_timeout(s, Duration::from_secs(10));
    let url = http::read_url(s, &url?, "use the keys `user` and `password`")?;
    let link = match link {
        Some(link) if reqwest::Url::parse(&link.value.replace("{id}", "0")).is_err() => {
            s.file().error_at(link.at, format!("`{}` is no address", link.value), "");
            return None;
        }
        link => link.map(|l| l.value.to_owned()),
    };
    let url = url.trim_end_matches('/').to_owned();
    Some(Arc::new(AlertmanagerSettings {
        name: s.str("name")?.value.to_owned(),
        url,
        labels: labels?,
        link,
        login: login?,
        ca: ca?,
        timeout: timeout?,
    }))
}

/// `None` where one cannot be used.
fn read_labels(s: &Section<'_>) -> Option<Vec<(String, String)>> {
    let mut out = Vec::new();
    for text in s.strs("labels").unwrap_or_default() {
        let error = |message: String, help: &str| s.file().error_at(text.at, message, help);
        let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
        let Some((name, value)) = text.value.split_once('=') else {
            error(format!("`{}` is no label", text.value), "write \"name=value\"");
            return None;
        };
        if OWN.contains(&name) {
            error(format!("label `{name}` is set by firedamp"), "give it another name");
            return None;
        }
        if !name.starts_with(letter) || !name.chars().all(|c| letter(c) || c.is_ascii_digit()) {
            let help = "letters, digits and `_`, not beginning with a digit";
            error(format!("`{name}` is no name of a label"), help);
            return None;
        }
        out.push((name.to_owned(), value.to_owned()));
    }
    Some(out)
}

impl AlertmanagerSettings {
    /// An alert of an alarm as it was shown: firing, or over since `ended`.
    fn alert(&self, n: &Notice<'_>, alarm: &Alarm, shown: (&str, Severity), ended: Option<Micros>) -> Value {
        let (level, severity) = shown;
        let drill = if alarm.marks.simulated { "true" } else { "" };
        let of_alarm: [(&str, &str); 10] = [
            ("alertname", alarm.rule.as_str()),
            ("site", &alarm.site),
            ("point", &alarm.point),
            ("region", &alarm.place.region),
            ("quantity", &alarm.place.quantity),
            ("level", level),
            ("severity", severity.as_str()),
            ("alarm", &alarm.id),
            ("receiver", &self.name),
            ("drill", drill),
        ];
        let more = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // An empty label is none to Alertmanager.
        let labels = of_alarm.into_iter().chain(more).filter(|(_, value)| !value.is_empty());
        let labels: Map<String, Value> =
            labels.map(|(name, value)| (name.to_owned(), value.into())).collect();
        let starts = alarm.opened.min(n.time);
        let mut alert = json!({
            "labels": labels,
            "annotations": annotations(n, alarm),
            "startsAt": rfc3339(starts),
            "endsAt": rfc3339(ended.map_or(FAR, |ended| ended.min(n.time)).max(starts)),
        });
        if let Some(link) = &self.link {
            alert["generatorURL"] = link.replace("{id}", &alarm.id).into();
        }
        alert
    }

    /// The alerts that say what a notice says of one alarm.
    fn alerts(&self, n: &Notice<'_>, alarm: &Alarm) -> Vec<Value> {
        let shown = (alarm.level.as_str(), alarm.severity);
        let before = n.before.unwrap_or(shown);
        if alarm.state == AlarmState::Closed {
            return vec![self.alert(n, alarm, before, alarm.closed)];
        }
        let mut out = vec![self.alert(n, alarm, shown, None)];
        if before != shown {
            out.push(self.alert(n, alarm, before, Some(alarm.changed)));
        }
        out
    }
}

fn annotations(n: &Notice<'_>, alarm: &Alarm) -> Value {
    let mut out = json!({
        "summary": text::subject(&Notice { alarms: &[alarm], ..*n }),
        "reason": alarm.reason,
    });
    if let Some(peak) = alarm.peak {
        out["value"] = format!("{peak} {}", alarm.place.unit).trim_end().into();
    }
    out
}

impl Settings for AlertmanagerSettings {
    fn render(&self, notice: &Notice<'_>) -> Vec<u8> {
        let alerts: Vec<Value> = notice.alarms.iter().flat_map(|a| self.alerts(notice, a)).collect();
        Value::Array(alerts).to_string().into_bytes()
    }

    fn connect(&self) -> Result<Arc<dyn Notifier>, String> {
        let Self { name, login, timeout, .. } = self.clone();
        let client = http::client(self.ca.as_deref(), timeout)?;
        let url = format!("{}/api/v2/alerts", self.url);
        Ok(Arc::new(Alertmanager { name, url, login, timeout, client }))
    }
}

/// Posts alerts.
pub struct Alertmanager {
    name: String,
    url: String,
    login: Option<Login>,
    timeout: Duration,
    client: reqwest::Client,
}

#[async_trait]
impl Notifier for Alertmanager {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let told = async {
            self.post(message.body.clone()).await?;
            self.resolve_others(message).await
        };
        let late = || SendError::Retry(format!("not done within {:?}", self.timeout));
        tokio::time::timeout(self.timeout, told).await.unwrap_or_else(|_| Err(late()))
    }
}

/// An alert as Alertmanager shows it, as far as it must be given back.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL", default, skip_serializing_if = "String::is_empty")]
    link: String,
}

impl Alertmanager {
    fn signed_on(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.login {
            Some((user, password)) => request.basic_auth(user, Some(password.expose())),
            None => request,
        }
    }

    async fn post(&self, alerts: Vec<u8>) -> Result<(), SendError> {
        let request = self.client.post(&self.url).header("content-type", "application/json");
        http::send(self.signed_on(request).body(alerts)).await
    }

    /// What fires of the alarm and is not in its newest message is over since that was written.
    async fn resolve_others(&self, message: &Message) -> Result<(), SendError> {
        if message.alarm.is_empty() {
            return Ok(());
        }
        let unseen = |e| SendError::Retry(format!("which alerts still fire cannot be read: {e}"));
        // The id is hex digits.
        let asked = self.client.get(format!("{}?filter=alarm%3D%22{}%22", self.url, message.alarm));
        let firing: Vec<Alert> = http::ask(self.signed_on(asked)).await.map_err(unseen)?;
        let said: Vec<Alert> = serde_json::from_slice(&message.body).unwrap_or_default();
        let is = |alert: &Alert, name: &str, value: &str| alert.labels.get(name).is_some_and(|v| v == value);
        let over = firing
            .into_iter()
            .filter(|a| is(a, "alarm", &message.alarm) && is(a, "receiver", &self.name))
            .filter(|a| said.iter().all(|said| said.labels != a.labels))
            .map(|a| {
                let starts = parse(&a.starts_at).unwrap_or(message.created);
                Alert { ends_at: rfc3339(message.created.max(starts)), ..a }
            });
        let over: Vec<Alert> = over.collect();
        if over.is_empty() {
            return Ok(());
        }
        self.post(serde_json::to_vec(&over).expect("alerts are plain texts")).await
    }
}
