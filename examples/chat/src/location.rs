//! Where the database lives, as the command line says it.

use std::{ffi::OsStr, fmt, path::PathBuf, str::FromStr};

use clap::{
    Arg, Command,
    builder::TypedValueParser,
    error::{Error, ErrorKind},
};
use sqlx::postgres::PgConnectOptions;

/// Where the database lives.
#[derive(Clone)]
pub(crate) enum Location {
    /// SQLite in this process, gone when it ends.
    Memory,
    /// SQLite in a file.
    File(PathBuf),
    /// A PostgreSQL server.
    Postgres(Box<PgConnectOptions>),
}

/// Why a location was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidLocation {
    #[error("expected a path, `memory` or postgres://user@host/database")]
    Empty,
    #[error(
        "{0}:// is not supported; accepted are postgres://user@host/database, a path (for SQLite) \
         and `memory`"
    )]
    Scheme(String),
    // The address is not repeated: there may be a password in it.
    #[error("no address of a PostgreSQL database such as postgres://user@host/database: {0}")]
    Postgres(String),
}

impl FromStr for Location {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once("://") {
            Some(("postgres" | "postgresql", _)) => text
                .parse()
                .map(|options| Self::Postgres(Box::new(options)))
                .map_err(|error: sqlx::Error| InvalidLocation::Postgres(error.to_string())),
            Some((scheme, _)) => Err(InvalidLocation::Scheme(scheme.chars().take(32).collect())),
            None if text.is_empty() => Err(InvalidLocation::Empty),
            None if text == "memory" => Ok(Self::Memory),
            None => Ok(Self::File(text.into())),
        }
    }
}

/// Reads a location off the command line. clap's own parser repeats what it refuses, and there may
/// be a password in it.
#[derive(Clone, Debug)]
pub(crate) struct LocationParser;

impl TypedValueParser for LocationParser {
    type Value = Location;

    fn parse_ref(
        &self,
        command: &Command,
        _arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Location, Error> {
        let Some(text) = value.to_str() else { return Ok(Location::File(value.into())) };
        text.parse().map_err(|error: InvalidLocation| {
            let message = format!("--database: {error}");
            command.clone().error(ErrorKind::ValueValidation, message)
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::File(path) => path.display().fmt(f),
            // Without the password.
            Self::Postgres(options) => {
                write!(f, "postgres://{}@", options.get_username())?;
                match options.get_socket() {
                    Some(folder) => write!(f, "{}", folder.display())?,
                    None => write!(f, "{}:{}", options.get_host(), options.get_port())?,
                }
                write!(f, "/{}", options.get_database().unwrap_or_default())
            }
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_paths_and_postgres_are_told_apart() {
        for (text, shown) in [
            ("memory", "memory"),
            ("a/b.db", "a/b.db"),
            ("./memory", "./memory"),
            ("postgres://ada:secret@db.example/chat", "postgres://ada@db.example:5432/chat"),
            ("postgresql://ada@localhost:99/chat", "postgres://ada@localhost:99/chat"),
        ] {
            let location: Location = text.parse().unwrap();
            assert_eq!(location.to_string(), shown);
            assert!(!format!("{location:?}").contains("secret"));
        }
    }

    #[test]
    fn other_schemes_are_refused_with_what_is_accepted() {
        for scheme in ["mysql", "sqlite", "http"] {
            let error = format!("{scheme}://ada@host/chat").parse::<Location>().unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with(&format!("{scheme}:// is not supported")), "{text}");
            assert!(text.contains("postgres://user@host/database"), "{text}");
        }
        assert_eq!("".parse::<Location>().unwrap_err(), InvalidLocation::Empty);
        let broken = "postgres://ada:secret@host:port/chat".parse::<Location>().unwrap_err();
        assert!(!broken.to_string().contains("secret"), "{broken}");
        let command = Command::new("chat");
        let value = OsStr::new("postgres://ada:secret@host:port/chat");
        let told = LocationParser.parse_ref(&command, None, value).unwrap_err().to_string();
        assert!(told.contains("--database: no address of a PostgreSQL database"), "{told}");
        assert!(!told.contains("secret"), "{told}");
    }
}
