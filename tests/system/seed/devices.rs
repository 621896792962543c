//! The devices of the simulation: what each measures and sends in half an hour, drawn from the seed, with gaps, repeats, bad values,
//! back-fill, unknown points and rubbish; and a sender that keeps a message until firedamp has answered that it is durable, over
//! the death of a process, as a broker does for a persistent session.

use super::world::World;
use futures::stream::{FuturesOrdered, StreamExt};
use ingest::{Delivery, Refusal, Sink, SinkError, SourceInfo};
use model::record::Quarantined;
use model::time::SECOND;
use model::{Clock, Micros, PointId, ReadingsBuilder};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The first mine lies in partition 1, the second in partition 0.
pub const SITES: &str = "site,name,kind,region\nMA,Ash,mine,140100\nMC,Cedar,mine,140200\n";
pub const POINTS: &str = "site,point,name,quantity,unit,low,high,place,period\nMA,CH4,face,ch4,%,0,4,T1,10s\n\
                          MA,CO,return,co,ppm,0,500,,10s\nMA,T,belt,temperature,°C,0,100,,10s\n\
                          MC,CH4,face,ch4,%,0,4,T1,10s\nMC,T,belt,temperature,°C,0,100,,10s\n";
/// How long the devices send.
pub const LENGTH: Micros = 30 * 60 * SECOND;

/// The points of each device; the second is a gateway of both mines.
const DEVICES: [&[(&str, &str)]; 2] =
    [&[("MA", "CH4"), ("MA", "CO")], &[("MC", "CH4"), ("MA", "T"), ("MC", "T")]];

/// One reading as it is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub site: &'static str,
    pub point: &'static str,
    pub time: Micros,
    pub value: f64,
    pub status: i32,
}

/// What one message says.
#[derive(Clone, Debug, Default)]
pub struct Message {
    pub at: Micros,
    pub samples: Vec<Sample>,
    pub unknown: bool,
    pub rubbish: bool,
}

/// A device, which outlives the processes that read it.
#[derive(Debug)]
pub struct Device {
    pub name: Arc<str>,
    pub messages: Vec<Message>,
    /// How many are known to be durable.
    answered: Mutex<usize>,
    /// How often each was handed over.
    tries: Mutex<Vec<i64>>,
}

impl Device {
    /// All devices, from `start` on.
    pub fn all(seed: u64, start: Micros) -> Vec<Arc<Self>> {
        let each = DEVICES.iter().enumerate();
        each.map(|(i, points)| {
            let mut random = StdRng::seed_from_u64(seed ^ (0xD0_0000 + i as u64));
            let messages = messages(points, start, &mut random);
            let (name, tries) = (format!("device-{i}").into(), Mutex::new(vec![0; messages.len()]));
            Arc::new(Self { name, messages, answered: Mutex::new(0), tries })
        })
        .collect()
    }

    pub fn is_done(&self) -> bool {
        *self.answered.lock().unwrap() == self.messages.len()
    }

    /// How often each message was handed over.
    pub fn tries(&self) -> Vec<i64> {
        self.tries.lock().unwrap().clone()
    }

    /// Sends what is not yet answered, each message at its time, at most eight under way, until all are.
    pub async fn send(self: Arc<Self>, world: World, sink: Arc<dyn Sink>) {
        let info = SourceInfo { name: self.name.clone(), flags: 0 };
        while !self.is_done() {
            let mut next = *self.answered.lock().unwrap();
            let (mut window, mut refused) = (FuturesOrdered::new(), false);
            loop {
                let wait = self.messages.get(next).map_or(0, |m| (m.at - world.now()).max(0));
                let may = !refused && next < self.messages.len() && window.len() < 8;
                tokio::select! {
                    biased;
                    // After a refusal nothing newer counts: all that follows is sent again, in order.
                    Some(answer) = window.next() => {
                        refused |= matches!(answer, Err(SinkError::Retry(_) | SinkError::Closed));
                        *self.answered.lock().unwrap() += usize::from(!refused);
                    }
                    () = tokio::time::sleep(Duration::from_micros(wait as u64)), if may => {
                        self.tries.lock().unwrap()[next] += 1;
                        window.push_back(sink.accept(&info, self.messages[next].delivery(world.now())));
                        next += 1;
                    }
                    else => break,
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

impl Message {
    fn delivery(&self, received: Micros) -> Delivery {
        let mut readings = ReadingsBuilder::with_capacity(self.samples.len());
        for s in &self.samples {
            readings.push(PointId::of(s.site, s.point), s.time, s.value, s.status);
        }
        let stranger = || Quarantined {
            site: "MA".to_owned(),
            point: "NEW".to_owned(),
            time: self.at,
            value: Some(1.0),
            status: 0,
            reason: "unknown point".to_owned(),
        };
        let refusal = || Refusal { reason: "json", count: 1, sample: "{".to_owned() };
        Delivery {
            received,
            readings: readings.finish(),
            unknown: self.unknown.then(stranger).into_iter().collect(),
            positions: None,
            refused: self.rubbish.then(refusal).into_iter().collect(),
        }
    }
}

fn messages(points: &[(&'static str, &'static str)], start: Micros, random: &mut StdRng) -> Vec<Message> {
    let mut out: Vec<Message> = Vec::new();
    let mut levels = vec![0.6; points.len()];
    let mut at = 0;
    while at < LENGTH {
        let mut message = Message { at: start + at, ..Message::default() };
        for ((site, point), level) in points.iter().zip(&mut levels) {
            *level = f64::clamp(*level + random.random_range(-0.35..0.35), 0.1, 1.9);
            let bad = random.random_ratio(1, 40);
            let value = if bad { f64::NAN } else { scaled(point, *level) };
            let status = if bad { model::status::SENSOR_FAULT } else { 0 };
            if random.random_ratio(19, 20) {
                message.samples.push(Sample { site, point, time: message.at, value, status });
            }
        }
        (message.unknown, message.rubbish) = (random.random_ratio(1, 30), random.random_ratio(1, 30));
        if random.random_ratio(1, 20) && !out.is_empty() {
            // The same again, as a sender does that did not get the answer.
            let again = out[out.len() - 1].clone();
            out.push(Message { at: message.at, unknown: false, rubbish: false, ..again });
        }
        if random.random_ratio(1, 40) && at > LENGTH / 3 {
            // Back-fill of what was measured between the messages of long ago.
            let (site, point) = points[random.random_range(0..points.len())];
            let value = scaled(point, random.random_range(0.1..1.9));
            let time = message.at - random.random_range(360..600) * SECOND + 5 * SECOND;
            out.push(Message {
                at: message.at,
                samples: vec![Sample { site, point, time, value, status: 0 }],
                ..Message::default()
            });
        }
        out.push(message);
        at += 10 * SECOND;
    }
    out
}

/// Two decimals, as sensors give them.
fn scaled(point: &str, level: f64) -> f64 {
    let scale = match point {
        "CO" => 20.0,
        "T" => 15.0,
        _ => 1.0,
    };
    (level * scale * 100.0).round() / 100.0
}
