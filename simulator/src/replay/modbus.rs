//! A device that shows a file row by row. One slave (1), N columns, all in holding registers, byte order ABCD:
//!
//! | address | what |
//! |---|---|
//! | 4 i | value of column i, f64; NaN where it is missing |
//! | 4 N + i | its status word, u16 |
//! | 5 N | number of the row, from 0, u32 |
//! | 5 N + 2 | time of the row, Unix milliseconds, u64 |
//! | 5 N + 6 | rows of the file, u32 |
//! | 5 N + 8 | 1 while the last row is shown, u16; also discrete input 0 |
//!
//! **One poll, one row.** A read of holding registers that begins at address 0 (and fits) moves to the next row before it
//! is answered; the first such read shows row 0. Every other read shows the row as it stands. So a reader that asks for
//! address 0 once a poll, first, sees each row once, however many requests its poll takes. Two readers, or a probe beside
//! one, share the rows between them. A reader that loses an answer loses that row: the device cannot know.
//!
//! After the last row it stays on it ([`AtEnd::Stay`]: the number of the row does not move, so a reader that looks at it
//! sees no new one) or refuses with exception 6, busy ([`AtEnd::Refuse`]: for a reader that counts polls).

use super::{Columns, ReplayOptions, ReplayProtocol, ReplayReport, Row, Rows};
use crate::modbus::encode::{Kind, Order, registers};
use crate::modbus::{Faults, Image, ModbusServer, Table, Unit};
use anyhow::{Context, bail};
use model::Micros;
use model::time::{rfc3339, show_duration};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The slave.
const UNIT: u8 = 1;
/// Columns that fit into a table of 65,536 registers.
const COLUMNS_MAX: usize = 13_000;
const BUSY: u8 = 6;

/// What the device does after the last row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtEnd {
    /// Stays on it.
    Stay,
    /// Refuses further polls.
    Refuse,
}

/// A device at work.
#[derive(Debug)]
pub struct ModbusReplay {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Rows of the file.
    pub rows: u64,
    columns: usize,
    polls: watch::Receiver<u64>,
    server: ModbusServer,
}

impl ModbusReplay {
    /// Reads the whole file and listens.
    ///
    /// # Errors
    /// As [`super::replay`]; besides, each row must have all points, of one site.
    pub async fn start(file: &Path, options: &ReplayOptions) -> anyhow::Result<Self> {
        let ReplayProtocol::Modbus { listen, at_end } = options.protocol else {
            bail!("not a replay over Modbus");
        };
        let (file, form) = (file.to_owned(), options.columns.clone());
        let loaded = tokio::task::spawn_blocking(move || load(&file, &form)).await;
        let (rows, columns) = loaded.context("reading the file ended badly")??;
        let (tell, polls) = watch::channel(0);
        let count = rows.len() as u64;
        let film = Film { rows, columns, at_end, at: Mutex::new(Place { shown: None, polls: 0 }), tell };
        let units = BTreeMap::from([(UNIT, Arc::new(film) as Arc<dyn Unit>)]);
        let server = ModbusServer::start(listen, units, CancellationToken::new()).await?;
        Ok(Self { addr: server.addr, rows: count, columns, polls, server })
    }

    /// Rows shown so far.
    pub fn shown(&self) -> u64 {
        (*self.polls.borrow()).min(self.rows)
    }

    /// Waits until the reader has polled once more after the last row.
    pub async fn finished(&self) {
        let mut polls = self.polls.clone();
        // The sender lives in the server, which lives as long as this.
        let _ = polls.wait_for(|p| *p > self.rows).await;
    }

    /// Misbehaves from now on as told.
    pub fn set_faults(&self, faults: Faults) {
        self.server.set_faults(faults);
    }

    /// Stops it and says what was shown.
    pub async fn stop(self) -> ReplayReport {
        let rows = self.shown();
        let complete = rows == self.rows;
        let readings = rows * self.columns as u64;
        self.server.stop().await;
        ReplayReport { rows, readings, complete, ..ReplayReport::default() }
    }
}

