//! Writes the answer of a query: as a table for people, CSV, JSON (an array of objects), JSON lines, Arrow IPC stream, or
//! Parquet. In the text formats times are RFC 3339 with milliseconds (more digits only where they are not zero), and
//! missing values are empty (CSV) or null (JSON).

mod text;

use crate::error::QueryError;
use crate::query::QueryStream;
use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder as CsvBuilder;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::writer::{JsonArray, JsonFormat, LineDelimited, WriterBuilder as JsonBuilder};
use arrow::util::pretty::pretty_format_batches_with_schema;
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use std::io::Write;

/// How an answer is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Columns in a frame, for people.
    Table,
    /// With a header.
    Csv,
    /// An array of objects.
    Json,
    /// One object a line.
    JsonLines,
    /// Arrow IPC stream.
    Arrow,
    /// A Parquet file.
    Parquet,
}

impl Format {
    /// Words for the command line.
    pub const WORDS: [&'static str; 6] = ["table", "csv", "json", "jsonl", "arrow", "parquet"];

    const ALL: [Format; 6] =
        [Self::Table, Self::Csv, Self::Json, Self::JsonLines, Self::Arrow, Self::Parquet];

    /// From its word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().position(|w| *w == word).map(|at| Self::ALL[at])
    }

    /// From an HTTP `Accept` header: the first type known; none is named or everything is accepted: JSON.
    pub fn from_accept(accept: &str) -> Option<Self> {
        let mut types = accept.split(',').map(|t| t.split(';').next().unwrap_or_default().trim()).peekable();
        if types.peek().is_none_or(|t| t.is_empty()) {
            return Some(Self::Json);
        }
        types.find_map(|t| match t {
            "*/*" | "application/*" => Some(Self::Json),
            "application/x-ndjson" | "application/jsonl" => Some(Self::JsonLines),
            "text/*" => Some(Self::Csv),
            "application/x-parquet" => Some(Self::Parquet),
            _ => Self::ALL.into_iter().find(|f| f.content_type().split(';').next() == Some(t)),
        })
    }

    /// For an HTTP answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Table => "text/plain; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Json => "application/json",
            Self::JsonLines => "application/x-ndjson",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// Why an answer could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The query failed; what was written until then is not whole.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Nothing more can be written there.
    #[error("the output cannot be written: {0}")]
    Write(String),
}

impl From<ArrowError> for OutputError {
    fn from(e: ArrowError) -> Self {
        Self::Write(e.to_string())
    }
}

impl From<ParquetError> for OutputError {
    fn from(e: ParquetError) -> Self {
        Self::Write(e.to_string())
    }
}

impl From<std::io::Error> for OutputError {
    fn from(e: std::io::Error) -> Self {
        Self::Write(e.to_string())
    }
}

/// Writes the whole answer and returns the number of its rows.
///
/// # Errors
/// [`OutputError`].
pub async fn write(
    rows: QueryStream,
    format: Format,
    out: &mut (impl Write + Send),
) -> Result<u64, OutputError> {
    let schema = rows.schema();
    match format {
        Format::Table => write_table(rows, out).await,
        Format::Csv => {
            let writer = CsvBuilder::new().with_header(false).build(&mut *out);
            let mut sink = TextSink { writer, schema: text::schema(&schema), write: |w, b| w.write(b) };
            // The header stands there even when no row follows.
            let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            sink.header(&names)?;
            sink.all(rows).await
        }
        Format::Json => write_json::<JsonArray>(rows, out, "\n").await,
        Format::JsonLines => write_json::<LineDelimited>(rows, out, "").await,
        Format::Arrow => {
            let mut writer = StreamWriter::try_new(out, &schema)?;
            let count = each(rows, |batch| Ok(writer.write(batch)?)).await?;
            writer.finish()?;
            Ok(count)
        }
        Format::Parquet => {
            let level = ZstdLevel::try_new(3).unwrap_or_default();
            let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
            let mut writer = ArrowWriter::try_new(out, schema, Some(properties))?;
            let count = each(rows, |batch| Ok(writer.write(batch)?)).await?;
            writer.close()?;
            Ok(count)
        }
    }
}

struct TextSink<W: Write> {
    writer: arrow::csv::Writer<W>,
    schema: SchemaRef,
    write: fn(&mut arrow::csv::Writer<W>, &RecordBatch) -> Result<(), ArrowError>,
}

impl<W: Write + Send> TextSink<W> {
    fn header(&mut self, names: &[&str]) -> Result<(), OutputError> {
        let columns =
            names.iter().map(|n| (*n, std::sync::Arc::new(arrow::array::StringArray::from(vec![*n])) as _));
        if names.is_empty() {
            return Ok(());
        }
        Ok((self.write)(&mut self.writer, &RecordBatch::try_from_iter(columns)?)?)
    }

    async fn all(mut self, rows: QueryStream) -> Result<u64, OutputError> {
        let schema = self.schema.clone();
        each(rows, |batch| Ok((self.write)(&mut self.writer, &text::batch(batch, &schema)?)?)).await
    }
}

async fn write_json<F: JsonFormat + Send>(
    rows: QueryStream,
    out: &mut (impl Write + Send),
    end: &str,
) -> Result<u64, OutputError> {
    let schema = text::schema(&rows.schema());
    let mut writer = JsonBuilder::new().with_explicit_nulls(true).build::<_, F>(&mut *out);
    let count = each(rows, |batch| Ok(writer.write(&text::batch(batch, &schema)?)?)).await?;
    writer.finish()?;
    out.write_all(end.as_bytes())?;
    Ok(count)
}

async fn write_table(rows: QueryStream, out: &mut (impl Write + Send)) -> Result<u64, OutputError> {
    let schema = text::schema(&rows.schema());
    let mut batches = Vec::new();
    let count = each(rows, |batch| {
        batches.push(text::batch(batch, &schema)?);
        Ok(())
    })
    .await?;
    writeln!(out, "{}", pretty_format_batches_with_schema(schema, &batches)?)?;
    writeln!(out, "{count} row{}", if count == 1 { "" } else { "s" })?;
    Ok(count)
}

async fn each(
    mut rows: QueryStream,
    mut write: impl FnMut(&RecordBatch) -> Result<(), OutputError>,
) -> Result<u64, OutputError> {
    let mut count = 0;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        count += batch.num_rows() as u64;
        write(&batch)?;
    }
    Ok(count)
}
