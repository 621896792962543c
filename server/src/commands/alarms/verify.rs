//! `firedamp alarms verify`: looks through the journal in the database itself, whether a server runs or not, and asks nobody.

use crate::commands::{ConfigArg, Stop, check};
use ::alerts::SqlJournal;
use ::alerts::journal::{self, Checkpoint};
use anyhow::anyhow;
use clap::Args;
use model::time::rfc3339;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Args, Debug)]
pub struct VerifyArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Files of signed entries, a JSON object a line, as receivers with `checkpoints` got them
    #[arg(long)]
    checkpoints: Vec<PathBuf>,
    /// Public keys that may have signed them, 64 hex digits each; without any that of the configuration, else any at all
    #[arg(long)]
    key: Vec<String>,
}

/// Pause between words of progress.
const WORD: Duration = Duration::from_secs(2);

/// Looks and says; exit code 1 where something was changed.
pub async fn verify(args: VerifyArgs) -> Result<(), Stop> {
    let config = check::config(&args.config.config)?;
    let mut keys = args.key.iter().map(|digits| public(digits)).collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() {
        keys.extend(config.alerts.signer.as_ref().map(|signer| signer.key()));
    }
    let mut checkpoints = Vec::new();
    for file in &args.checkpoints {
        read(file, &keys, &mut checkpoints)?;
    }
    let file = SqlJournal::open(config.alerts.database.expose()).await.map_err(|e| anyhow!(e))?;
    let mut told = Instant::now();
    let found = journal::verify(&file, &checkpoints, |seq| {
        if told.elapsed() > WORD {
            told = Instant::now();
            eprintln!("{seq} entries looked at");
        }
    });
    match found.await.map_err(|e| anyhow!(e))? {
        Err(broken) => {
            println!("the journal is not what was written: {broken}");
            Err(Stop::Found)
        }
        Ok(head) => {
            println!(
                "journal: {} entries, each as it was written; the newest is {}",
                head.seq,
                hex::encode(head.hash)
            );
            match checkpoints.iter().max_by_key(|c| c.seq) {
                Some(c) => println!(
                    "{} checkpoints hold; entry {} was signed at {} with {}",
                    checkpoints.len(),
                    c.seq,
                    rfc3339(c.at),
                    hex::encode(c.key)
                ),
                None => println!(
                    "without checkpoints nothing shows whether its end was cut off or all of it written anew"
                ),
            }
            Ok(())
        }
    }
}

fn public(digits: &str) -> Result<[u8; 32], Stop> {
    let mut key = [0; 32];
    hex::decode_to_slice(digits, &mut key)
        .map_err(|_| Stop::Input(format!("`{digits}` is no public key: it has 64 hex digits")))?;
    Ok(key)
}

/// A line is a checkpoint, or a message that holds one.
fn read(file: &Path, keys: &[[u8; 32]], out: &mut Vec<Checkpoint>) -> Result<(), Stop> {
    let text = std::fs::read_to_string(file).map_err(|e| Stop::Input(format!("{}: {e}", file.display())))?;
    for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |e: String| Stop::Input(format!("{}:{}: {e}", file.display(), n + 1));
        let json: serde_json::Value = serde_json::from_str(line).map_err(|e| wrong(e.to_string()))?;
        let checkpoint = json.get("checkpoint").unwrap_or(&json).to_string();
        out.push(Checkpoint::read(&checkpoint, keys).map_err(|e| wrong(e.to_string()))?);
    }
    Ok(())
}
