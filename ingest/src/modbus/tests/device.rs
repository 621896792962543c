//! A Modbus TCP device written by hand, byte by byte, that misbehaves as told. It shares nothing with the client's decoder.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What a unit does with its next requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    Answer,
    Silent,
    Exception(u8),
    /// Answers the request before, when the next one comes on the same link.
    OneLate,
    WrongTransaction,
    WrongUnit,
    /// One register too few.
    Short,
    /// Half of the reply, then nothing.
    Truncated,
    Close,
    Garbage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    pub link: usize,
    pub unit: u8,
    pub function: u8,
    pub address: u16,
    pub count: u16,
}

#[derive(Default)]
struct State {
    /// (unit, function, address) to register or bit.
    memory: HashMap<(u8, u8, u16), u16>,
    moods: HashMap<u8, Mood>,
    requests: Vec<Request>,
    /// Each request for this address shows the next of these values.
    rows: HashMap<(u8, u8, u16), Vec<u16>>,
}

pub struct Device {
    pub addr: SocketAddr,
    state: Arc<Mutex<State>>,
    seen: watch::Sender<usize>,
    links: watch::Sender<usize>,
    tasks: JoinSet<()>,
}

impl Device {
    /// Listens; takes `links_max` links at a time, the others wait in the backlog.
    pub async fn start(links_max: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let (seen, links) = (watch::Sender::new(0), watch::Sender::new(0));
        let mut tasks = JoinSet::new();
        let (to, made, counted) = (state.clone(), links.clone(), seen.clone());
        let room = Arc::new(tokio::sync::Semaphore::new(links_max));
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let permit = room.clone().acquire_owned().await.unwrap();
                let Ok((stream, _)) = listener.accept().await else { return };
                made.send_modify(|n| *n += 1);
                let (state, seen, link) = (to.clone(), counted.clone(), *made.borrow());
                open.spawn(async move {
                    let _ = serve(stream, link, state, seen).await;
                    drop(permit);
                });
            }
        });
        Self { addr, state, seen, links, tasks }
    }

    pub fn set(&self, unit: u8, function: u8, address: u16, values: &[u16]) {
        let mut state = self.state.lock().unwrap();
        for (i, v) in values.iter().enumerate() {
            state.memory.insert((unit, function, address + i as u16), *v);
        }
    }

    /// A register that shows the next value at each request, and at the end the last one for ever.
    pub fn rows(&self, unit: u8, function: u8, address: u16, values: &[u16]) {
        let mut values = values.to_vec();
        values.reverse();
        self.state.lock().unwrap().rows.insert((unit, function, address), values);
    }

    pub fn mood(&self, unit: u8, mood: Mood) {
        self.state.lock().unwrap().moods.insert(unit, mood);
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    pub fn links(&self) -> usize {
        *self.links.borrow()
    }

    /// Waits until `n` requests came.
    pub async fn wait_requests(&self, n: usize) {
        self.seen.subscribe().wait_for(|seen| *seen >= n).await.unwrap();
    }

    /// Waits until a request for this unit comes after `after` requests, and says how many there were.
    pub async fn wait_unit(&self, unit: u8, after: usize) -> usize {
        let mut seen = self.seen.subscribe();
        loop {
            let at = self.requests().iter().skip(after).position(|r| r.unit == unit);
            if let Some(at) = at {
                return after + at + 1;
            }
            seen.changed().await.unwrap();
        }
    }

    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn serve(
    mut stream: TcpStream,
    link: usize,
    state: Arc<Mutex<State>>,
    seen: watch::Sender<usize>,
) -> std::io::Result<()> {
    let mut late: Option<Vec<u8>> = None;
    loop {
        let mut head = [0u8; 12];
        stream.read_exact(&mut head).await?;
        let number = |i: usize| u16::from_be_bytes([head[i], head[i + 1]]);
        let request =
            Request { link, unit: head[6], function: head[7], address: number(8), count: number(10) };
        let (mood, mut reply) = {
            let mut state = state.lock().unwrap();
            state.requests.push(request);
            let mood = state.moods.get(&request.unit).copied().unwrap_or(Mood::Answer);
            (mood, answer(&mut state, request, mood))
        };
        let mut frame = vec![head[0], head[1], 0, 0, 0, 0, request.unit];
        frame[4..6].copy_from_slice(&(reply.len() as u16 + 1).to_be_bytes());
        match mood {
            Mood::WrongTransaction => frame[1] ^= 0x55,
            Mood::WrongUnit => frame[6] ^= 1,
            Mood::Garbage => frame[2] = 9,
            _ => {}
        }
        frame.append(&mut reply);
        match mood {
            Mood::Silent => {}
            Mood::Close => {
                seen.send_modify(|n| *n += 1);
                return Ok(());
            }
            Mood::OneLate => {
                if let Some(frame) = late.replace(frame) {
                    stream.write_all(&frame).await?;
                }
            }
            Mood::Truncated => stream.write_all(&frame[..frame.len() / 2 + 1]).await?,
            _ => stream.write_all(&frame).await?,
        }
        seen.send_modify(|n| *n += 1);
    }
}

/// Function, length, data; or the exception.
fn answer(state: &mut State, request: Request, mood: Mood) -> Vec<u8> {
    let Request { unit, function, address, count, .. } = request;
    let exception = |code| vec![function | 0x80, code];
    if let Mood::Exception(code) = mood {
        return exception(code);
    }
    let mut values = Vec::new();
    for i in 0..count {
        let place = (unit, function, address + i);
        if let Some(rows) = state.rows.get_mut(&place) {
            values.push(if rows.len() > 1 { rows.pop().unwrap() } else { rows[0] });
            continue;
        }
        match state.memory.get(&place) {
            Some(value) => values.push(*value),
            None => return exception(2),
        }
    }
    if mood == Mood::Short {
        values.pop();
    }
    let mut out = vec![function, 0];
    if function <= 2 {
        for eight in values.chunks(8) {
            out.push(eight.iter().enumerate().fold(0, |byte, (i, v)| byte | (*v as u8) << i));
        }
    } else {
        values.iter().for_each(|v| out.extend(v.to_be_bytes()));
    }
    out[1] = out.len() as u8 - 2;
    out
}
