//! A Modbus TCP server, frames and all, from the specification (MODBUS Application Protocol V1.1b3 and its TCP guide).
//!
//! Reads coils (1), discrete inputs (2), holding registers (3) and input registers (4); everything else is exception 1.
//! Checks in the order of the specification: function, quantity (exception 3), address range (exception 2). A slave that
//! is not there is exception 11, as a gateway answers. A frame that is no Modbus closes the connection. At most
//! [`CONNECTIONS_MAX`] connections; further ones are closed at once.
//!
//! [`Faults`] make it late, mute, answer with another's transaction id, or take the link away.

use anyhow::Context;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Connections at a time.
pub const CONNECTIONS_MAX: usize = 64;
const BITS_MAX: u16 = 2000;
const REGISTERS_MAX: u16 = 125;
/// Unit and PDU: the longest that the length field of a header may announce.
const LENGTH_MAX: usize = 254;
const ILLEGAL_FUNCTION: u8 = 1;
const ILLEGAL_ADDRESS: u8 = 2;
const ILLEGAL_VALUE: u8 = 3;
const NO_TARGET: u8 = 11;

/// The four tables of a slave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Table {
    /// Function 3.
    Holding,
    /// Function 4.
    Input,
    /// Function 1.
    Coil,
    /// Function 2.
    Discrete,
}

impl Table {
    /// As configurations write it.
    pub fn word(self) -> &'static str {
        match self {
            Table::Holding => "holding",
            Table::Input => "input",
            Table::Coil => "coil",
            Table::Discrete => "discrete",
        }
    }
}

/// What the tables of a slave hold. Their lengths are the range of valid addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Image {
    /// Holding registers.
    pub holding: Vec<u16>,
    /// Input registers.
    pub input: Vec<u16>,
    /// Coils.
    pub coils: Vec<bool>,
    /// Discrete inputs.
    pub discrete: Vec<bool>,
}

impl Image {
    /// Puts registers at an address of a register table, lengthening it.
    pub fn put(&mut self, table: Table, address: u16, words: &[u16]) {
        let to = if table == Table::Input { &mut self.input } else { &mut self.holding };
        let end = usize::from(address) + words.len();
        if to.len() < end {
            to.resize(end, 0);
        }
        to[usize::from(address)..end].copy_from_slice(words);
    }

    /// Puts a bit at an address of a bit table, lengthening it.
    pub fn put_bit(&mut self, table: Table, address: u16, bit: bool) {
        let to = if table == Table::Coil { &mut self.coils } else { &mut self.discrete };
        if to.len() <= usize::from(address) {
            to.resize(usize::from(address) + 1, false);
        }
        to[usize::from(address)] = bit;
    }
}

/// A slave. Called once for each read that is well-formed, before it is answered.
pub trait Unit: Send + Sync {
    /// The image the read is answered from; an exception code where the slave refuses it.
    fn read(&self, table: Table, address: u16, count: u16) -> Result<Arc<Image>, u8>;
}

/// A slave that shows whatever image was last put there.
#[derive(Debug, Default)]
pub struct Shown(std::sync::RwLock<Arc<Image>>);

impl Shown {
    /// Shows another image.
    pub fn show(&self, image: Image) {
        *self.0.write().expect("no holder of this lock panics") = Arc::new(image);
    }
}

impl Unit for Shown {
    fn read(&self, _: Table, _: u16, _: u16) -> Result<Arc<Image>, u8> {
        Ok(self.0.read().expect("no holder of this lock panics").clone())
    }
}

/// How the server misbehaves; by default it does not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// Answers this late.
    pub delay: Duration,
    /// Answers with the transaction id of another request.
    pub other_transaction: bool,
    /// Slaves that never answer.
    pub mute: Vec<u8>,
    /// The link is down: connections are closed, new ones too.
    pub down: bool,
}

/// A server at work.
#[derive(Debug)]
pub struct ModbusServer {
    /// Where it listens.
    pub addr: SocketAddr,
    faults: watch::Sender<Faults>,
    requests: Arc<AtomicU64>,
    /// Dropping the server stops it too.
    stop: DropGuard,
    task: JoinHandle<()>,
}

struct Shared {
    units: BTreeMap<u8, Arc<dyn Unit>>,
    faults: watch::Receiver<Faults>,
    requests: Arc<AtomicU64>,
    stop: CancellationToken,
    free: Semaphore,
}

