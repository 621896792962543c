//! The catalog: which sites and points exist, with their attributes. Read from CSV or from national CDDY files, changed as
//! a whole, found by id (dense index) or by name. Checks what can be checked without rules: duplicates, unknown sites,
//! colliding ids, ranges.

use crate::ids::{PointId, partition_of};
use crate::problem::{Problem, Problems, nearest};
use crate::time::Micros;
use ahash::AHashMap;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

mod csv_file;

pub use csv_file::{SITE_STATES, points_from_csv, sites_from_csv};

/// Whether an attribute is the one that is wanted, or begins with it where that ends in `*`.
pub fn fits(is: &str, want: &str) -> bool {
    match want.strip_suffix('*') {
        Some(prefix) => is.starts_with(prefix),
        None => is == want,
    }
}

/// What is empty is left out of the JSON: most fields of most points are.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A mine or a plant.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Site {
    /// Code: 12 digits in coal, any text elsewhere.
    #[serde(skip_serializing_if = "is_default")]
    pub code: String,
    /// Name for people.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// `mine` or `plant`.
    #[serde(skip_serializing_if = "is_default")]
    pub kind: String,
    /// GB/T 2260 code, six digits.
    #[serde(skip_serializing_if = "is_default")]
    pub region: String,
    /// Longitude, degrees, CGCS2000.
    #[serde(skip_serializing_if = "is_default")]
    pub lon: Option<f64>,
    /// Latitude, degrees, CGCS2000.
    #[serde(skip_serializing_if = "is_default")]
    pub lat: Option<f64>,
    /// `operating`, `idle`, `maintenance` or `starting`.
    #[serde(skip_serializing_if = "is_default")]
    pub state: String,
    /// `low`, `high` or `outburst`.
    #[serde(skip_serializing_if = "is_default")]
    pub gas_class: String,
    /// Postal address.
    #[serde(skip_serializing_if = "is_default")]
    pub address: String,
}

/// Limits that stand in the catalog itself (CDDY fields 9 to 16), in the point's unit.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Upper alarm, on at or above.
    #[serde(skip_serializing_if = "is_default")]
    pub alarm_on: Option<f64>,
    /// Upper alarm, off below.
    #[serde(skip_serializing_if = "is_default")]
    pub alarm_off: Option<f64>,
    /// Upper cut.
    #[serde(skip_serializing_if = "is_default")]
    pub cut_on: Option<f64>,
    /// Upper restore.
    #[serde(skip_serializing_if = "is_default")]
    pub cut_off: Option<f64>,
    /// Lower alarm, on at or below.
    #[serde(skip_serializing_if = "is_default")]
    pub low_alarm_on: Option<f64>,
    /// Lower alarm release.
    #[serde(skip_serializing_if = "is_default")]
    pub low_alarm_off: Option<f64>,
    /// Lower cut.
    #[serde(skip_serializing_if = "is_default")]
    pub low_cut_on: Option<f64>,
    /// Lower restore.
    #[serde(skip_serializing_if = "is_default")]
    pub low_cut_off: Option<f64>,
}

