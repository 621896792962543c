//! The binary `firedamp`: reads the command line, runs one command, ends with its exit code
//! (0 done, 1 found what was asked to find, 2 wrong use or bad input, 3 could not).

use clap::Parser;
use firedamp::commands::{Cli, dispatch};
use std::process::ExitCode;

fn main() -> ExitCode {
    // reqwest and lettre take the process's default; there is one TLS stack.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = Cli::parse();
    firedamp::logging::start(cli.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("the runtime cannot be started: {e}");
            return ExitCode::from(3);
        }
    };
    let code = runtime.block_on(dispatch(cli));
    // What still blocks in the background must not hold the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    code
}
