//! Puts a file into a folder whole: under a name that no reader takes, flushed, then renamed.

use anyhow::Context;
use std::path::Path;

/// Writes `text` as `name` in `dir`: first as a hidden `.name.tmp`, then by rename. A file of that name is replaced.
///
/// # Errors
/// When the folder or the disk does not let it; nothing half-written stays under `name`.
pub async fn drop_file(dir: &Path, name: &str, text: String) -> anyhow::Result<()> {
    let (temporary, last) = (dir.join(format!(".{name}.tmp")), dir.join(name));
    let written = async {
        let mut file = tokio::fs::File::create(&temporary).await?;
        tokio::io::AsyncWriteExt::write_all(&mut file, text.as_bytes()).await?;
        file.sync_data().await?;
        tokio::fs::rename(&temporary, &last).await
    };
    if let Err(e) = written.await {
        let _ = tokio::fs::remove_file(&temporary).await;
        return Err(e).with_context(|| format!("cannot drop {}", last.display()));
    }
    Ok(())
}
