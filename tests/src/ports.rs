//! Ports for components that must be told their port before they start.
//!
//! Binding port 0 and closing it again leaves a gap in which an outgoing connection of any other process may get
//! the same number, and a component that is stopped and started again has that gap each time. So ports are taken
//! from below the kernel's ephemeral range and reserved by a lock on a file per port, held until this process ends.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

/// Below Linux's ephemeral range (32768 on), above what servers use by default.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// Locks held so far, and where to look next. The locks end with the process.
static TAKEN: Mutex<(Vec<File>, u16)> = Mutex::new((Vec::new(), 0));

/// A loopback port that nothing listens on and that no other test process will be given.
///
/// # Panics
/// When every port of the range is taken.
pub fn free_port() -> u16 {
    let folder = std::env::temp_dir().join("firedamp-test-ports");
    std::fs::create_dir_all(&folder)
        .unwrap_or_else(|e| panic!("{}: the folder of port locks: {e}", folder.display()));
    let mut taken = TAKEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if taken.0.is_empty() {
        // Test binaries that run at the same time start at different places.
        taken.1 = (std::process::id().wrapping_mul(97) % u32::from(COUNT)) as u16;
    }
    for _ in 0..COUNT {
        let port = FIRST + taken.1 % COUNT;
        taken.1 = (taken.1 + 1) % COUNT;
        let Ok(lock) = File::create(folder.join(port.to_string())) else { continue };
        if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            taken.0.push(lock);
            return port;
        }
    }
    panic!("no free port in {FIRST}..{}", FIRST + COUNT)
}

/// Whether something accepts connections on this loopback port.
pub fn listens(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok()
}