/// One measured or switched quantity of a site.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Point {
    /// Site code.
    #[serde(skip_serializing_if = "is_default")]
    pub site: String,
    /// Point code: 28 characters in coal, any text elsewhere.
    #[serde(skip_serializing_if = "is_default")]
    pub code: String,
    /// Location or name for people.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// A word: `ch4 co o2 temperature wind level pressure fan feed ...`.
    #[serde(skip_serializing_if = "is_default")]
    pub quantity: String,
    /// Unit of value and limits.
    #[serde(skip_serializing_if = "is_default")]
    pub unit: String,
    /// Low end of the range.
    #[serde(skip_serializing_if = "is_default")]
    pub low: Option<f64>,
    /// High end of the range.
    #[serde(skip_serializing_if = "is_default")]
    pub high: Option<f64>,
    /// Place class `T0` ... `T8`, empty where none.
    #[serde(skip_serializing_if = "is_default")]
    pub place: String,
    /// How often it is read, microseconds; `silent` rules count in it.
    #[serde(skip_serializing_if = "is_default")]
    pub period: Option<Micros>,
    /// Region; empty: the site's.
    #[serde(skip_serializing_if = "is_default")]
    pub region: String,
    /// Major hazard source level 1 to 4; empty where none.
    #[serde(skip_serializing_if = "is_default")]
    pub hazard_level: String,
    /// Limits of its own.
    #[serde(skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// National relations as written (CDDY field 23).
    #[serde(skip_serializing_if = "is_default")]
    pub relations: String,
    /// `key=value` pairs that rules select by.
    #[serde(skip_serializing_if = "is_default")]
    pub labels: Vec<(String, String)>,
    /// National sensor type code of four digits; empty where none.
    #[serde(skip_serializing_if = "is_default")]
    pub type_code: String,
    /// `MN`, `KG`, `LJ` or `DT`; empty where none.
    #[serde(skip_serializing_if = "is_default")]
    pub value_type: String,
    /// Mends a collision of ids.
    #[serde(skip_serializing_if = "is_default")]
    pub salt: String,
}

impl Point {
    /// Its id on the wire.
    pub fn id(&self) -> PointId {
        PointId::salted(&self.site, &self.code, &self.salt)
    }
}

/// Where a catalog row stands, for problems.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// File as the user gave it.
    pub file: Arc<str>,
    /// Line, 1-based.
    pub line: usize,
}

/// All sites and points, with dense indexes: `points[i]` and `sites[j]` never change place within one catalog. Points are shared
/// with the slices of the partitions: a point takes about 650 bytes.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    sites: Vec<Site>,
    points: Vec<Arc<Point>>,
    ids: Vec<PointId>,
    site_of: Vec<u32>,
    partition_of_site: Vec<u32>,
    partitions: u32,
    by_id: AHashMap<i64, u32>,
    by_site: AHashMap<String, u32>,
    /// Points with a salt, by site and code; the others are found by their id.
    salted: AHashMap<(u32, String), u32>,
}

impl Catalog {
    /// Builds the indexes. Every mistake is pushed to `problems`; a row with an error is left out.
    pub fn build(
        sites: Vec<(Site, Place)>,
        points: Vec<(Point, Place)>,
        partitions: u32,
        problems: &mut Problems,
    ) -> Self {
        let mut this = Self { partitions, ..Self::default() };
        this.points.reserve_exact(points.len());
        this.ids.reserve_exact(points.len());
        this.site_of.reserve_exact(points.len());
        this.by_id.reserve(points.len());
        for (site, place) in sites {
            this.add_site(site, &place, problems);
        }
        for (point, place) in points {
            this.add_point(point, &place, problems);
        }
        this
    }

    fn add_site(&mut self, site: Site, place: &Place, problems: &mut Problems) {
        if let Some(&first) = self.by_site.get(&site.code) {
            // The same mine stands in the header of each of its national files; the first row counts.
            if self.sites[first as usize] != site {
                let message = format!("site `{}` stands twice", site.code);
                problems.push(
                    Problem::error(&place.file, place.line, 1, message).help("keep one of the two rows"),
                );
            }
            return;
        }
        self.by_site.insert(site.code.clone(), self.sites.len() as u32);
        self.partition_of_site.push(partition_of(&site.code, self.partitions));
        self.sites.push(site);
    }

    fn add_point(&mut self, point: Point, place: &Place, problems: &mut Problems) {
        let Some(&site) = self.by_site.get(&point.site) else {
            let help = match nearest(&point.site, self.by_site.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "add the site to the sites file".to_owned(),
            };
            let message = format!("point `{}`: site `{}` is not in the catalog", point.code, point.site);
            return problems.push(Problem::error(&place.file, place.line, 1, message).help(help));
        };
        let id = point.id();
        let same_id = self.by_id.get(&id.0).map(|ix| self.point(*ix));
        // A point with a salt has another id than one of the same name without it.
        let salted = !point.salt.is_empty() || !self.salted.is_empty();
        if same_id.is_some_and(|other| other.code == point.code && other.site == point.site)
            || (salted && self.find(&point.site, &point.code).is_some())
        {
            let message = format!("point `{}` of site `{}` stands twice", point.code, point.site);
            return problems
                .push(Problem::error(&place.file, place.line, 1, message).help("keep one of the two rows"));
        }
        if let Some(other) = same_id {
            let message = format!(
                "point `{}` of site `{}` has the same id as point `{}` of site `{}`",
                point.code, point.site, other.code, other.site
            );
            let help = "give the newer row another `salt`";
            return problems.push(Problem::error(&place.file, place.line, 1, message).help(help));
        }
        self.put(Arc::new(point), id, site);
    }

