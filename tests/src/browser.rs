//! Headless Chromium: the page as a picture, and its content after its scripts ran.

use crate::process::{Folder, run};
use anyhow::Result;
use std::path::Path;
use std::process::Command;

fn chromium(profile: &Folder, url: &str, more: &[&str]) -> Command {
    let mut command = Command::new("chromium");
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
    ]);
    command.arg(format!("--user-data-dir={}", profile.path().display())).args(more).arg(url);
    command
}

/// A picture of the page after so many milliseconds.
///
/// # Errors
/// When the browser does not start or fails.
pub fn screenshot(url: &str, file: &Path, size: (u32, u32), after_ms: u32) -> Result<()> {
    let profile = Folder::new("chromium")?;
    let picture = format!("--screenshot={}", file.display());
    let size = format!("--window-size={},{}", size.0, size.1);
    let time = format!("--virtual-time-budget={after_ms}");
    run("chromium", &chromium(&profile, url, &[&picture, &size, &time])).map(|_| ())
}

/// The document as it stands after so many milliseconds.
///
/// # Errors
/// When the browser does not start or fails.
pub fn document(url: &str, after_ms: u32) -> Result<String> {
    let profile = Folder::new("chromium")?;
    let time = format!("--virtual-time-budget={after_ms}");
    run("chromium", &chromium(&profile, url, &["--dump-dom", &time]))
}
