use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

/// What a server's memory comes from; each is a program of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Allocator {
    Glibc,
    Jemalloc,
    Mimalloc,
    /// Fastify's.
    #[value(skip)]
    V8,
}

impl Allocator {
    pub(crate) const RUST: [Self; 3] = [Self::Glibc, Self::Jemalloc, Self::Mimalloc];

    fn as_str(self) -> &'static str {
        match self {
            Self::Glibc => "glibc",
            Self::Jemalloc => "jemalloc",
            Self::Mimalloc => "mimalloc",
            Self::V8 => "v8",
        }
    }

    /// The name of the server on it that counts nothing.
    pub(crate) fn program(self) -> String {
        format!("flood-server-{}", self.as_str())
    }
}

impl fmt::Display for Allocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
