//! `points` and `sites` in SQL: the catalog in force, from memory.

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use model::{Catalog, Point, Site};
use std::sync::Arc;

/// Those of the two that a query names; both, empty of rows, where it names neither, so that they are listed.
pub fn named(names: &[String], catalog: &Catalog) -> Vec<(&'static str, Arc<dyn TableProvider>)> {
    let wanted = |table: &str| names.iter().any(|n| n == table);
    let none = Catalog::default();
    let of = |table| if wanted(table) { catalog } else { &none };
    vec![("points", points(of("points"))), ("sites", sites(of("sites")))]
}

fn table(columns: Vec<(&str, ArrayRef)>) -> Arc<dyn TableProvider> {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
        .expect("the columns have one length");
    Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).expect("the batch has its own schema"))
}

fn points(catalog: &Catalog) -> Arc<dyn TableProvider> {
    let all = || catalog.points().iter().map(AsRef::as_ref);
    let text = |f: fn(&Point) -> &str| Arc::new(StringArray::from_iter_values(all().map(f))) as ArrayRef;
    let number = |f: fn(&Point) -> Option<f64>| Arc::new(all().map(f).collect::<Float64Array>()) as ArrayRef;
    let region = (0..catalog.points().len() as u32).map(|ix| catalog.region_of(ix));
    table(vec![
        ("site", text(|p| &p.site)),
        ("point", text(|p| &p.code)),
        ("name", text(|p| &p.name)),
        ("quantity", text(|p| &p.quantity)),
        ("unit", text(|p| &p.unit)),
        ("low", number(|p| p.low)),
        ("high", number(|p| p.high)),
        ("place", text(|p| &p.place)),
        ("region", Arc::new(StringArray::from_iter_values(region))),
        ("hazard_level", text(|p| &p.hazard_level)),
        ("period_s", number(|p| p.period.map(|t| t as f64 / 1e6))),
        ("alarm_on", number(|p| p.limits.alarm_on)),
        ("alarm_off", number(|p| p.limits.alarm_off)),
        ("cut_on", number(|p| p.limits.cut_on)),
        ("cut_off", number(|p| p.limits.cut_off)),
        ("id", Arc::new(Int64Array::from_iter_values(catalog.ids().iter().map(|id| id.0)))),
    ])
}

fn sites(catalog: &Catalog) -> Arc<dyn TableProvider> {
    let all = || catalog.sites().iter();
    let text = |f: fn(&Site) -> &str| Arc::new(StringArray::from_iter_values(all().map(f))) as ArrayRef;
    let number = |f: fn(&Site) -> Option<f64>| Arc::new(all().map(f).collect::<Float64Array>()) as ArrayRef;
    table(vec![
        ("site", text(|s| &s.code)),
        ("name", text(|s| &s.name)),
        ("kind", text(|s| &s.kind)),
        ("region", text(|s| &s.region)),
        ("lon", number(|s| s.lon)),
        ("lat", number(|s| s.lat)),
        ("state", text(|s| &s.state)),
        ("gas_class", text(|s| &s.gas_class)),
        ("address", text(|s| &s.address)),
    ])
}
