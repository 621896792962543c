//! `firedamp query`: SQL over stored and not yet stored readings as one.

use super::client::Client;
use super::{ConfigArg, Stop, check, offline};
use clap::Args;
use reqwest::Method;
use std::io::{IsTerminal, Write};
use storage::QueryError;
use storage::output::{self, Format, OutputError};

#[derive(Args, Debug)]
pub struct QueryArgs {
    /// The query
    sql: String,
    #[command(flatten)]
    config: ConfigArg,
    /// Form of the answer
    #[arg(long, value_parser = Format::WORDS, default_value = "table")]
    format: String,
}

/// Asks the running server, or the table itself when none runs.
pub async fn query(args: QueryArgs) -> Result<(), Stop> {
    let config = check::config(&args.config.config)?;
    let format = Format::parse(&args.format).unwrap_or(Format::Table);
    if matches!(format, Format::Parquet | Format::Arrow) && std::io::stdout().is_terminal() {
        return Err(Stop::Input("Arrow and Parquet are not for a terminal; add `> file`".to_owned()));
    }
    let mut bytes = Vec::new();
    match Client::find(&config).await? {
        Some(client) => {
            // A table is drawn here, from Arrow, so that the server needs no opinion on widths.
            let wire = if format == Format::Table { Format::Arrow } else { format };
            bytes =
                client.ask(Method::POST, "/api/v1/sql", wire.content_type(), args.sql, "text/plain").await?;
            if format == Format::Table {
                bytes = table(&bytes)?;
            }
        }
        None => {
            // The table's own threads run the query: it lives until the last row is written.
            let table = offline::table(&config).await?;
            let rows = table.query(&args.sql, config.storage.limits).await.map_err(stop)?;
            output::write(rows, format, &mut bytes).await.map_err(|e| match e {
                OutputError::Query(e) => stop(e),
                OutputError::Write(e) => Stop::Could(anyhow::anyhow!(e)),
            })?;
        }
    }
    let mut out = std::io::stdout();
    out.write_all(&bytes).and_then(|()| out.flush()).map_err(Stop::writing)
}

fn stop(e: QueryError) -> Stop {
    match e {
        QueryError::Storage(e) => Stop::Could(anyhow::anyhow!(e)),
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
