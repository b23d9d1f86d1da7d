//! Files in an object store. A put is whole or not there, and durable when it is answered.

use super::{FileFault, Files, Found};
use crate::root::RootError;
use bytes::Bytes;
#[cfg(feature = "s3")]
use object_store::RetryConfig;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use std::ops::Range;

/// A store that does not answer is told after half a minute and not after the usual three: a report
/// that waits looks hung, and the next round of closing days tries again anyway.
#[cfg(feature = "s3")]
const RETRIES_MAX: usize = 5;
#[cfg(feature = "s3")]
const RETRY_TIME: std::time::Duration = std::time::Duration::from_secs(30);

/// Opens `s3://bucket/prefix`; who we are and where the store is, the usual `AWS_…` variables say.
#[cfg(feature = "s3")]
pub fn open(url: String) -> Result<Files, RootError> {
    let failed = |reason: String| RootError::Store { url: url.clone(), reason };
    // The first one stays; there is one already where the caller has chosen.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let rest = url.strip_prefix("s3://").unwrap_or_default();
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let store = object_store::aws::AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_retry(RetryConfig {
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_TIME,
            ..RetryConfig::default()
        })
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let prefix = Path::parse(prefix.trim_end_matches('/')).map_err(|error| failed(error.to_string()))?;
    Ok(Files::Objects { store: std::sync::Arc::new(store), prefix, url })
}

#[cfg(not(feature = "s3"))]
pub fn open(url: String) -> Result<Files, RootError> {
    Err(RootError::Store { url, reason: "this build is without S3 (feature s3)".to_owned() })
}

fn below(prefix: &Path, path: &str) -> Path {
    prefix.parts().chain(Path::from(path).parts()).collect()
}

fn fault(error: &object_store::Error, otherwise: fn(String) -> FileFault) -> FileFault {
    match error {
        object_store::Error::NotFound { .. } => FileFault::Missing,
        error => otherwise(error.to_string()),
    }
}

pub async fn write(
    store: &dyn ObjectStore,
    prefix: &Path,
    path: &str,
    bytes: Bytes,
) -> Result<(), FileFault> {
    let put = store.put(&below(prefix, path), PutPayload::from_bytes(bytes)).await;
    put.map(|_| ()).map_err(|error| FileFault::Unwritable(error.to_string()))
}

pub async fn read(store: &dyn ObjectStore, prefix: &Path, path: &str) -> Result<Bytes, FileFault> {
    let unreadable = |error| fault(&error, FileFault::Unreadable);
    let got = store.get(&below(prefix, path)).await.map_err(unreadable)?;
    got.bytes().await.map_err(unreadable)
}

pub async fn ranges(
    store: &dyn ObjectStore,
    prefix: &Path,
    path: &str,
    ranges: &[Range<u64>],
) -> Result<Vec<Bytes>, FileFault> {
    let got = store.get_ranges(&below(prefix, path), ranges).await;
    got.map_err(|error| fault(&error, FileFault::Unreadable))
}

pub async fn list(store: &dyn ObjectStore, prefix: &Path, table: &str) -> Result<Vec<Found>, FileFault> {
    let listed = store.list_with_delimiter(Some(&below(prefix, table))).await;
    let found = listed.map_err(|error| FileFault::Unreadable(error.to_string()))?.objects.into_iter();
    Ok(found
        .map(|object| Found {
            path: format!("{table}/{}", object.location.filename().unwrap_or_default()),
            bytes: object.size,
        })
        .collect())
}

pub async fn remove(store: &dyn ObjectStore, prefix: &Path, path: &str) -> Result<(), FileFault> {
    match store.delete(&below(prefix, path)).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(FileFault::Unremovable(error.to_string())),
    }
}
