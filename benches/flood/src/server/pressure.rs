//! Memory that no request holds: a background task that grows, and page cache.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    extract::{Query, State},
    http::StatusCode,
};
use plimsoll::prelude::*;
use serde::Deserialize;
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _},
    time::{Instant, sleep, sleep_until},
};

/// One MB, as `usize`, since buffers are made of it.
const MEGABYTE: usize = 1_000_000;

/// What the background task has grown to; one buffer for each MB.
#[derive(Clone, Debug, Default)]
pub(super) struct Background(Arc<Mutex<Vec<Vec<u8>>>>);

impl Background {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go of everything: a cache that can be filled again.
impl Pruner for Background {
    async fn prune(&self, _request: PruneRequest) -> Result<Pruned, PruneError> {
        let pruned = std::mem::take(&mut *self.lock());
        let entries = u64::try_from(pruned.len()).unwrap_or(u64::MAX);
        Ok(Pruned::entries(entries).bytes(entries.saturating_mul(MB)))
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Grow {
    mb_per_s: u32,
    seconds: u32,
    cap_mb: usize,
    /// Let go of everything so long after the last step; else never.
    hold_ms: Option<u64>,
}

/// Starts a task that grows by so many MB a second, up to a cap, and lets go only when told to.
pub(super) async fn grow(
    State(background): State<Background>,
    Query(grow): Query<Grow>,
) -> Result<StatusCode, StatusCode> {
    if !(1..=10_000).contains(&grow.mb_per_s) || !(1..=600).contains(&grow.seconds) {
        return Err(StatusCode::UNPROCESSABLE_ENTITY);
    }
    tokio::spawn(async move {
        let start = Instant::now();
        for step in 0..grow.mb_per_s * grow.seconds {
            sleep_until(start + Duration::from_secs(1) / grow.mb_per_s * step).await;
            if background.lock().len() < grow.cap_mb {
                let more = vec![0xA5_u8; MEGABYTE];
                background.lock().push(more);
            }
        }
        if let Some(hold) = grow.hold_ms {
            sleep(Duration::from_millis(hold)).await;
            background.lock().clear();
        }
    });
    Ok(StatusCode::ACCEPTED)
}

/// Where large files go. They have no name there and end with this, so that nothing has to be
/// tidied up; until then the kernel may keep their pages.
#[derive(Clone, Debug)]
pub(super) struct Scratch {
    folder: Arc<Path>,
    files: Arc<Mutex<Vec<File>>>,
}

impl Scratch {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.into(), files: Arc::default() }
    }

    fn keep(&self, file: File) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).push(file);
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Fill {
    mb: usize,
}

/// Writes a file and reads it again, so that the kernel keeps its pages for this cgroup.
pub(super) async fn fill_cache(
    State(scratch): State<Scratch>,
    Query(fill): Query<Fill>,
) -> Result<String, StatusCode> {
    if !(1..=4_096).contains(&fill.mb) {
        return Err(StatusCode::UNPROCESSABLE_ENTITY);
    }
    let path = scratch.folder.join(format!("flood-cache-{}", std::process::id()));
    let (file, read) =
        write_and_read(&path, fill.mb).await.map_err(|_| StatusCode::INSUFFICIENT_STORAGE)?;
    scratch.keep(file);
    Ok(format!("{read} bytes\n"))
}

async fn write_and_read(path: &Path, mb: usize) -> io::Result<(File, usize)> {
    let mut buffer = vec![0xA5_u8; MEGABYTE];
    let mut file =
        File::options().read(true).write(true).create(true).truncate(true).open(path).await?;
    tokio::fs::remove_file(path).await?;
    for _ in 0..mb {
        file.write_all(&buffer).await?;
    }
    file.sync_all().await?;
    file.rewind().await?;
    let mut read = 0;
    loop {
        match file.read(&mut buffer).await? {
            0 => return Ok((file, read)),
            count => read += count,
        }
    }
}
