//! `firedamp query`: SQL over stored and not yet stored readings as one.

use super::client::Client;
use super::{ConfigArg, Stop, check, offline};
use clap::{Args, ValueEnum};
use reqwest::Method;
use std::io::{IsTerminal, Write};
use storage::{Limits, QueryError, output};

#[derive(Args, Debug)]
pub struct QueryArgs {
    /// The query
    sql: String,
    #[command(flatten)]
    config: ConfigArg,
    /// Form of the answer
    #[arg(long, value_enum, default_value = "table")]
    format: QueryForm,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum QueryForm {
    Table,
    Json,
    Jsonl,
    Csv,
    Arrow,
    Parquet,
}

impl QueryForm {
    fn media(self) -> &'static str {
        match self {
            // A table is drawn here, from Arrow, so that the server needs no opinion on widths.
            QueryForm::Table | QueryForm::Arrow => "application/vnd.apache.arrow.stream",
            QueryForm::Json => "application/json",
            QueryForm::Jsonl => "application/x-ndjson",
            QueryForm::Csv => "text/csv",
            QueryForm::Parquet => "application/vnd.apache.parquet",
        }
    }

    fn format(self) -> output::Format {
        match self {
            QueryForm::Table => output::Format::Table,
            QueryForm::Json => output::Format::Json,
            QueryForm::Jsonl => output::Format::Jsonl,
            QueryForm::Csv => output::Format::Csv,
            QueryForm::Arrow => output::Format::Arrow,
            QueryForm::Parquet => output::Format::Parquet,
        }
    }
}

/// Asks the running server, or the table itself when none runs.
pub async fn query(args: QueryArgs) -> Result<(), Stop> {
    let config = check::config(&args.config.config)?;
    if matches!(args.format, QueryForm::Parquet | QueryForm::Arrow) && std::io::stdout().is_terminal() {
        return Err(Stop::Input("Arrow and Parquet are not for a terminal; add `> file`".to_owned()));
    }
    let bytes = match Client::find(&config).await? {
        Some(client) => {
            let answer = client.ask(Method::POST, "/api/v1/sql", args.format.media(), args.sql, "text/plain").await?;
            if args.format == QueryForm::Table { table(&answer)? } else { answer }
        }
        None => {
            let sql = &config.server.sql;
            let memory = usize::try_from(sql.memory).unwrap_or(usize::MAX);
            let limits = Limits { time: sql.time, memory, rows: sql.rows, ..Limits::default() };
            let stream = offline::table(&config).await?.query(&args.sql, limits).await.map_err(stop)?;
            output::to_bytes(stream, args.format.format()).await.map_err(stop)?
        }
    };
    std::io::stdout().write_all(&bytes).map_err(|e| anyhow::anyhow!(e).into())
}

fn stop(e: QueryError) -> Stop {
    match e {
        QueryError::Internal(e) => Stop::Could(anyhow::anyhow!("{e}")),
        wrong => Stop::Input(wrong.to_string()),
    }
}

fn table(arrow: &[u8]) -> Result<Vec<u8>, Stop> {
    let read = || -> Result<String, arrow::error::ArrowError> {
        let reader = arrow::ipc::reader::StreamReader::try_new(arrow, None)?;
        let batches = reader.collect::<Result<Vec<_>, _>>()?;
        Ok(arrow::util::pretty::pretty_format_batches(&batches)?.to_string())
    };
    read().map(|t| format!("{t}\n").into_bytes()).map_err(|e| anyhow::anyhow!(e).into())
}
