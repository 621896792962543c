//! What a reading takes on disk, by column: in the log from records encoded with one column at rest, in the table from the footers
//! of its files.

use crate::yardstick::{ROWS, record};
use model::{Readings, Record};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

/// Bytes a reading of a record as on the path, in all and what each column adds: the difference to the same record with that column
/// all zero. What is left belongs to the schema, the runs and the framing.
#[must_use]
pub fn of_log() -> Value {
    let whole = record(0);
    let size = |readings: &Readings| {
        let Record::Readings { runs, .. } = &whole else { return 0.0 };
        Record::Readings { runs: runs.clone(), readings: readings.clone() }.encode().len() as f64
            / ROWS as f64
    };
    let Record::Readings { readings, .. } = &whole else { return Value::Null };
    let total = size(readings);
    let without = |zero: &dyn Fn(&mut Readings)| {
        let mut rest = readings.clone();
        zero(&mut rest);
        total - size(&rest)
    };
    json!({
        "rows_a_record": ROWS, "all": total,
        "point": without(&|r| r.point = vec![0; ROWS].into()), "time": without(&|r| r.time = vec![0; ROWS].into()),
        "value": without(&|r| r.value = vec![0.0; ROWS].into()), "status": without(&|r| r.status = vec![0; ROWS].into()),
    })
}

/// Bytes a reading of each column of all Parquet files below a folder, compressed.
///
/// # Errors
/// A file that cannot be read.
pub fn of_table(folder: &Path) -> anyhow::Result<Value> {
    let (mut bytes, mut rows) = (BTreeMap::<String, i64>::new(), 0);
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            // `_delta_log` keeps checkpoints in Parquet too.
            if path.is_dir() && !path.ends_with("_delta_log") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "parquet") {
                let reader = SerializedFileReader::new(File::open(&path)?)?;
                rows += reader.metadata().file_metadata().num_rows();
                for column in reader.metadata().row_groups().iter().flat_map(|g| g.columns()) {
                    *bytes.entry(column.column_path().string()).or_default() += column.compressed_size();
                }
            }
        }
    }
    Ok(bytes.into_iter().map(|(column, bytes)| (column, json!(bytes as f64 / rows.max(1) as f64))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_of_a_record_are_most_of_it() {
        let columns = of_log();
        let n = |key: &str| columns[key].as_f64().unwrap();
        let sum: f64 = ["point", "time", "value", "status"].map(n).iter().sum();
        assert!(n("all") > 1.0 && sum > 0.5 * n("all") && sum < 1.1 * n("all"), "{columns}");
    }
}
