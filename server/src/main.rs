//! The binary `firedamp`: reads the command line, runs one command, ends with its exit code
//! (0 done, 1 found what was asked to find, 2 wrong use or bad input, 3 could not, or nobody read the whole answer).

use clap::Parser;
use firedamp::commands::{Cli, dispatch};
use std::process::ExitCode;

fn main() -> ExitCode {
    // reqwest and lettre take the process's default; there is one TLS stack.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = Cli::parse();
    if cli.only_answers() {
        end_with_the_reader();
    }
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

/// Who reads the answer may have enough of it, as `head` has: there is nobody to tell, and the answer is not whole.
fn end_with_the_reader() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload().downcast_ref::<String>().map_or("", String::as_str);
        if message.starts_with("failed printing to stdout") && message.contains("Broken pipe") {
            std::process::exit(3);
        }
        told(panic);
    }));
}
