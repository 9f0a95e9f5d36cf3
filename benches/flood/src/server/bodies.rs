//! `POST /upload` and `GET /download`: memory that is held by bodies.

use std::convert::Infallible;

use axum::{
    body::{Body, Bytes},
    extract::Query,
    http::{StatusCode, Uri},
};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;

use crate::MB;

pub(super) const DOWNLOAD_PATH: &str = "/download";
const CHUNK: usize = 64 * 1024;
const LARGEST_MB: u64 = 512;

/// Reads the whole body into memory, as most handlers do, and answers its length.
pub(super) async fn upload(body: Body) -> Result<String, StatusCode> {
    let mut chunks = body.into_data_stream();
    // The pieces as they came: copying them together would double what is held.
    let mut held: Vec<Bytes> = Vec::new();
    while let Some(chunk) = chunks.next().await {
        // Copied, since a chunk may pin a much larger read buffer or share one with others.
        held.push(Bytes::copy_from_slice(&chunk.map_err(|_| StatusCode::BAD_REQUEST)?));
    }
    Ok(held.iter().map(Bytes::len).sum::<usize>().to_string())
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Download {
    mb: u64,
    #[serde(default)]
    way: Way,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    /// Each chunk is made when the connection asks for it.
    #[default]
    Stream,
    /// All of it is in memory until the last byte was read.
    Buffer,
}

/// Whether a download is held in memory while a client reads it.
pub(super) fn is_buffered(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "way=buffer"))
}

pub(super) async fn download(Query(download): Query<Download>) -> Result<Body, StatusCode> {
    if !(1..=LARGEST_MB).contains(&download.mb) {
        return Err(StatusCode::UNPROCESSABLE_ENTITY);
    }
    let bytes = usize::try_from(download.mb * MB).map_err(|_| StatusCode::UNPROCESSABLE_ENTITY)?;
    Ok(match download.way {
        Way::Buffer => Body::from(vec![0xA5_u8; bytes]),
        Way::Stream => Body::from_stream(
            stream::iter(0..bytes.div_ceil(CHUNK))
                .map(|_| Ok::<_, Infallible>(Bytes::from(vec![0xA5_u8; CHUNK]))),
        ),
    })
}