    fn put(&mut self, point: Arc<Point>, id: PointId, site: u32) {
        let ix = self.points.len() as u32;
        self.by_id.insert(id.0, ix);
        if !point.salt.is_empty() {
            self.salted.insert((site, point.code.clone()), ix);
        }
        self.ids.push(id);
        self.site_of.push(site);
        self.points.push(point);
    }

    /// All sites.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// All points.
    pub fn points(&self) -> &[Arc<Point>] {
        &self.points
    }

    /// Ids of [`Catalog::points`], in the same order.
    #[inline]
    pub fn ids(&self) -> &[PointId] {
        &self.ids
    }

    /// Number of partitions its sites are spread over.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// Dense index of a point.
    pub fn ix(&self, id: PointId) -> Option<u32> {
        self.by_id.get(&id.0).copied()
    }

    /// A point by its dense index.
    pub fn point(&self, ix: u32) -> &Point {
        &self.points[ix as usize]
    }

    /// The site of a point, by the point's dense index.
    pub fn site_of(&self, ix: u32) -> &Site {
        &self.sites[self.site_of[ix as usize] as usize]
    }

    /// Dense index of the site of a point.
    pub fn site_ix_of(&self, ix: u32) -> u32 {
        self.site_of[ix as usize]
    }

    /// Partition of a point, by its dense index.
    pub fn partition_of_point(&self, ix: u32) -> u32 {
        self.partition_of_site[self.site_of[ix as usize] as usize]
    }

    /// Dense index of a site by its code.
    pub fn site_ix(&self, code: &str) -> Option<u32> {
        self.by_site.get(code).copied()
    }

    /// A site by its code.
    pub fn site(&self, code: &str) -> Option<&Site> {
        self.site_ix(code).map(|ix| &self.sites[ix as usize])
    }

    /// Dense index of a point by the codes of site and point.
    pub fn find(&self, site: &str, point: &str) -> Option<u32> {
        let plain = self.ix(PointId::of(site, point));
        let is_it = |ix: &u32| self.point(*ix).code == point && self.point(*ix).site == site;
        plain.filter(is_it).or_else(|| {
            let site = self.site_ix(site).filter(|_| !self.salted.is_empty())?;
            self.salted.get(&(site, point.to_owned())).copied()
        })
    }

    /// The region of a point: its own, else its site's.
    pub fn region_of(&self, ix: u32) -> &str {
        let own = &self.point(ix).region;
        if own.is_empty() { &self.site_of(ix).region } else { own }
    }

    /// The sites and points of one partition, as [`Catalog::from_json`] of [`Catalog::to_json`] gives them.
    pub fn slice(&self, partition: u32) -> Self {
        let mut this = Self { partitions: self.partitions, ..Self::default() };
        let mut site_here = vec![u32::MAX; self.sites.len()];
        for (i, site) in
            self.sites.iter().enumerate().filter(|(i, _)| self.partition_of_site[*i] == partition)
        {
            site_here[i] = this.sites.len() as u32;
            this.by_site.insert(site.code.clone(), site_here[i]);
            this.partition_of_site.push(partition);
            this.sites.push(site.clone());
        }
        for (i, point) in self.points.iter().enumerate() {
            let site = site_here[self.site_of[i] as usize];
            if site != u32::MAX {
                this.put(point.clone(), self.ids[i], site);
            }
        }
        this
    }

