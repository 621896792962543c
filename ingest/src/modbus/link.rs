//! One TCP link to a device or gateway: a request, its reply, and what went wrong in terms of what to do next.
//!
//! tokio-modbus takes whatever comes next on the link for the reply to its request (its issue 324), and its typed reads
//! panic in debug builds when a device sends another number of registers than asked. So: after a time-out, and after a
//! reply with another transaction id, unit, function or length, the link is dropped and never read from again; and
//! requests go through `call`, whose reply is measured here.

use super::plan::Table;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_modbus::client::{Client, Context, tcp};
use tokio_modbus::{Error, Request, Response, Slave, slave::SlaveContext};

/// Host and port of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// TCP port, 502 by default.
    pub port: u16,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why registers were not read. Only [`Fault::Exception`] leaves the link open.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// The device answered: no. 1 function, 2 address, 3 quantity, 4 device failure, 5 acknowledge, 6 busy, 8 parity,
    /// 10 gateway path, 11 no answer behind the gateway.
    #[error("exception {0}, {name}", name = exception_name(*.0))]
    Exception(u8),
    /// No reply in time.
    #[error("no reply within {0:?}")]
    Timeout(Duration),
    /// The link could not be opened or broke.
    #[error("{0}")]
    Broken(String),
    /// The reply was not one to this request.
    #[error("a reply that is not to this request: {0}")]
    Foreign(String),
}

/// The name of a Modbus exception code.
pub fn exception_name(code: u8) -> &'static str {
    match code {
        1 => "illegal function",
        2 => "illegal data address",
        3 => "illegal data value",
        4 => "device failure",
        5 => "acknowledge, not ready yet",
        6 => "device busy",
        8 => "memory parity error",
        10 => "gateway path unavailable",
        11 => "no answer from the device behind the gateway",
        _ => "unknown exception",
    }
}

/// A link that is opened when it is needed.
pub struct Link {
    target: Target,
    timeout: Duration,
    context: Option<Context>,
}

impl Link {
    /// A link that is not yet open.
    pub fn new(target: Target, timeout: Duration) -> Self {
        Self { target, timeout, context: None }
    }

    /// Whether it is open as far as is known.
    pub fn is_open(&self) -> bool {
        self.context.is_some()
    }

    /// Opens it when it is not open; true when it was opened now.
    ///
    /// # Errors
    /// [`Fault::Broken`] with a sentence for people.
    pub async fn open(&mut self) -> Result<bool, Fault> {
        if self.context.is_some() {
            return Ok(false);
        }
        let address = (self.target.host.as_str(), self.target.port);
        let stream = match timeout(self.timeout, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => return Err(Fault::Broken(format!("cannot connect to {}: {e}", self.target))),
            Err(_) => {
                let message =
                    format!("cannot connect to {}: no answer within {:?}", self.target, self.timeout);
                return Err(Fault::Broken(message));
            }
        };
        // Requests are small and wait for their reply: Nagle's algorithm would only delay them.
        let _ = stream.set_nodelay(true);
        self.context = Some(tcp::attach(stream));
        Ok(true)
    }

    /// Drops the link; the next [`Link::open`] makes a new one.
    pub fn drop_link(&mut self) {
        self.context = None;
    }

    /// Reads `count` places of a table into `out`, which is cleared first; bits become 0 and 1.
    ///
    /// # Errors
    /// [`Fault`]; the link is then dropped, except after an exception.
    pub async fn read(
        &mut self,
        unit: u8,
        table: Table,
        address: u16,
        count: u16,
        out: &mut Vec<u16>,
    ) -> Result<(), Fault> {
        out.clear();
        let result = self.call(unit, table, address, count, out).await;
        if !matches!(result, Ok(()) | Err(Fault::Exception(_))) {
            self.drop_link();
        }
        result
    }

    async fn call(
        &mut self,
        unit: u8,
        table: Table,
        address: u16,
        count: u16,
        out: &mut Vec<u16>,
    ) -> Result<(), Fault> {
        let Some(context) = &mut self.context else {
            return Err(Fault::Broken(format!("the link to {} is not open", self.target)));
        };
        context.set_slave(Slave(unit));
        let request = match table {
            Table::Holding => Request::ReadHoldingRegisters(address, count),
            Table::Input => Request::ReadInputRegisters(address, count),
            Table::Coil => Request::ReadCoils(address, count),
            Table::Discrete => Request::ReadDiscreteInputs(address, count),
        };
        let reply = match timeout(self.timeout, context.call(request)).await {
            Err(_) => return Err(Fault::Timeout(self.timeout)),
            Ok(Err(Error::Transport(e))) => return Err(broken(&e)),
            Ok(Err(Error::Protocol(e))) => return Err(Fault::Foreign(e.to_string())),
            Ok(Ok(Err(exception))) => return Err(Fault::Exception(exception.into())),
            Ok(Ok(Ok(reply))) => reply,
        };
        let (got, wanted) = match reply {
            Response::ReadHoldingRegisters(words) | Response::ReadInputRegisters(words) => {
                out.extend_from_slice(&words);
                (words.len(), usize::from(count))
            }
            Response::ReadCoils(bits) | Response::ReadDiscreteInputs(bits) => {
                out.extend(bits.iter().take(usize::from(count)).map(|b| u16::from(*b)));
                // A reply counts in bytes; the bits behind the last one asked for are padding.
                (bits.len(), usize::from(count).next_multiple_of(8))
            }
            other => return Err(Fault::Foreign(format!("{other:?}"))),
        };
        if got != wanted {
            out.clear();
            return Err(Fault::Foreign(format!("{got} places instead of {wanted}")));
        }
        Ok(())
    }
}

fn broken(e: &std::io::Error) -> Fault {
    use std::io::ErrorKind as Kind;
    match e.kind() {
        // The codec's word for a frame that is none.
        Kind::InvalidData | Kind::InvalidInput => Fault::Foreign(e.to_string()),
        Kind::ConnectionReset | Kind::BrokenPipe | Kind::ConnectionAborted | Kind::TimedOut => {
            Fault::Broken(format!("the link broke: {e}"))
        }
        // tokio-modbus reports a closed link as the last error of the system, whatever that was.
        _ => Fault::Broken("the device closed the link".to_owned()),
    }
}
