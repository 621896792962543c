//! A source at work in a test.

use super::device::Device;
use crate::configure::sources_from_section;
use crate::testing::Fixture;
use crate::{Context, Delivery};
use model::PointId;
use model::problem::Problems;
use model::toml_file::TomlFile;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest any wait of a test may take; only a failing test gets there.
pub const LONG: Duration = Duration::from_secs(20);

pub struct Running {
    pub fixture: Fixture,
    pub stop: CancellationToken,
    task: JoinHandle<()>,
}

/// The problems of a configuration of kind modbus, without the keys that all tests have.
pub fn configure(text: &str) -> Result<crate::Configured, Problems> {
    let text = format!("name = \"plc\"\nkind = \"modbus\"\n{text}");
    let file = TomlFile::parse("f.toml", &text);
    let root = file.root();
    let configured = sources_from_section(&root);
    root.finish();
    let problems = file.into_problems();
    if problems.0.is_empty() { Ok(configured.expect("no problem, a source")) } else { Err(problems) }
}

/// Starts the source on a device; the points of `points` are in the catalog of site M1.
pub fn start(device: &Device, points: &[&str], keys: &str) -> Running {
    start_at(&format!("tcp://{}", device.addr), points, keys)
}

pub fn start_at(url: &str, points: &[&str], keys: &str) -> Running {
    let configured = configure(&format!("url = \"{url}\"\n{keys}")).unwrap_or_else(|p| panic!("{p}"));
    let fixture = Fixture::new(configured.info.flags);
    fixture.set_catalog(points);
    let context = Context { info: configured.info, ..fixture.context.clone() };
    let stop = CancellationToken::new();
    let task = tokio::spawn(configured.source.run(context, stop.clone()));
    Running { fixture, stop, task }
}

impl Running {
    /// Waits until a delivery holds what `wanted` looks for, and says what it found.
    pub async fn wait<T>(&self, mut wanted: impl FnMut(&[Delivery]) -> Option<T>) -> T {
        let found = async {
            loop {
                let rows = self.fixture.sink.rows();
                if let Some(found) = wanted(&self.fixture.sink.taken()) {
                    return found;
                }
                self.fixture.sink.wait_rows(rows + 1).await;
            }
        };
        tokio::time::timeout(LONG, found).await.unwrap_or_else(|_| {
            panic!(
                "not seen in time; health: {:?}; last: {:?}",
                self.fixture.health(),
                self.fixture.sink.taken().last()
            )
        })
    }

    /// Waits for a reading of a point of site M1 that `wanted` accepts: value (NaN where missing) and status.
    pub async fn wait_reading(&self, point: &str, mut wanted: impl FnMut(f64, i32) -> bool) {
        let id = PointId::of("M1", point);
        self.wait(|taken| rows(taken).into_iter().find(|r| r.0 == id && wanted(r.2, r.3))).await;
    }

    pub async fn stop(self) -> Fixture {
        self.stop.cancel();
        tokio::time::timeout(LONG, self.task).await.expect("the source stops").unwrap();
        self.fixture
    }
}

/// All readings in order.
pub fn rows(taken: &[Delivery]) -> Vec<(PointId, model::Micros, f64, i32)> {
    taken.iter().flat_map(|d| (0..d.readings.len()).map(|i| d.readings.row(i))).collect()
}

/// Values of one point in order.
pub fn values(taken: &[Delivery], point: &str) -> Vec<f64> {
    let id = PointId::of("M1", point);
    rows(taken).into_iter().filter(|r| r.0 == id).map(|r| r.2).collect()
}