impl ModbusServer {
    /// Listens; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(
        listen: SocketAddr,
        units: BTreeMap<u8, Arc<dyn Unit>>,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        let addr = listener.local_addr()?;
        let stop = stop.child_token();
        let (faults, watched) = watch::channel(Faults::default());
        let requests = Arc::new(AtomicU64::new(0));
        let shared = Arc::new(Shared {
            units,
            faults: watched,
            requests: requests.clone(),
            stop: stop.clone(),
            free: Semaphore::new(CONNECTIONS_MAX),
        });
        let task = tokio::spawn(accept(listener, shared));
        Ok(Self { addr, faults, requests, stop: stop.drop_guard(), task })
    }

    /// Misbehaves from now on as told.
    pub fn set_faults(&self, faults: Faults) {
        self.faults.send_if_modified(|now| {
            let changed = *now != faults;
            *now = faults;
            changed
        });
    }

    /// Requests taken so far, refused ones too.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Closes the port and all connections.
    pub async fn stop(self) {
        drop(self.stop);
        if let Err(e) = self.task.await {
            tracing::error!(addr = %self.addr, "the Modbus server ended badly: {e}");
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let connections = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            () = shared.stop.cancelled() => break,
            taken = listener.accept() => match taken {
                Ok((stream, _)) => stream,
                Err(e) => {
                    // Mostly too many open files: others must close first, so wait instead of spinning.
                    tracing::warn!("a Modbus connection was not taken: {e}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        if shared.faults.borrow().down {
            continue;
        }
        let shared = shared.clone();
        connections.spawn(async move {
            let Ok(_free) = shared.free.try_acquire() else {
                tracing::warn!("more than {CONNECTIONS_MAX} Modbus connections: one was closed");
                return;
            };
            if let Err(e) = converse(stream, &shared).await {
                tracing::debug!("a Modbus connection ended: {e}");
            }
        });
    }
    connections.close();
    connections.wait().await;
}

async fn converse(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut faults = shared.faults.clone();
    let mut frame = Vec::with_capacity(6 + LENGTH_MAX);
    loop {
        tokio::select! {
            biased; // an end and a fault count before the next request
            () = shared.stop.cancelled() => return Ok(()),
            () = down(&mut faults) => return Ok(()),
            read = request(&mut stream, &mut frame) => if !read? { return Ok(()) },
        }
        shared.requests.fetch_add(1, Ordering::Relaxed);
        let now = faults.borrow().clone();
        let unit = frame[6];
        if now.mute.contains(&unit) {
            continue;
        }
        let pdu = answer(shared, unit, &frame[7..]);
        if !now.delay.is_zero() {
            tokio::select! {
                () = shared.stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(now.delay) => {}
            }
        }
        let mut transaction = u16::from_be_bytes([frame[0], frame[1]]);
        if now.other_transaction {
            transaction = transaction.wrapping_sub(1);
        }
        let mut out = Vec::with_capacity(7 + pdu.len());
        out.extend_from_slice(&transaction.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&(pdu.len() as u16 + 1).to_be_bytes());
        out.push(unit);
        out.extend_from_slice(&pdu);
        stream.write_all(&out).await?;
    }
}

/// Until the link is taken away, or the server is no more.
async fn down(faults: &mut watch::Receiver<Faults>) {
    let _ = faults.wait_for(|f| f.down).await;
}

/// Reads one frame; `false` at the end of the connection or when it is no Modbus.
async fn request(stream: &mut TcpStream, frame: &mut Vec<u8>) -> std::io::Result<bool> {
    frame.resize(6, 0);
    if let Err(e) = stream.read_exact(frame).await {
        return if e.kind() == std::io::ErrorKind::UnexpectedEof { Ok(false) } else { Err(e) };
    }
    let protocol = u16::from_be_bytes([frame[2], frame[3]]);
    let length = usize::from(u16::from_be_bytes([frame[4], frame[5]]));
    if protocol != 0 || !(2..=LENGTH_MAX).contains(&length) {
        return Ok(false);
    }
    frame.resize(6 + length, 0);
    stream.read_exact(&mut frame[6..]).await?;
    Ok(true)
}

/// The answer to a request, exception or not.
fn answer(shared: &Shared, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let function = pdu[0];
    match read(shared, unit, pdu) {
        Ok(answer) => answer,
        Err(exception) => vec![function | 0x80, exception],
    }
}

fn read(shared: &Shared, unit: u8, pdu: &[u8]) -> Result<Vec<u8>, u8> {
    let device = shared.units.get(&unit).ok_or(NO_TARGET)?;
    let (table, most) = match pdu[0] {
        1 => (Table::Coil, BITS_MAX),
        2 => (Table::Discrete, BITS_MAX),
        3 => (Table::Holding, REGISTERS_MAX),
        4 => (Table::Input, REGISTERS_MAX),
        _ => return Err(ILLEGAL_FUNCTION),
    };
    let &[_, a, b, c, d] = pdu else { return Err(ILLEGAL_VALUE) };
    let (address, count) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    if count == 0 || count > most {
        return Err(ILLEGAL_VALUE);
    }
    let image = device.read(table, address, count)?;
    let range = usize::from(address)..usize::from(address) + usize::from(count);
    let data: Vec<u8> = match table {
        Table::Holding => words(image.holding.get(range).ok_or(ILLEGAL_ADDRESS)?),
        Table::Input => words(image.input.get(range).ok_or(ILLEGAL_ADDRESS)?),
        Table::Coil => bits(image.coils.get(range).ok_or(ILLEGAL_ADDRESS)?),
        Table::Discrete => bits(image.discrete.get(range).ok_or(ILLEGAL_ADDRESS)?),
    };
    let mut out = vec![pdu[0], data.len() as u8];
    out.extend_from_slice(&data);
    Ok(out)
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_be_bytes()).collect()
}

fn bits(bits: &[bool]) -> Vec<u8> {
    let byte = |chunk: &[bool]| chunk.iter().enumerate().fold(0, |b, (i, bit)| b | u8::from(*bit) << i);
    bits.chunks(8).map(byte).collect()
}
