//! Plays a CSV of readings through a protocol, exactly: every reading once, with its own time.
//!
//! Two forms of file ([`Columns`]). Long: firedamp's own `site,point,time,value,status`. Wide: the first row names the
//! points, row n (from 0) has the time `start + step * n`. An empty value is a missing one; anything that is not a number
//! stops the replay with its line. Times must be whole milliseconds, as that is what the protocols carry.
//!
//! Over MQTT each message is acknowledged by the broker before its place in the window is free again, and [`replay`]
//! returns when all are. Over Modbus the reader sets the pace ([`ModbusReplay`]).

use crate::mqtt::{Progress, Publisher, PublisherOptions};
use anyhow::{Context, bail};
use model::Micros;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

mod modbus;
mod mqtt;
mod rows;

pub use modbus::{AtEnd, ModbusReplay};
pub use rows::{Row, Rows};

/// The form of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Columns {
    /// `site,point,time,value` and perhaps `status`, in any order.
    Long,
    /// The first row names points. `only` names those that are played; empty: all.
    Wide {
        /// Site of all points.
        site: String,
        /// Time of row 0.
        start: Micros,
        /// From row to row.
        step: Duration,
        /// Columns that are played.
        only: Vec<String>,
    },
}

/// How fast.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Speed {
    /// As fast as the broker acknowledges.
    AsAcknowledged,
    /// So many times as fast as the times in the file.
    Times(f64),
}

/// Through what.
#[derive(Clone, PartialEq, Debug)]
pub enum ReplayProtocol {
    /// To a broker.
    Mqtt {
        /// `mqtt://host:port`.
        url: String,
        /// Topic; `{site}` and `{point}` are replaced. With `{point}` each reading is a message of its own, without it a
        /// message carries many ([`crate::mqtt::payload`] shows both).
        topic: String,
        /// Rows of the file in a message, at least 1. Without meaning where the topic names the point.
        rows_per_message: usize,
        /// Unacknowledged messages under way, 1 to 4096.
        window: usize,
        /// Client id.
        client: String,
    },
    /// As a device that shows the next row at each poll.
    Modbus {
        /// Where it listens.
        listen: SocketAddr,
        /// What it does after the last row.
        at_end: AtEnd,
    },
}

/// What is played, how fast, through what.
#[derive(Clone, PartialEq, Debug)]
pub struct ReplayOptions {
    /// Form of the file.
    pub columns: Columns,
    /// Speed; Modbus goes at the reader's.
    pub speed: Speed,
    /// Protocol.
    pub protocol: ReplayProtocol,
}

/// What was played.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReplayReport {
    /// Rows of the file that were sent or shown.
    pub rows: u64,
    /// Readings in them.
    pub readings: u64,
    /// Messages; 0 over Modbus.
    pub messages: u64,
    /// Of those, acknowledged.
    pub acknowledged: u64,
    /// Messages sent again after a lost link: the broker may have passed them on twice.
    pub repeated: u64,
    /// Whether the whole file was played.
    pub complete: bool,
    /// How long it took.
    pub took: Duration,
}

/// Plays a file until its end, or until `stop` is cancelled (the report says which). Over Modbus it also ends when the
/// reader has asked once more after the last row, so it certainly has that one.
///
/// # Errors
/// A file that cannot be read or played (with its line), an address that is none, a port that cannot be bound.
pub async fn replay(
    file: &Path,
    options: &ReplayOptions,
    stop: CancellationToken,
) -> anyhow::Result<ReplayReport> {
    let began = Instant::now();
    let mut report = match &options.protocol {
        ReplayProtocol::Mqtt { .. } => over_mqtt(file, options, &stop).await?,
        ReplayProtocol::Modbus { .. } => {
            let device = ModbusReplay::start(file, options).await?;
            tracing::info!(addr = %device.addr, "the device of the replay listens");
            tokio::select! {
                () = stop.cancelled() => {}
                () = device.finished() => {}
            }
            device.stop().await
        }
    };
    report.took = began.elapsed();
    Ok(report)
}

async fn over_mqtt(
    file: &Path,
    options: &ReplayOptions,
    stop: &CancellationToken,
) -> anyhow::Result<ReplayReport> {
    let ReplayProtocol::Mqtt { url, topic, rows_per_message, window, client } = &options.protocol else {
        bail!("not a replay over MQTT");
    };
    if let Speed::Times(times) = options.speed
        && !(times > 0.0 && times.is_finite())
    {
        bail!("speed {times}: write a number above 0");
    }
    let mut rows = Rows::open(file, &options.columns)?;
    let mut shape = mqtt::Shape::new(topic, *rows_per_message)?;
    let publisher = PublisherOptions { url: url.clone(), client: client.clone(), window: *window };
    let mut publisher = Publisher::start(publisher, CancellationToken::new())?;
    let mut report = ReplayReport::default();
    let played = play(&mut rows, &mut shape, &mut publisher, options.speed, stop, &mut report).await;
    let Progress { acknowledged, repeated, .. } = publisher.stop().await;
    played?;
    Ok(ReplayReport { acknowledged, repeated, ..report })
}

async fn play(
    rows: &mut Rows,
    shape: &mut mqtt::Shape,
    publisher: &mut Publisher,
    speed: Speed,
    stop: &CancellationToken,
    report: &mut ReplayReport,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut first = None;
    let sending = async {
        while let Some(row) = rows.next_row()? {
            if let Speed::Times(times) = speed {
                let since = (row.time - *first.get_or_insert(row.time)).max(0);
                tokio::time::sleep_until(began + Duration::from_micros(since as u64).div_f64(times)).await;
            }
            report.rows += 1;
            report.readings += row.readings.len() as u64;
            for message in shape.add(&row, rows.points()) {
                publisher.send(&message).await?;
                report.messages += 1;
            }
        }
        for message in shape.rest() {
            publisher.send(&message).await?;
            report.messages += 1;
        }
        publisher.settled().await
    };
    tokio::select! {
        biased; // a stop ends a replay that waits for a broker
        () = stop.cancelled() => Ok(()),
        sent = sending => {
            sent?;
            report.complete = true;
            Ok(())
        }
    }
}

impl ReplayOptions {
    /// The `[[source]]` section that makes firedamp read this replay, marked as a replay. `device` is where the Modbus
    /// device listens ([`ModbusReplay::addr`]); `every` is how often it is polled.
    ///
    /// # Errors
    /// When the file cannot be read: the section names its points.
    pub fn source_toml(
        &self,
        name: &str,
        file: &Path,
        device: SocketAddr,
        every: Duration,
    ) -> anyhow::Result<String> {
        match &self.protocol {
            ReplayProtocol::Mqtt { url, topic, .. } => mqtt::source_toml(name, url, topic),
            ReplayProtocol::Modbus { .. } => {
                let Columns::Wide { site, start, step, .. } = &self.columns else {
                    bail!("only a wide file has evenly spaced rows, as a replay over Modbus needs");
                };
                let rows =
                    Rows::open(file, &self.columns).context("the section names the points of the file")?;
                Ok(modbus::source_toml(name, device, every, site, (*start, *step), rows.points()))
            }
        }
    }
}
