//! What gateways say. One reading: topic `mine/<site>/gas/<point>`, `{"v":0.42,"t":1790000000000,"q":0}`. Many:
//! `mine/<site>/batch` (a plant: `plant/<site>/batch`), `{"readings":[{"p":"...","t":...,"v":...,"q":0}]}`. A person:
//! `mine/<site>/people`, `{"card":"...","name":"...","area":"...","station":"...","time":...,"out":false}`. `t` and
//! `time` are Unix milliseconds, `q` the national status bits, `v` null where there is no value, `out` whether the person
//! has come out.

use super::publisher::Message;
use crate::world::{Sample, Seen, SimSite};
use std::fmt::Write;

/// Whether a point has a topic of its own; the others go in the batch.
pub fn is_single(quantity: &str) -> bool {
    matches!(quantity, "ch4" | "co")
}

/// The body of one reading.
pub fn single(value: Option<f64>, t_ms: i64, status: i32) -> String {
    let mut out = String::with_capacity(48);
    out.push_str("{\"v\":");
    number(&mut out, value);
    let _ = write!(out, ",\"t\":{t_ms},\"q\":{status}}}");
    out
}

/// Builds the body of many readings.
#[derive(Clone, PartialEq, Debug)]
pub struct Batch {
    text: String,
    rows: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self { text: "{\"readings\":[".to_owned(), rows: 0 }
    }
}

impl Batch {
    /// Adds a reading.
    pub fn push(&mut self, point: &str, t_ms: i64, value: Option<f64>, status: i32) {
        if self.rows > 0 {
            self.text.push(',');
        }
        self.rows += 1;
        self.text.push_str("{\"p\":");
        quoted(&mut self.text, point);
        let _ = write!(self.text, ",\"t\":{t_ms},\"v\":");
        number(&mut self.text, value);
        let _ = write!(self.text, ",\"q\":{status}}}");
    }

    /// Readings in it.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The body; it begins anew.
    pub fn take(&mut self) -> String {
        let mut text = std::mem::take(self).text;
        text.push_str("]}");
        text
    }
}

/// All messages of a site at a moment, in the order they are sent.
pub fn site_messages(site: &SimSite, samples: &[Sample], t_ms: i64) -> Vec<Message> {
    let mut out = Vec::new();
    let mut batch = Batch::default();
    for (p, s) in site.points.iter().zip(samples) {
        if site.kind == "mine" && is_single(p.quantity) {
            let topic = format!("mine/{}/gas/{}", site.code, p.code);
            out.push(Message { topic, payload: single(s.value, t_ms, s.status).into_bytes() });
        } else {
            batch.push(&p.code, t_ms, s.value, s.status);
        }
    }
    if batch.rows() > 0 {
        let topic = format!("{}/{}/batch", site.kind, site.code);
        out.push(Message { topic, payload: batch.take().into_bytes() });
    }
    out
}

/// One message a person.
pub fn people_messages(site: &SimSite, people: &[Seen], t_ms: i64) -> Vec<Message> {
    let one = |(person, seen): (&crate::world::Person, &Seen)| {
        let area = &site.areas[seen.area];
        let payload = format!(
            "{{\"card\":\"{}\",\"name\":\"{}\",\"area\":\"{}\",\"station\":\"{}\",\"time\":{t_ms},\"out\":{}}}",
            person.card,
            person.name,
            area.code,
            area.station(seen.station),
            !seen.below,
        );
        Message { topic: format!("mine/{}/people", site.code), payload: payload.into_bytes() }
    };
    site.people.iter().zip(people).map(one).collect()
}

fn number(out: &mut String, value: Option<f64>) {
    match value.filter(|v| v.is_finite()) {
        Some(v) => drop(write!(out, "{v}")),
        None => out.push_str("null"),
    }
}

fn quoted(out: &mut String, text: &str) {
    // A plain code, as nearly all are, needs no escapes.
    if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json_as_documented() {
        assert_eq!(single(Some(0.42), 1_790_000_000_000, 5), r#"{"v":0.42,"t":1790000000000,"q":5}"#);
        assert_eq!(single(None, 1, 128), r#"{"v":null,"t":1,"q":128}"#);
        assert_eq!(single(Some(f64::NAN), 1, 0), r#"{"v":null,"t":1,"q":0}"#);
        let mut batch = Batch::default();
        batch.push("a", 1, Some(2.0), 0);
        batch.push("b\"\n", 1, Some(1e-7), 0);
        assert_eq!(batch.rows(), 2);
        let body: serde_json::Value = serde_json::from_str(&batch.take()).unwrap();
        assert_eq!(body["readings"][1]["p"], "b\"\n");
        assert_eq!(body["readings"][1]["v"], 1e-7);
        assert_eq!(batch.take(), r#"{"readings":[]}"#);
    }
}
