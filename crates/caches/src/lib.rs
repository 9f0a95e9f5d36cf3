//! Caches that Rust servers use, as pruners of Plimsoll.
//!
//! A cache is the first thing that a server under pressure can do without. [`Pruner`]s made here
//! take what a cleanup asks for out of one: at most a [`Share`] of it, and no more bytes than are
//! still wanted. Register them as any other; a cache that is not named here takes a closure
//! (`CleanupRegistry::register_fn`).
#![cfg_attr(
    feature = "lru",
    doc = r#"
```
use std::{num::NonZeroUsize, sync::{Arc, Mutex}};
use lru::LruCache;
use plimsoll_caches::LruPruner;
use plimsoll_core::CleanupRegistry;

let cache = Arc::new(Mutex::new(LruCache::new(NonZeroUsize::new(10_000).expect("not zero"))));
cache.lock().expect("no panic").put("page".to_owned(), vec![0_u8; 4_096]);

let registry = CleanupRegistry::new();
let weigh = |key: &String, page: &Vec<u8>| key.capacity() + page.capacity();
let _pages = registry.register("pages", LruPruner::new(Arc::clone(&cache), weigh));
assert_eq!(registry.figures()[0].bytes, Some(4_100));
```
"#
)]
//! # What it protects
//! The process, from caches that were sized on a better day. A moderate cleanup takes up to half
//! of a cache, an aggressive one all of it, and both stop as soon as enough is free: the last
//! entry taken is the most by which a target is passed.
//!
//! # What it cannot see
//! Whoever holds a value beside the cache (`Arc`) keeps its memory; the bytes told are what the
//! cache gave up. Sizes are the caller's word, so they are best told as the allocator sees them:
//! the capacity of what is owned, not its length.
//!
//! # Features
//! | feature | what it adds | which entries go first |
//! |---|---|---|
//! | `lru` | `LruPruner`, for `Arc<Mutex<LruCache>>` | the least recently used |
//! | `moka` | `MokaPruner` and `MokaFuturePruner` | any: moka does not tell which it values |
//! | `quick-cache` | `QuickCachePruner`, for `Arc<sync::Cache>` | those that its own policy evicts |
//!
//! MSRV: 1.88.
//!
//! [`Pruner`]: plimsoll_core::Pruner
#![forbid(unsafe_code)]

#[cfg(feature = "lru")]
mod lru;
#[cfg(feature = "moka")]
mod moka;
#[cfg(any(feature = "lru", feature = "moka"))]
mod pass;
#[cfg(feature = "quick-cache")]
mod quick;
mod share;

#[cfg(feature = "lru")]
pub use self::lru::LruPruner;
#[cfg(feature = "moka")]
pub use self::moka::{MokaFuturePruner, MokaPruner};
#[cfg(feature = "quick-cache")]
pub use self::quick::QuickCachePruner;
pub use self::share::{Share, ShareError};
