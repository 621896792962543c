//! Dense indexes of points that come in the same order again and again, as every device and gateway sends them: what came after a
//! point last is tried first, and only where another one comes is it looked up. A look-up among a million points costs more than judging
//! a reading; with one a stage the path of a reading spent much of its time on them.

use crate::catalog::Catalog;
use crate::ids::PointId;

/// What came after each point of one catalog last.
#[derive(Clone, Debug)]
pub struct Follow {
    /// By the point before; the last place is for what comes first.
    next: Vec<u32>,
    before: usize,
}

impl Follow {
    /// For a catalog of so many points, of which nothing came yet.
    pub fn new(points: usize) -> Self {
        Self { next: vec![0; points + 1], before: points }
    }

    /// Dense index of a point of the catalog that this was made for.
    #[inline]
    pub fn ix(&mut self, catalog: &Catalog, id: PointId) -> Option<u32> {
        let ids = catalog.ids();
        self.one(|ix| ids.get(ix as usize) == Some(&id), || catalog.ix(id))
    }

    /// The same by the names that files have.
    pub fn named(&mut self, catalog: &Catalog, site: &[u8], point: &[u8]) -> Option<u32> {
        let is = |ix: u32| {
            let known = catalog.points().get(ix as usize);
            known.is_some_and(|p| p.code.as_bytes() == point && p.site.as_bytes() == site)
        };
        let find = || catalog.find(std::str::from_utf8(site).ok()?, std::str::from_utf8(point).ok()?);
        self.one(is, find)
    }

    #[inline]
    fn one(&mut self, is: impl FnOnce(u32) -> bool, find: impl FnOnce() -> Option<u32>) -> Option<u32> {
        let next = &mut self.next[self.before];
        if !is(*next) {
            *next = find()?;
        }
        self.before = *next as usize;
        Some(*next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Problems;
    use crate::catalog::{Place, Point, Site};

    #[test]
    fn every_point_is_found_in_any_order_and_strangers_are_not() {
        let site = Site { code: "M".into(), kind: "mine".into(), ..Site::default() };
        let point = |i: u32| Point {
            site: "M".into(),
            code: format!("P{i}"),
            quantity: "ch4".into(),
            ..Point::default()
        };
        let points = (0..50).map(|i| (point(i), Place::default())).collect();
        let catalog = Catalog::build(vec![(site, Place::default())], points, 1, &mut Problems::default());
        let mut follow = Follow::new(50);
        for step in [1u32, 1, 7, 1, 13, 0] {
            for i in 0..100 {
                let ix = i * step % 50;
                assert_eq!(follow.ix(&catalog, catalog.ids()[ix as usize]), Some(ix));
                assert_eq!(follow.ix(&catalog, PointId::of("M", "stranger")), None);
                assert_eq!(follow.named(&catalog, b"M", format!("P{ix}").as_bytes()), Some(ix));
                assert_eq!(follow.named(&catalog, b"N", format!("P{ix}").as_bytes()), None);
                assert_eq!(follow.named(&catalog, b"M", b"\xff"), None);
            }
        }
        assert_eq!(Follow::new(0).ix(&Catalog::default(), PointId(0)), None);
    }
}
