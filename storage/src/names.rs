//! The points that may stand in the tail, in the order of the files: by site, then point. A dense index is a place in this
//! order, so rows sorted by it are sorted as the table is.
//!
//! One [`Names`] never changes. A new catalog makes a new one that still knows every point of the last: a reading in the log
//! stays attributable after its point was taken out of the catalog. National site codes begin with their region, so the
//! order by site is the order by region.

use ahash::AHashMap;
use model::{Catalog, PointId};
use std::ops::Range;
use std::sync::Arc;

/// Points in order. See the module.
#[derive(Debug, Default)]
pub struct Names {
    ids: Vec<i64>,
    site_of: Vec<u32>,
    codes: Vec<Box<str>>,
    sites: Vec<Arc<str>>,
    /// First point of each site, and the number of points at the end.
    starts: Vec<u32>,
    by_id: AHashMap<i64, u32>,
    by_site: AHashMap<Arc<str>, u32>,
}

impl Names {
    /// All points of `catalog` and of `before`.
    pub fn build(catalog: &Catalog, before: &Names) -> Self {
        let now = catalog.points().iter().zip(catalog.ids());
        let mut all: Vec<(&str, &str, i64)> =
            now.map(|(p, id)| (p.site.as_str(), p.code.as_str(), id.0)).collect();
        let gone = (0..before.len() as u32).filter(|ix| catalog.ix(PointId(before.id(*ix))).is_none());
        all.extend(gone.map(|ix| (before.site(before.site_of(ix)), before.code(ix), before.id(ix))));
        all.sort_unstable();
        let mut this = Self::default();
        for (site, code, id) in all {
            if this.sites.last().is_none_or(|last| **last != *site) {
                let site: Arc<str> = site.into();
                this.by_site.insert(site.clone(), this.sites.len() as u32);
                this.sites.push(site);
                this.starts.push(this.ids.len() as u32);
            }
            this.by_id.insert(id, this.ids.len() as u32);
            this.ids.push(id);
            this.site_of.push(this.sites.len() as u32 - 1);
            this.codes.push(code.into());
        }
        this.starts.push(this.ids.len() as u32);
        this
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Dense index of a point by its id.
    pub fn ix(&self, id: i64) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    /// Id of a point.
    pub fn id(&self, ix: u32) -> i64 {
        self.ids[ix as usize]
    }

    /// Code of a point.
    pub fn code(&self, ix: u32) -> &str {
        &self.codes[ix as usize]
    }

    /// Site of a point.
    pub fn site_of(&self, ix: u32) -> u32 {
        self.site_of[ix as usize]
    }

    /// Code of a site.
    pub fn site(&self, site: u32) -> &str {
        &self.sites[site as usize]
    }

    /// A site by its code.
    pub fn site_ix(&self, code: &str) -> Option<u32> {
        self.by_site.get(code).copied()
    }

    /// Points of a site.
    pub fn points_of(&self, site: u32) -> Range<u32> {
        self.starts[site as usize]..self.starts[site as usize + 1]
    }

    /// A point of a site by its code.
    pub fn find(&self, site: u32, code: &str) -> Option<u32> {
        let range = self.points_of(site);
        let codes = &self.codes[range.start as usize..range.end as usize];
        codes.binary_search_by(|c| (**c).cmp(code)).ok().map(|i| range.start + i as u32)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use model::catalog::Place;
    use model::problem::Problems;
    use model::{Point, Site};

    pub(crate) fn catalog(points: &[(&str, &str)]) -> Catalog {
        let mut problems = Problems::default();
        let site = |code: &&str| Site { code: (*code).to_owned(), ..Site::default() };
        let mut sites: Vec<&str> = points.iter().map(|(s, _)| *s).collect();
        sites.dedup();
        let sites = sites.iter().map(|s| (site(s), Place::default())).collect();
        let point =
            |(s, p): &(&str, &str)| Point { site: (*s).into(), code: (*p).into(), ..Point::default() };
        let points = points.iter().map(|p| (point(p), Place::default())).collect();
        let catalog = Catalog::build(sites, points, 4, &mut problems);
        assert_eq!(problems.errors(), 0, "{problems}");
        catalog
    }

    #[test]
    fn order_is_that_of_the_table_and_nothing_is_forgotten() {
        let first = Names::build(&catalog(&[("b", "2"), ("b", "1"), ("a", "9")]), &Names::default());
        assert_eq!((first.code(0), first.code(1), first.code(2)), ("9", "1", "2"));
        assert_eq!(first.site(first.site_of(0)), "a");
        let second = Names::build(&catalog(&[("b", "1"), ("c", "1")]), &first);
        assert_eq!(second.len(), 4);
        let b = second.site_ix("b").unwrap();
        assert_eq!(second.points_of(b).len(), 2);
        assert_eq!(second.find(b, "2"), second.ix(PointId::of("b", "2").0));
        assert_eq!(second.find(b, "3"), None);
    }
}
