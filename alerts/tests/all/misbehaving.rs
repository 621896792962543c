//! Servers that are none: they never read, close at once, answer garbage; and a port with nobody.

use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Their names and ports. They are there as long as this is.
pub struct Misbehaving {
    pub ports: [(&'static str, u16); 4],
    _hanging: TcpListener,
}

impl Misbehaving {
    pub async fn start() -> Self {
        // The listener's own queue accepts connections, and nobody reads.
        let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let garbage = raw(|mut socket| async move {
            let mut some = [0; 64];
            let _ = tokio::time::timeout(Duration::from_millis(50), socket.read(&mut some)).await;
            let _ = socket.write_all(b"\x16\x03\x01 this is no protocol that anybody speaks\r\n\r\n").await;
        });
        let closing = raw(|socket| async move { drop(socket) });
        let ports = [
            ("closes", closing.await),
            ("garbage", garbage.await),
            ("hangs", hanging.local_addr().unwrap().port()),
            ("nobody", tests::free_port()),
        ];
        Self { ports, _hanging: hanging }
    }

    /// What the backlog says where each was sent `n` messages and took none.
    pub fn waiting(&self, n: u64) -> [(String, u64); 4] {
        self.ports.map(|(name, _)| (name.to_owned(), n))
    }
}

/// A server that does `act` with each connection; its port.
pub async fn raw<F: Future<Output = ()> + Send + 'static>(
    act: impl Fn(TcpStream) -> F + Send + Sync + 'static,
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(act(socket));
        }
    });
    port
}
