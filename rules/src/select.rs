//! Which points a rule is for: by attribute, each one value, a list, or a prefix `14*`.

use model::catalog::fits;
use model::toml_file::{Located, Section};
use model::{Catalog, Problems};

type Read = fn(&Catalog, u32) -> &str;

const ATTRIBUTES: [(&str, Read); 8] = [
    ("quantity", |c, ix| &c.point(ix).quantity),
    ("place", |c, ix| &c.point(ix).place),
    ("site", |c, ix| &c.point(ix).site),
    ("point", |c, ix| &c.point(ix).code),
    ("region", |c, ix| c.region_of(ix)),
    ("type_code", |c, ix| &c.point(ix).type_code),
    ("hazard_level", |c, ix| &c.point(ix).hazard_level),
    ("kind", |c, ix| &c.site_of(ix).kind),
];

/// All conditions must hold.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Select {
    attributes: Vec<(usize, Vec<String>)>,
    labels: Vec<(String, String)>,
}

impl Select {
    /// Reads `select = { .. }`; labels stand below `label`.
    pub fn read(rule: &Section<'_>) -> Self {
        let mut this = Self::default();
        let Some(s) = rule.table("select") else {
            rule.missing("select", "{ quantity = \"ch4\" }");
            return this;
        };
        for (i, (name, _)) in ATTRIBUTES.iter().enumerate() {
            if let Some(values) = s.strs(name) {
                let values: Vec<String> =
                    values.into_iter().map(|v: Located<&str>| v.value.to_owned()).collect();
                this.attributes.push((i, values));
            }
        }
        if let Some(labels) = s.table("label") {
            this.labels = labels.rest_as_text().into_iter().map(|(k, v)| (k, v.value)).collect();
        }
        if this.attributes.is_empty() && this.labels.is_empty() {
            s.error(
                "`select` has no condition",
                "select by quantity, place, site, region, type_code, hazard_level, kind or label",
            );
        }
        s.finish();
        this
    }

    /// Whether a point is selected.
    pub fn selects(&self, catalog: &Catalog, ix: u32) -> bool {
        let labels = &catalog.point(ix).labels;
        self.attributes
            .iter()
            .all(|(i, values)| values.iter().any(|v| fits(ATTRIBUTES[*i].1(catalog, ix), v)))
            && self.labels.iter().all(|(k, v)| labels.iter().any(|(key, is)| key == k && fits(is, v)))
    }

    /// Warns where nothing is selected.
    pub fn check(
        &self,
        name: &str,
        selected: usize,
        place: &(String, usize, usize),
        problems: &mut Problems,
    ) {
        // A shipped pack has rules for many kinds of sites; that some select nothing here is no mistake.
        if selected == 0 && !place.0.starts_with("pack:") {
            let message = format!("rule `{name}` selects no point of the catalog");
            let problem = model::Problem::warning(&place.0, place.1, place.2, message);
            problems.push(problem.help("look for a mistyped quantity or place"));
        }
    }
}
