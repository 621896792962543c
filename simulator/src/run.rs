//! Puts a world on the network: which site speaks which protocol, one task a site, a broker where none is given.
//!
//! Mines that the plan says report by files do so; other mines are MQTT gateways, or Modbus slaves where MQTT is off;
//! plants are Modbus gateways, or MQTT gateways where Modbus is off. A device that could not send in time skips what it
//! missed and counts it; what it has sent it keeps until it was taken.

use crate::modbus::{Faults, ModbusServer};
use crate::mqtt::Broker;
use crate::plan::Plan;
use crate::world::{SimSite, World};
use anyhow::bail;
use model::time::SECOND;
use model::{Clock, Micros};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

mod file_site;
mod modbus_site;
mod mqtt_site;
mod ticks;

/// Where and how the devices of a plan are started.
#[derive(Clone, Debug)]
pub struct StartOptions {
    /// `mqtt://host:port` of a broker; `None` starts one in this process when MQTT is wanted.
    pub broker: Option<String>,
    /// Whether sites may be Modbus devices.
    pub modbus: bool,
    /// Whether sites may be MQTT gateways.
    pub mqtt: bool,
    /// Folder that mines with files drop them into; made when it is not there.
    pub files: Option<PathBuf>,
    /// Tells the time that readings carry.
    pub clock: Arc<dyn Clock>,
}

/// The protocol of a site.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// Publishes to the broker.
    Mqtt,
    /// Is read over Modbus TCP.
    Modbus,
    /// Drops national files.
    Files,
}

/// A Modbus gateway at work.
#[derive(Debug)]
pub struct ModbusDevice {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Code of its site.
    pub site: String,
    /// Its slaves.
    pub units: Vec<u8>,
    pub(crate) map: crate::modbus::RegisterMap,
    server: Arc<ModbusServer>,
}

impl ModbusDevice {
    /// Misbehaves from now on as told.
    pub fn set_faults(&self, faults: Faults) {
        self.server.set_faults(faults);
    }

    /// Requests taken so far.
    pub fn requests(&self) -> u64 {
        self.server.requests()
    }
}

/// What the devices did; all since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    shown: AtomicU64,
    files: AtomicU64,
    skipped: AtomicU64,
    given_up: AtomicU64,
}

/// What the devices did; all since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Readings put into messages or files, or shown in registers.
    pub readings: u64,
    /// Files dropped.
    pub files: u64,
    /// Cycles left out because the machine was too slow or asleep.
    pub skipped_cycles: u64,
    /// Messages or files given up because more waited for a link than a device keeps, oldest first.
    pub given_up: u64,
}

/// Devices at work.
#[derive(Debug)]
pub struct Running {
    /// The broker that MQTT gateways publish to; `None` when there are none.
    pub mqtt_url: Option<String>,
    /// Modbus gateways.
    pub modbus: Vec<ModbusDevice>,
    /// Where files are dropped; `None` when none are.
    pub inbox: Option<PathBuf>,
    /// The world they show.
    pub world: Arc<World>,
    /// The moment that is 0 in the world.
    pub started: Micros,
    pub(crate) transports: Vec<Transport>,
    counters: Arc<Counters>,
    broker: Option<Broker>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Dropping it stops the devices too, without waiting for them.
    guard: DropGuard,
}

/// What a device's task is handed.
#[derive(Clone)]
pub(crate) struct Stand {
    world: Arc<World>,
    site: usize,
    started: Micros,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    stop: CancellationToken,
}

impl Stand {
    fn place(&self) -> &SimSite {
        &self.world.sites()[self.site]
    }

    fn ticks(&self) -> ticks::Ticks {
        // A whole second for files: neither their names nor their fields know a smaller time.
        let first = if self.place().files { (-self.started).rem_euclid(SECOND) } else { 0 };
        let first = Duration::from_micros(first as u64);
        ticks::Ticks::new(self.started, first, self.place().period, self.clock.clone())
    }

    /// Counts readings shown and cycles left out.
    fn count(&self, readings: usize, skipped: u64) {
        self.counters.shown.fetch_add(readings as u64, Ordering::Relaxed);
        if skipped > 0 {
            tracing::warn!(site = self.place().code, "a simulated device left out {skipped} cycles");
            self.counters.skipped.fetch_add(skipped, Ordering::Relaxed);
        }
    }
}

