//! Where an alarm is, in words: region and names of the catalog, written into the alarm when it opens, so that years later it still
//! says what was meant then.

use model::{Catalog, Place};
use std::fmt::Debug;
use std::sync::{Arc, RwLock};

/// Knows sites and points by their codes.
pub trait Places: Send + Sync + Debug {
    /// What is known; empty texts where nothing is.
    fn place(&self, site: &str, point: &str) -> Place;
}

/// Knows nothing: for tests, and until a catalog is given.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPlaces;

impl Places for NoPlaces {
    fn place(&self, _: &str, _: &str) -> Place {
        Place::default()
    }
}

impl Places for Catalog {
    fn place(&self, site: &str, point: &str) -> Place {
        if let Some(ix) = self.find(site, point) {
            let (of, at) = (self.point(ix), self.site_of(ix));
            return Place {
                region: self.region_of(ix).to_owned(),
                site_name: at.name.clone(),
                point_name: of.name.clone(),
                quantity: of.quantity.clone(),
                unit: of.unit.clone(),
                class: of.place.clone(),
                site_state: at.state.clone(),
            };
        }
        match self.site(site) {
            Some(at) => Place {
                region: at.region.clone(),
                site_name: at.name.clone(),
                site_state: at.state.clone(),
                ..Place::default()
            },
            None => Place::default(),
        }
    }
}

/// The catalog in force, which a reload replaces.
impl Places for RwLock<Arc<Catalog>> {
    fn place(&self, site: &str, point: &str) -> Place {
        let catalog = match self.read() {
            Ok(catalog) => catalog.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        };
        catalog.place(site, point)
    }
}