    /// The sites and points of one partition as JSON, for an activation record.
    pub fn to_json(&self, partition: u32) -> String {
        let sites: Vec<&Site> = self
            .sites
            .iter()
            .zip(&self.partition_of_site)
            .filter(|(_, p)| **p == partition)
            .map(|(s, _)| s)
            .collect();
        let points: Vec<&Point> = (0..self.points.len() as u32)
            .filter(|ix| self.partition_of_point(*ix) == partition)
            .map(|ix| self.point(ix))
            .collect();
        #[derive(Serialize)]
        struct Json<'a> {
            partitions: u32,
            sites: Vec<&'a Site>,
            points: Vec<&'a Point>,
        }
        let json = Json { partitions: self.partitions, sites, points };
        serde_json::to_string(&json).expect("plain data can be written")
    }

    /// The catalog in the JSON of [`Catalog::to_json`].
    ///
    /// # Errors
    /// A sentence, when it is not such a JSON.
    pub fn from_json(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Json {
            partitions: u32,
            sites: Vec<Site>,
            points: Vec<Point>,
        }
        let json: Json = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let mut problems = Problems::default();
        let sites = json.sites.into_iter().map(|s| (s, Place::default())).collect();
        let points = json.points.into_iter().map(|p| (p, Place::default())).collect();
        let this = Self::build(sites, points, json.partitions, &mut problems);
        if problems.errors() == 0 { Ok(this) } else { Err(problems.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_to_catalog_and_back_through_json() {
        let mut problems = Problems::default();
        let sites = "site,name,kind,region,state\nM1,East,mine,140100,operating\nP1,Plant,plant,320100,\n";
        let points = "site,point,name,quantity,unit,low,high,place,period,alarm_on,alarm_off,labels\n\
                      M1,T1,face,ch4,%,0,4,T1,30s,0.8,0.8,face=1301;team=a\nP1,LT-101,tank,level,m,0,12,,,,,\n";
        let sites = sites_from_csv("sites.csv", sites, &mut problems);
        let points = points_from_csv("points.csv", points, &mut problems);
        let catalog = Catalog::build(sites, points, 8, &mut problems);
        assert!(problems.0.is_empty(), "{problems}");
        let ix = catalog.find("M1", "T1").unwrap();
        assert_eq!(catalog.ix(PointId::of("M1", "T1")), Some(ix));
        assert_eq!(catalog.point(ix).limits.alarm_on, Some(0.8));
        assert_eq!(catalog.point(ix).labels, [("face".into(), "1301".into()), ("team".into(), "a".into())]);
        assert_eq!(catalog.region_of(ix), "140100");
        let json = catalog.to_json(partition_of("M1", 8));
        let back = Catalog::from_json(&json).unwrap();
        assert_eq!(back.find("M1", "T1"), Some(0));
        let slice = catalog.slice(partition_of("M1", 8));
        assert_eq!((slice.sites(), slice.points(), slice.ids()), (back.sites(), back.points(), back.ids()));
        assert_eq!(
            (slice.find("M1", "T1"), slice.partition_of_point(0)),
            (Some(0), back.partition_of_point(0))
        );
    }

    #[test]
    fn mistakes_are_named_at_their_line() {
        let mut problems = Problems::default();
        let sites = sites_from_csv("sites.csv", "site,name,kind,region\nM1,East,mien,1401\n", &mut problems);
        let text = "site,point,name,quantity,unit,low,high,place\nM1,T1,a,ch4,%,4,0,T1\nM2,T1,a,ch4,%,zero,4,T1\nM1,T1,b,ch4,%\n";
        let points = points_from_csv("points.csv", text, &mut problems);
        Catalog::build(sites, points, 1, &mut problems);
        let shown = problems.to_string();
        for expected in [
            "sites.csv:2:9: error: kind is `mien`",
            "sites.csv:2:14: error: region `1401`",
            "points.csv:2:15: error: low 4 is not below high 0",
            "points.csv:3:15: error: low `zero` is not a number",
            "points.csv:4:",
        ] {
            assert!(shown.contains(expected), "missing `{expected}` in\n{shown}");
        }
    }
}
