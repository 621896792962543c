//! `firedamp probe`: looks at a device before it is configured.

use super::{Form, Stop};
use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};

#[derive(Subcommand, Debug)]
pub enum ProbeCommand {
    /// Read registers of a Modbus TCP device, shown in each type and word order
    Modbus(ModbusArgs),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Table {
    Holding,
    Input,
    Coil,
    Discrete,
}

#[derive(Args, Debug)]
pub struct ModbusArgs {
    /// Address, such as 127.0.0.1:502
    address: String,
    /// Slave
    #[arg(long, default_value_t = 1)]
    unit: u8,
    /// Which table
    #[arg(long, value_enum, default_value = "holding")]
    table: Table,
    /// First register, zero-based
    #[arg(long, default_value_t = 0)]
    start: u16,
    /// Number of registers
    #[arg(long, default_value_t = 10)]
    count: u16,
    /// Form of the answer
    #[arg(long, value_enum, default_value = "table")]
    format: Form,
}

/// Probes and prints.
pub async fn probe(command: ProbeCommand) -> Result<(), Stop> {
    let ProbeCommand::Modbus(args) = command;
    let table = match args.table {
        Table::Holding => ingest::modbus::plan::Table::Holding,
        Table::Input => ingest::modbus::plan::Table::Input,
        Table::Coil => ingest::modbus::plan::Table::Coil,
        Table::Discrete => ingest::modbus::plan::Table::Discrete,
    };
    let address = args.address.strip_prefix("tcp://").unwrap_or(&args.address);
    let report = ingest::probe::probe(address, args.unit, table, args.start, args.count).await;
    let report = report.with_context(|| format!("probe of {address}"))?;
    match args.format {
        Form::Table => print!("{report}"),
        Form::Json => println!("{}", serde_json::to_string(&report).map_err(|e| anyhow::anyhow!(e))?),
    }
    Ok(())
}
