//! Rows of a CSV: readings of one site at one time, in the order of the file.

use super::Columns;
use anyhow::{Context, anyhow, bail};
use model::Micros;
use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Readings of one site at one time.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Site code.
    pub site: String,
    /// Their time.
    pub time: Micros,
    /// Index of the point in [`Rows::points`], value, status.
    pub readings: Vec<(usize, Option<f64>, i32)>,
    /// Line of the file where it begins, 1-based.
    pub line: u64,
}

/// Reads rows one by one.
#[derive(Debug)]
pub struct Rows {
    file: PathBuf,
    reader: csv::Reader<BufReader<File>>,
    record: csv::StringRecord,
    form: Form,
    points: Vec<String>,
    index: HashMap<String, usize>,
    /// The first record of the next row, in the long form.
    ahead: Option<Record>,
}

#[derive(Debug)]
enum Form {
    Long { site: usize, point: usize, time: usize, value: usize, status: Option<usize> },
    Wide { site: String, start: Micros, step: Micros, columns: Vec<usize>, next: i64 },
}

#[derive(Debug)]
struct Record {
    site: String,
    time: Micros,
    reading: (usize, Option<f64>, i32),
    line: u64,
}

impl Rows {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// When it cannot be opened, or the header does not fit the form.
    pub fn open(file: &Path, columns: &Columns) -> anyhow::Result<Self> {
        let shown = file.display();
        let opened = File::open(file).with_context(|| format!("cannot open {shown}"))?;
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(BufReader::new(opened));
        let header = reader.headers().with_context(|| format!("{shown}:1: not a CSV in UTF-8"))?.clone();
        let names: Vec<&str> = header.iter().map(|h| h.trim_start_matches('\u{feff}')).collect();
        let find = |name: &str| names.iter().position(|n| *n == name);
        let (form, points) = match columns {
            Columns::Long => {
                let need = |name: &str| {
                    find(name).with_context(|| format!("{shown}:1: column `{name}` is missing; a long file has site,point,time,value,status"))
                };
                let (site, point, time, value) =
                    (need("site")?, need("point")?, need("time")?, need("value")?);
                (Form::Long { site, point, time, value, status: find("status") }, Vec::new())
            }
            Columns::Wide { site, start, step, only } => {
                if start % 1000 != 0 || !step.as_micros().is_multiple_of(1000) || step.is_zero() {
                    bail!("start and step must be whole milliseconds, the step above zero");
                }
                let picked: Vec<usize> = if only.is_empty() {
                    (0..names.len()).collect()
                } else {
                    let index =
                        |n: &String| find(n).with_context(|| format!("{shown}:1: there is no column `{n}`"));
                    only.iter().map(index).collect::<Result<_, _>>()?
                };
                let points = picked.iter().map(|i| names[*i].to_owned()).collect();
                let step = step.as_micros() as Micros;
                (Form::Wide { site: site.clone(), start: *start, step, columns: picked, next: 0 }, points)
            }
        };
        let index = points.iter().enumerate().map(|(i, p): (usize, &String)| (p.clone(), i)).collect();
        let (file, record) = (file.to_owned(), csv::StringRecord::new());
        Ok(Self { file, reader, record, form, points, index, ahead: None })
    }

    /// The points met so far (in the wide form, all).
    pub fn points(&self) -> &[String] {
        &self.points
    }

    /// The next row.
    ///
    /// # Errors
    /// What is wrong, with file and line.
    pub fn next_row(&mut self) -> anyhow::Result<Option<Row>> {
        if matches!(self.form, Form::Wide { .. }) { self.next_wide() } else { self.next_long() }
    }

    /// Reads a record; its line, or `None` at the end.
    fn read(&mut self) -> anyhow::Result<Option<u64>> {
        let more = self.reader.read_record(&mut self.record);
        let line = self.record.position().map_or(0, csv::Position::line);
        match more {
            Ok(more) => Ok(more.then_some(line)),
            Err(e) => Err(anyhow!("{}: {e}", self.file.display())),
        }
    }

    fn wrong(&self, line: u64, what: &str) -> anyhow::Error {
        anyhow!("{}:{line}: {what}", self.file.display())
    }

    fn next_wide(&mut self) -> anyhow::Result<Option<Row>> {
        let Some(line) = self.read()? else { return Ok(None) };
        let Form::Wide { site, start, step, columns, next } = &self.form else { return Ok(None) };
        let time = next.checked_mul(*step).and_then(|t| t.checked_add(*start));
        let time = time.ok_or_else(|| self.wrong(line, "the time of this row is too large"))?;
        let mut readings = Vec::with_capacity(columns.len());
        for (i, column) in columns.iter().enumerate() {
            readings.push((i, self.number(line, *column)?, 0));
        }
        let site = site.clone();
        if let Form::Wide { next, .. } = &mut self.form {
            *next += 1;
        }
        Ok(Some(Row { site, time, readings, line }))
    }

    fn next_long(&mut self) -> anyhow::Result<Option<Row>> {
        let first = match self.ahead.take() {
            Some(record) => record,
            None => match self.long_record()? {
                Some(record) => record,
                None => return Ok(None),
            },
        };
        let mut row =
            Row { site: first.site, time: first.time, readings: vec![first.reading], line: first.line };
        while let Some(next) = self.long_record()? {
            let known = row.readings.iter().any(|r| r.0 == next.reading.0);
            if next.site != row.site || next.time != row.time || known {
                self.ahead = Some(next);
                break;
            }
            row.readings.push(next.reading);
        }
        Ok(Some(row))
    }

    fn long_record(&mut self) -> anyhow::Result<Option<Record>> {
        let Some(line) = self.read()? else { return Ok(None) };
        let Form::Long { site, point, time, value, status } = self.form else { return Ok(None) };
        let value = self.number(line, value)?;
        let field = |i: usize| self.record.get(i).unwrap_or_default();
        let time = model::time::parse(field(time)).map_err(|e| self.wrong(line, &e))?;
        if time % 1000 != 0 {
            return Err(self.wrong(line, "the time is not a whole number of milliseconds"));
        }
        let status = match status.map(field).unwrap_or_default() {
            "" => 0,
            text => {
                text.parse().map_err(|_| self.wrong(line, &format!("status `{text}` is no whole number")))?
            }
        };
        let (site, point) = (field(site).to_owned(), field(point).to_owned());
        if site.is_empty() || point.is_empty() {
            return Err(self.wrong(line, "site or point is empty"));
        }
        let next = self.points.len();
        let at = *self.index.entry(point.clone()).or_insert(next);
        if at == next {
            self.points.push(point);
        }
        Ok(Some(Record { site, time, reading: (at, value, status), line }))
    }

    fn number(&self, line: u64, column: usize) -> anyhow::Result<Option<f64>> {
        match self.record.get(column).unwrap_or_default() {
            "" => Ok(None),
            text => match text.parse::<f64>() {
                Ok(v) if v.is_finite() => Ok(Some(v)),
                _ => Err(self.wrong(line, &format!("`{text}` in column {} is no number", column + 1))),
            },
        }
    }
}
