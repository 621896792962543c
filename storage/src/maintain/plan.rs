//! Which files to merge next: decided from their sizes and days alone.

use crate::delta::FileMeta;
use crate::options::Options;
use crate::schema::Table;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Files merged at once at most: each is open, with a page of every column in memory.
const FILES_MAX: usize = 64;
/// Files of fewer rows are one class.
const SMALLEST: u64 = 4096;
/// A day is left alone for so many days after it, for its late rows.
const SETTLED_DAYS: i32 = 1;

/// Files to be merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// Their paths.
    pub paths: Vec<String>,
    /// Their rows, where all say it.
    pub rows: Option<u64>,
}

/// The next merge of a table, if there is one.
pub fn next(table: Table, files: &[Arc<FileMeta>], today: i32, options: &Options) -> Option<Merge> {
    let mut days: BTreeMap<i32, Vec<&FileMeta>> = BTreeMap::new();
    for file in files {
        // A file is full at half the limit: merged with another it would be cut again.
        if let Some(day) = file.day
            && rows(file) < options.file_rows_max as u64 / 2
        {
            days.entry(day).or_default().push(file);
        }
    }
    // The newest day first: its files are the ones that are asked for.
    days.into_iter().rev().find_map(|(day, mut files)| {
        files.sort_by_key(|f| (f.times(table, table.day_of()), f.path.clone()));
        let over = day + SETTLED_DAYS < today;
        if over { merge(&files, 2, options) } else { merge_class(&files, options) }
    })
}

fn rows(file: &FileMeta) -> u64 {
    // Files of other programs may not say; a row of ours takes about two bytes.
    file.rows.unwrap_or(file.size / 2)
}

/// The class of size: each is `compact_files` times the one below.
fn class(rows: u64, options: &Options) -> u32 {
    let mut class = 0;
    let mut limit = SMALLEST;
    while rows >= limit {
        class += 1;
        limit = limit.saturating_mul(options.compact_files.max(2) as u64);
    }
    class
}

fn merge_class(files: &[&FileMeta], options: &Options) -> Option<Merge> {
    let mut classes: BTreeMap<u32, Vec<&FileMeta>> = BTreeMap::new();
    for file in files {
        classes.entry(class(rows(file), options)).or_default().push(file);
    }
    classes.into_values().find_map(|files| merge(&files, options.compact_files, options))
}

/// The first files, in order of time, that fit into one; at least `min` of them.
fn merge(files: &[&FileMeta], min: usize, options: &Options) -> Option<Merge> {
    let mut sum = 0;
    let fits = |f: &&&FileMeta| {
        sum += rows(f);
        sum <= options.file_rows_max as u64
    };
    let chosen: Vec<&FileMeta> = files.iter().take(FILES_MAX).take_while(fits).copied().collect();
    // Where fewer fit than would be a class, they make a full file.
    let enough = chosen.len() >= min || (chosen.len() >= 2 && chosen.len() < files.len().min(FILES_MAX));
    if files.len() < min || !enough {
        return None;
    }
    let paths = chosen.iter().map(|f| f.path.clone()).collect();
    Some(Merge { paths, rows: chosen.iter().map(|f| f.rows).sum() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: usize, day: i32, rows: u64) -> Arc<FileMeta> {
        let ranges = vec![None; Table::Readings.file_schema().fields().len()];
        Arc::new(FileMeta {
            path: format!("{name:04}"),
            size: rows,
            day: Some(day),
            rows: Some(rows),
            ranges,
        })
    }

    fn options() -> Options {
        Options { compact_files: 4, file_rows_max: 1_000_000, ..Options::default() }
    }

    #[test]
    fn alike_files_of_an_open_day_are_merged_and_others_left() {
        let files: Vec<_> =
            (0..3).map(|i| file(i, 10, 100)).chain([file(3, 10, 300_000), file(4, 9, 100)]).collect();
        assert_eq!(next(Table::Readings, &files, 10, &options()), None);
        let files: Vec<_> = (0..4).map(|i| file(i, 10, 100)).chain([file(4, 10, 300_000)]).collect();
        let merge = next(Table::Readings, &files, 10, &options()).unwrap();
        assert_eq!((merge.paths.len(), merge.rows), (4, Some(400)));
    }

    #[test]
    fn a_day_that_is_over_becomes_few_files() {
        let files = [file(0, 5, 100), file(1, 5, 300_000), file(2, 5, 600_000)];
        let merge = next(Table::Readings, &files, 7, &options()).unwrap();
        assert_eq!(merge.paths, ["0000", "0001"]);
        assert_eq!(next(Table::Readings, &files[1..], 7, &options()), None);
    }

    #[test]
    fn a_day_of_small_files_costs_a_logarithm_of_rewriting() {
        let options = options();
        let mut files: Vec<Arc<FileMeta>> = Vec::new();
        let (mut written, mut most) = (0, 0);
        for i in 0..1440 {
            files.push(file(i, 10, 2000));
            while let Some(merge) = next(Table::Readings, &files, 10, &options) {
                files.retain(|f| !merge.paths.contains(&f.path));
                written += merge.rows.unwrap();
                files.push(file(10_000 + written as usize, 10, merge.rows.unwrap()));
            }
            most = most.max(files.len());
        }
        assert!(most <= 30, "{most} files");
        assert!(written < 1440 * 2000 * 6, "{written} rows written again");
        assert_eq!(files.iter().map(|f| rows(f)).sum::<u64>(), 1440 * 2000);
    }
}