/// Starts the devices of a plan. They run until `stop` is cancelled or [`Running::stop`] is called.
///
/// # Errors
/// When plan and options do not fit, or something cannot be bound or made; then nothing is left running.
pub async fn start(plan: &Plan, options: StartOptions, stop: CancellationToken) -> anyhow::Result<Running> {
    plan.check()?;
    let world = Arc::new(World::new(plan));
    let transports = transports(&world, &options)?;
    if let Some(dir) = &options.files {
        tokio::fs::create_dir_all(dir)
            .await
            .map_err(|e| anyhow::anyhow!("cannot make {}: {e}", dir.display()))?;
    }
    let uses_mqtt = transports.contains(&Transport::Mqtt);
    let (broker, mqtt_url) = match (&options.broker, uses_mqtt) {
        (_, false) => (None, None),
        (Some(url), true) => (None, Some(url.clone())),
        (None, true) => {
            let broker = Broker::start().await?;
            let url = broker.url();
            (Some(broker), Some(url))
        }
    };
    let stop = stop.child_token();
    // Messages carry no more than milliseconds.
    let started = options.clock.now() / 1000 * 1000;
    let mut running = Running {
        mqtt_url,
        modbus: Vec::new(),
        inbox: options.files.clone(),
        world,
        started,
        transports,
        counters: Arc::default(),
        broker,
        tasks: TaskTracker::new(),
        guard: stop.clone().drop_guard(),
        stop,
    };
    if let Err(e) = running.spawn_all(&options.clock).await {
        running.stop().await;
        return Err(e);
    }
    Ok(running)
}

fn transports(world: &World, options: &StartOptions) -> anyhow::Result<Vec<Transport>> {
    let with_files = world.sites().iter().filter(|s| s.files).count();
    match (&options.files, with_files) {
        (None, 1..) => bail!("{with_files} mines report by files: give a folder, or plan file_mines = 0"),
        (Some(_), 0) => {
            bail!("a folder for files is given, but no mine reports by files: plan file_mines = 1")
        }
        _ => {}
    }
    let choose = |site: &SimSite| match (site.kind, options.mqtt, options.modbus) {
        _ if site.files => Ok(Transport::Files),
        ("mine", true, _) | ("plant", true, false) => Ok(Transport::Mqtt),
        (_, _, true) => Ok(Transport::Modbus),
        _ => bail!("site {} has no protocol: allow MQTT or Modbus", site.code),
    };
    world.sites().iter().map(choose).collect()
}

impl Running {
    async fn spawn_all(&mut self, clock: &Arc<dyn Clock>) -> anyhow::Result<()> {
        for (site, transport) in self.transports.clone().into_iter().enumerate() {
            let stand = Stand {
                world: self.world.clone(),
                site,
                started: self.started,
                clock: clock.clone(),
                counters: self.counters.clone(),
                stop: self.stop.clone(),
            };
            match (transport, &self.mqtt_url, &self.inbox) {
                (Transport::Mqtt, Some(url), _) => {
                    self.tasks.spawn(mqtt_site::gateway(stand.clone(), url)?);
                }
                (Transport::Files, _, Some(inbox)) => {
                    self.tasks.spawn(file_site::dropper(stand, inbox.clone()));
                }
                (Transport::Modbus, ..) => {
                    let (device, task) = modbus_site::device(stand).await?;
                    self.modbus.push(device);
                    self.tasks.spawn(task);
                }
                _ => bail!("site {site} has neither broker nor folder"),
            }
        }
        self.tasks.close();
        Ok(())
    }

    /// What the devices did so far.
    pub fn counts(&self) -> Counts {
        let load = |c: &AtomicU64| c.load(Ordering::Relaxed);
        Counts {
            readings: load(&self.counters.shown),
            files: load(&self.counters.files),
            skipped_cycles: load(&self.counters.skipped),
            given_up: load(&self.counters.given_up),
        }
    }

    /// How each site is read, in the order of the world's sites.
    pub fn transports(&self) -> &[Transport] {
        &self.transports
    }

    /// The port of the broker in this process, if one was started; for tests that take it away.
    pub fn broker_addr(&self) -> Option<SocketAddr> {
        self.broker.as_ref().map(Broker::addr)
    }

    /// Stops the devices, then the broker.
    pub async fn stop(self) {
        drop(self.guard);
        self.tasks.close();
        self.tasks.wait().await;
        for device in self.modbus {
            if let Some(server) = Arc::into_inner(device.server) {
                server.stop().await;
            }
        }
        if let Some(broker) = self.broker {
            broker.stop().await;
        }
    }
}
