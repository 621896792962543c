//! A site as a Modbus gateway: its slaves show the world anew each period.

use super::{ModbusDevice, Stand};
use crate::modbus::server::Shown;
use crate::modbus::{Faults, ModbusServer, RegisterMap, Unit};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Starts the device on a free port of 127.0.0.1; the task keeps it fresh.
///
/// # Errors
/// When there is no port.
pub(super) async fn device(stand: Stand) -> anyhow::Result<(ModbusDevice, impl Future<Output = ()> + use<>)> {
    let map = RegisterMap::of(stand.place());
    let shown: BTreeMap<u8, Arc<Shown>> = map.units().into_iter().map(|u| (u, Arc::default())).collect();
    refresh(&stand, &map, &shown, Duration::ZERO);
    let units = shown.iter().map(|(u, s)| (*u, s.clone() as Arc<dyn Unit>)).collect();
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Arc::new(ModbusServer::start(listen, units, stand.stop.clone()).await?);
    let device = ModbusDevice {
        addr: server.addr,
        site: stand.place().code.clone(),
        units: map.units(),
        map: map.clone(),
        server: server.clone(),
    };
    Ok((device, run(stand, map, shown, server)))
}

async fn run(stand: Stand, map: RegisterMap, shown: BTreeMap<u8, Arc<Shown>>, server: Arc<ModbusServer>) {
    let mut ticks = stand.ticks();
    let mut was_up = true;
    loop {
        let tick = tokio::select! {
            () = stand.stop.cancelled() => return,
            tick = ticks.next() => tick,
        };
        refresh(&stand, &map, &shown, tick.since);
        stand.count(map.registers.len(), tick.skipped);
        // Only when it changes: a test may have set faults of its own.
        let up = stand.world.link_up(stand.site, tick.since);
        if up != was_up {
            server.set_faults(Faults { down: !up, ..Faults::default() });
            was_up = up;
        }
    }
}

fn refresh(stand: &Stand, map: &RegisterMap, shown: &BTreeMap<u8, Arc<Shown>>, since: Duration) {
    let now = stand.world.site_at(stand.site, since);
    for (unit, shown) in shown {
        shown.show(map.image(*unit, &now.samples));
    }
}
