//! Codes of site and point to ids, fast: a source sends its points in the same order again and again, so the entry that
//! followed the last one before is compared first; else one hash finds it, without an allocation. Only points of the
//! catalog are kept, so that made-up names cannot fill the memory.

use ahash::{AHashMap, RandomState};
use model::{Catalog, PointId};
use std::hash::{BuildHasher, Hasher};

const NONE: u32 = u32::MAX;
/// Where the text of all names ends at the latest: places in it are u32.
const TEXT_LEN_MAX: usize = u32::MAX as usize - 2 * super::NAME_LEN_MAX;

/// One known point: `text[start..]` holds site code, then point code.
#[derive(Clone, Copy)]
struct Entry {
    start: u32,
    site_len: u16,
    point_len: u16,
    /// The entry that followed this one the last time.
    next: u32,
    id: PointId,
}

/// What one source has resolved from one catalog.
pub(super) struct Names {
    text: Vec<u8>,
    entries: Vec<Entry>,
    by_hash: AHashMap<u64, u32>,
    hasher: RandomState,
    last: u32,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            text: Vec::new(),
            entries: Vec::new(),
            by_hash: AHashMap::new(),
            hasher: RandomState::new(),
            last: NONE,
        }
    }
}

impl Names {
    /// The id of a point, `None` when the catalog does not have it.
    #[inline]
    pub(super) fn resolve(&mut self, catalog: &Catalog, site: &str, point: &str) -> Option<PointId> {
        if let Some(last) = self.entries.get(self.last as usize) {
            let predicted = last.next;
            if let Some(entry) = self.entries.get(predicted as usize)
                && self.is(entry, site, point)
            {
                let id = entry.id;
                self.last = predicted;
                return Some(id);
            }
        }
        self.search(catalog, site, point)
    }

    fn is(&self, entry: &Entry, site: &str, point: &str) -> bool {
        if usize::from(entry.site_len) != site.len() || usize::from(entry.point_len) != point.len() {
            return false;
        }
        let start = entry.start as usize;
        let (site_end, end) = (start + site.len(), start + site.len() + point.len());
        self.text[start..site_end] == *site.as_bytes() && self.text[site_end..end] == *point.as_bytes()
    }

    fn search(&mut self, catalog: &Catalog, site: &str, point: &str) -> Option<PointId> {
        if site.len() > super::NAME_LEN_MAX || point.len() > super::NAME_LEN_MAX {
            return None;
        }
        let hash = self.hash(site, point);
        let ix = match self.by_hash.get(&hash) {
            Some(&ix) if self.is(&self.entries[ix as usize], site, point) => ix,
            // Two names of one 64-bit hash: the later is looked up in the catalog each time.
            Some(_) => return catalog.find(site, point).map(|ix| catalog.ids()[ix as usize]),
            None => self.add(catalog, hash, site, point)?,
        };
        if let Some(last) = self.entries.get_mut(self.last as usize) {
            last.next = ix;
        }
        self.last = ix;
        Some(self.entries[ix as usize].id)
    }

    fn add(&mut self, catalog: &Catalog, hash: u64, site: &str, point: &str) -> Option<u32> {
        let id = catalog.ids()[catalog.find(site, point)? as usize];
        if self.text.len() > TEXT_LEN_MAX {
            *self = Self::default();
        }
        let ix = self.entries.len() as u32;
        let start = self.text.len() as u32;
        self.text.extend_from_slice(site.as_bytes());
        self.text.extend_from_slice(point.as_bytes());
        let (site_len, point_len) = (site.len() as u16, point.len() as u16);
        self.entries.push(Entry { start, site_len, point_len, next: NONE, id });
        self.by_hash.insert(hash, ix);
        Some(ix)
    }

    fn hash(&self, site: &str, point: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(site.as_bytes());
        hasher.write_u32(site.len() as u32);
        hasher.write(point.as_bytes());
        hasher.finish()
    }
}
