//! Where the tables lie: a folder or `s3://bucket/prefix`, as one object store rooted at the lake.
//!
//! A folder is written durably: every file is fsynced under a temporary name before it appears under its own, and so is
//! its directory, so that a power cut leaves either the whole file or none. S3 needs conditional put (`If-None-Match`),
//! which the commit of a Delta version rests on.

mod durable;

pub use durable::DurableFolder;

use crate::error::StorageError;
use crate::options::S3;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use std::sync::Arc;
use std::time::Duration;

/// Requests to S3 are given up after this long and tried again by the store's own back-off.
const S3_TIMEOUT: Duration = Duration::from_secs(30);
/// The back-off gives up after so many tries or this long. Whoever asked tries again by itself, and until then nobody is
/// told that the store is away; so it is short: three to ten seconds where nothing answers.
const S3_RETRY: (usize, Duration) = (5, Duration::from_secs(30));

/// Opens the store at `url`.
///
/// # Errors
/// [`StorageError::Settings`] when the URL or the S3 settings cannot be used.
pub fn open(url: &str, s3: &S3) -> Result<Arc<dyn ObjectStore>, StorageError> {
    if let Some(rest) = url.strip_prefix("s3://") {
        return open_s3(url, rest, s3);
    }
    let folder = url.strip_prefix("file://").unwrap_or(url);
    if folder.contains("://") {
        let message = format!("url `{url}` is neither a folder nor s3://bucket/prefix");
        return Err(StorageError::Settings(message));
    }
    Ok(Arc::new(DurableFolder::open(folder).map_err(|e| {
        StorageError::Settings(format!("url `{url}`: {e}; give a folder that can be made and written"))
    })?))
}

fn open_s3(url: &str, rest: &str, s3: &S3) -> Result<Arc<dyn ObjectStore>, StorageError> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(StorageError::Settings(format!("url `{url}` names no bucket; write s3://bucket/prefix")));
    }
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    let mut client = ClientOptions::new().with_timeout(S3_TIMEOUT);
    if let Some(endpoint) = &s3.endpoint {
        builder = builder.with_endpoint(endpoint);
        client = client.with_allow_http(endpoint.starts_with("http://"));
    }
    if let Some(region) = &s3.region {
        builder = builder.with_region(region);
    }
    if let Some(key) = &s3.access_key {
        builder = builder.with_access_key_id(key);
    }
    if let Some(secret) = &s3.secret_key {
        builder = builder.with_secret_access_key(secret.expose());
    }
    let (max_retries, retry_timeout) = S3_RETRY;
    let store = builder
        .with_client_options(client)
        .with_retry(RetryConfig { max_retries, retry_timeout, ..RetryConfig::default() })
        .build()
        .map_err(|e| StorageError::Settings(format!("url `{url}`: {e}")))?;
    let prefix = Path::parse(prefix.trim_matches('/'))
        .map_err(|e| StorageError::Settings(format!("url `{url}`: {e}")))?;
    Ok(Arc::new(PrefixStore::new(store, prefix)))
}