fn load(file: &Path, columns: &Columns) -> anyhow::Result<(Vec<Row>, usize)> {
    let mut reader = Rows::open(file, columns)?;
    let mut rows: Vec<Row> = Vec::new();
    while let Some(row) = reader.next_row()? {
        rows.push(row);
    }
    let count = reader.points().len();
    if count == 0 || count > COLUMNS_MAX {
        bail!("{} has {count} points; a device shows 1 to {COLUMNS_MAX}", file.display());
    }
    let first = rows.first().with_context(|| format!("{} has no rows", file.display()))?.site.clone();
    for row in &mut rows {
        row.readings.sort_by_key(|r| r.0);
        if row.readings.len() != count {
            bail!(
                "{}:{}: the row has {} of {count} points; a device shows all",
                file.display(),
                row.line,
                row.readings.len()
            );
        }
        if row.site != first {
            bail!(
                "{}:{}: site {} after {first}; a device shows one site",
                file.display(),
                row.line,
                row.site
            );
        }
    }
    Ok((rows, count))
}

struct Film {
    rows: Vec<Row>,
    columns: usize,
    at_end: AtEnd,
    at: Mutex<Place>,
    tell: watch::Sender<u64>,
}

struct Place {
    shown: Option<(usize, Arc<Image>)>,
    polls: u64,
}

impl Film {
    fn image(&self, row: usize) -> Image {
        let one = |value: f64, kind| registers(Some(value), kind, Order::Abcd, 1.0, 0.0);
        let last = row + 1 == self.rows.len();
        let mut holding = Vec::with_capacity(self.length());
        for (_, value, _) in &self.rows[row].readings {
            holding.extend(registers(*value, Kind::F64, Order::Abcd, 1.0, 0.0));
        }
        holding.extend(self.rows[row].readings.iter().map(|r| r.2 as u16));
        holding.extend(one(row as f64, Kind::U32));
        holding.extend(one((self.rows[row].time / 1000) as f64, Kind::U64));
        holding.extend(one(self.rows.len() as f64, Kind::U32));
        holding.push(u16::from(last));
        Image { holding, discrete: vec![last], ..Image::default() }
    }

    fn length(&self) -> usize {
        5 * self.columns + 9
    }
}

impl Unit for Film {
    fn read(&self, table: Table, address: u16, count: u16) -> Result<Arc<Image>, u8> {
        let mut at = self.at.lock().expect("no holder of this lock panics");
        let moves = table == Table::Holding && address == 0 && usize::from(count) <= self.length();
        let row = match (&at.shown, moves) {
            (None, _) => 0,
            (Some((row, _)), true) => (row + 1).min(self.rows.len() - 1),
            (Some((row, _)), false) => *row,
        };
        if moves {
            at.polls += 1;
            self.tell.send_replace(at.polls);
            if at.polls > self.rows.len() as u64 && self.at_end == AtEnd::Refuse {
                return Err(BUSY);
            }
        }
        let image = match &at.shown {
            Some((shown, image)) if *shown == row => image.clone(),
            _ => Arc::new(self.image(row)),
        };
        // What is looked at before the first poll is row 0, and the first poll still shows it.
        if moves {
            at.shown = Some((row, image.clone()));
        }
        Ok(image)
    }
}

/// The section that reads the device.
pub(super) fn source_toml(
    name: &str,
    device: SocketAddr,
    every: Duration,
    site: &str,
    (start, step): (Micros, Duration),
    points: &[String],
) -> String {
    let micros = |d: Duration| d.as_micros() as Micros;
    let mut out = format!(
        "[[source]]\nname = \"{name}\"\nkind = \"modbus\"\nurl = \"tcp://{device}\"\nsite = {}\nunit = {UNIT}\nevery = \
         \"{}\"\ntime = \"replay\"\nstart = \"{}\"\nstep = \"{}\"\nrow = {{ table = \"holding\", address = {}, type = \"u32\", \
         order = \"ABCD\" }}\nregister = [\n",
        quoted(site),
        show_duration(micros(every)),
        rfc3339(start),
        show_duration(micros(step)),
        5 * points.len(),
    );
    for (i, point) in points.iter().enumerate() {
        let _ = writeln!(
            out,
            "  {{ point = {}, table = \"holding\", address = {}, type = \"f64\", order = \"ABCD\" }},",
            quoted(point),
            4 * i
        );
    }
    out.push_str("]\n");
    out
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
