//! Rows to messages, and the section that reads them.

use super::Row;
use crate::mqtt::Message;
use crate::mqtt::payload::{Batch, single};
use anyhow::{Context, bail};
use std::collections::BTreeMap;

/// Puts rows into messages.
pub(super) struct Shape {
    topic: String,
    rows_per_message: usize,
    /// What waits for more rows, by site.
    open: BTreeMap<String, (Batch, usize)>,
}

impl Shape {
    pub fn new(topic: &str, rows_per_message: usize) -> anyhow::Result<Self> {
        if rows_per_message == 0 {
            bail!("0 rows in a message: write at least 1");
        }
        if topic.is_empty() || topic.contains(['+', '#']) {
            bail!("topic `{topic}`: write a topic without wildcards, for example mine/{{site}}/batch");
        }
        Ok(Self { topic: topic.to_owned(), rows_per_message, open: BTreeMap::new() })
    }

    fn topic(&self, site: &str, point: &str) -> String {
        self.topic.replace("{site}", site).replace("{point}", point)
    }

    /// The messages that a row completes.
    pub fn add(&mut self, row: &Row, points: &[String]) -> Vec<Message> {
        let t_ms = row.time / 1000;
        if self.topic.contains("{point}") {
            let one = |(point, value, status): &(usize, Option<f64>, i32)| Message {
                topic: self.topic(&row.site, &points[*point]),
                payload: single(*value, t_ms, *status).into_bytes(),
            };
            return row.readings.iter().map(one).collect();
        }
        let (batch, rows) = self.open.entry(row.site.clone()).or_default();
        for (point, value, status) in &row.readings {
            batch.push(&points[*point], t_ms, *value, *status);
        }
        *rows += 1;
        if *rows < self.rows_per_message {
            return Vec::new();
        }
        *rows = 0;
        let payload = batch.take().into_bytes();
        vec![Message { topic: self.topic(&row.site, ""), payload }]
    }

    /// What is left at the end of the file.
    pub fn rest(&mut self) -> Vec<Message> {
        let open = std::mem::take(&mut self.open);
        let left = open.into_iter().filter(|(_, (batch, _))| batch.rows() > 0);
        left.map(|(site, (mut batch, _))| Message {
            topic: self.topic(&site, ""),
            payload: batch.take().into_bytes(),
        })
        .collect()
    }
}

/// The section that reads what [`Shape`] makes. Nothing in it is beyond rumqttd, which knows no $SYS.
pub(super) fn source_toml(name: &str, url: &str, topic: &str) -> anyhow::Result<String> {
    let part = |word: &str| topic.split('/').position(|p| p == word);
    let site = part("{site}")
        .with_context(|| format!("topic `{topic}` has no part `{{site}}` to take the site from"))?;
    let filter = topic.replace("{site}", "+").replace("{point}", "+");
    let map = match part("{point}") {
        Some(point) => format!(
            "map = {{ site = \"{{{site}}}\", point = \"{{{point}}}\", value = \"/v\", time = \"/t\", status = \"/q\" }}"
        ),
        None => format!(
            "each = \"/readings\"\nmap = {{ site = \"{{{site}}}\", point = \"/p\", value = \"/v\", time = \"/t\", status = \
             \"/q\" }}"
        ),
    };
    Ok(format!(
        "[[source]]\nname = \"{name}\"\nkind = \"mqtt\"\nurl = \"{url}\"\ntopics = [\"{filter}\"]\ntime = \
         \"replay\"\nprotocol = \"3.1.1\"\nwatch_broker = false\n{map}\n"
    ))
}
