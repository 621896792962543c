//! The object store and the snapshots of the simulation: stores in memory with points to die at.

use super::world::World;
use async_trait::async_trait;
use firedamp::snapshots::{Generation, MemorySnapshots, SnapshotStore};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::*;
use std::fmt;
use std::sync::Arc;

/// The lake.
#[derive(Clone, Debug)]
pub struct SeedLake {
    pub inner: Arc<InMemory>,
    pub world: World,
}

fn failed(source: String) -> Error {
    Error::Generic { store: "lake", source: source.into() }
}

impl fmt::Display for SeedLake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lake")
    }
}

#[async_trait]
impl ObjectStore for SeedLake {
    async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let [before, after] = match at.as_ref().contains("_delta_log") {
            true => ["commit table: before", "commit table: after"],
            false => ["put data: before", "put data: after"],
        };
        self.world.call("lake", before).await.map_err(failed)?;
        let done = self.inner.put_opts(at, payload, options).await?;
        // Written, and yet the writer may be told that it failed.
        self.world.call("reply of the lake", after).await.map_err(failed)?;
        Ok(done)
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        o: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, o).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let one = move |location: Result<Path>| {
            let this = this.clone();
            async move {
                let location = location?;
                this.world.call("lake", "delete file: before").await.map_err(failed)?;
                this.inner.delete(&location).await?;
                this.world.pass("delete file: after").await;
                Ok(location)
            }
        };
        locations.then(one).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// The snapshots of the rules.
#[derive(Clone, Debug)]
pub struct SeedSnapshots {
    pub inner: MemorySnapshots,
    pub world: World,
}

#[async_trait]
impl SnapshotStore for SeedSnapshots {
    async fn save(&self, partition: u32, generation: Generation) -> std::result::Result<(), String> {
        self.world.call("snapshots", "save snapshot: before").await?;
        self.inner.save(partition, generation).await?;
        self.world.pass("save snapshot: after").await;
        Ok(())
    }

    async fn load(&self, partition: u32) -> std::result::Result<Option<Generation>, String> {
        self.inner.load(partition).await
    }
}
