//! Who may ask, and for what.

mod loopback;
mod token;

use std::net::SocketAddr;

use http::request::Parts;
use plimsoll_core::env::{EnvSettings, MonitorAccess, Secret};

pub use self::token::Tokens;
use self::{loopback::NotLocal, token::presented};
use crate::problem::Problem;

/// Who reaches the monitoring routes. `/livez` and `/readyz` are open in any case.
///
/// Default: what `MONITOR_ACCESS`, `MONITOR_TOKEN` and `MONITOR_READ_TOKEN` say where the builder
/// read the environment, else [`Access::Loopback`].
///
/// ```
/// # use plimsoll_monitor::Access;
/// let access = Access::bearer("operators-only").with_read("dashboards");
/// assert!(!format!("{access:?}").contains("operators"));
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Access {
    /// Requests from this machine, with every right. The client's address must be loopback, no
    /// header may say that a proxy passed the request on (`Forwarded`, `X-Forwarded-*`,
    /// `X-Real-IP`, `Via`), the request must be HTTP/1.1 or newer, and its `Host` must be local: a
    /// page of another site could reach a local server under a name of its own.
    ///
    /// A proxy on this machine that sends none of these headers is not seen.
    #[default]
    Loopback,
    /// As [`Access::Loopback`], and requests with a token from anywhere. What the environment
    /// means when it sets a token and nothing else. A token that is sent decides, also on this
    /// machine.
    LoopbackOrBearer(Tokens),
    /// Requests with a token, wherever they come from.
    Bearer(Tokens),
    /// Everybody, with every right. Logs a warning.
    Public,
}

/// What a route asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The dashboard's shell, which holds no figure. A browser that opens it cannot send a token,
    /// so where tokens are taken it is open and asks for one.
    Page,
    Read,
    Operate,
}

/// Why a request was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    TokenMissing,
    TokenWrong,
    ReadOnly,
    NoTokenConfigured,
    NotLocal(NotLocal),
}

impl Access {
    /// Requests with this token may do everything, others nothing.
    pub fn bearer(operate_token: impl Into<String>) -> Self {
        Self::Bearer(Tokens::operate(operate_token))
    }

    /// Requests from this machine, or with this token, may do everything.
    pub fn loopback_or_bearer(operate_token: impl Into<String>) -> Self {
        Self::LoopbackOrBearer(Tokens::operate(operate_token))
    }

    /// Adds a token that may only read. [`Access::Public`] stays as it is.
    #[must_use]
    pub fn with_read(self, read_token: impl Into<String>) -> Self {
        match self {
            Self::Loopback => Self::LoopbackOrBearer(Tokens::default().with_read(read_token)),
            Self::LoopbackOrBearer(tokens) => Self::LoopbackOrBearer(tokens.with_read(read_token)),
            Self::Bearer(tokens) => Self::Bearer(tokens.with_read(read_token)),
            Self::Public => Self::Public,
        }
    }

    /// What the environment asks for.
    pub(crate) fn from_settings(settings: &EnvSettings) -> Self {
        let text = |secret: &Option<Secret>| secret.as_ref().map(|s| s.expose().to_owned());
        let tokens = Tokens::of(text(&settings.monitor_token), text(&settings.monitor_read_token));
        match settings.monitor_access.unwrap_or_default() {
            MonitorAccess::Loopback if tokens.is_empty() => Self::Loopback,
            MonitorAccess::Loopback => Self::LoopbackOrBearer(tokens),
            MonitorAccess::Bearer => Self::Bearer(tokens),
            MonitorAccess::Public => Self::Public,
        }
    }

    /// Says in the log what an operator should know; once, when the layer is first used.
    pub(crate) fn announce(&self) {
        match self {
            Self::Public => tracing::warn!(
                "monitoring access is public: whoever reaches this server can read its figures, \
                 start cleanups and change thresholds"
            ),
            Self::Bearer(tokens) if tokens.is_empty() => tracing::error!(
                "monitoring access is bearer, but there is no token: everybody is refused; set \
                 MONITOR_TOKEN or use Access::bearer"
            ),
            _ => {}
        }
    }

    /// Judges a request.
    pub(crate) fn allows(
        &self,
        needed: Scope,
        head: &Parts,
        peer: Option<SocketAddr>,
    ) -> Result<(), Denied> {
        let local = || loopback::check(head, peer).map_err(Denied::NotLocal);
        match self {
            Self::Public => Ok(()),
            Self::Loopback => local(),
            Self::LoopbackOrBearer(_) | Self::Bearer(_) if needed == Scope::Page => Ok(()),
            Self::LoopbackOrBearer(tokens) => match presented(&head.headers) {
                Some(attempt) => tokens.allow(needed, attempt),
                None => local(),
            },
            Self::Bearer(tokens) if tokens.is_empty() => Err(Denied::NoTokenConfigured),
            Self::Bearer(tokens) => match presented(&head.headers) {
                Some(attempt) => tokens.allow(needed, attempt),
                None => Err(Denied::TokenMissing),
            },
        }
    }
}

impl Denied {
    /// The answer; it says what would help, and nothing about the process.
    pub(crate) fn into_problem(self) -> Problem {
        match self {
            Self::TokenMissing => Problem::unauthorized("this server asks for a bearer token")
                .challenge(r#"Bearer realm="plimsoll""#),
            Self::TokenWrong => Problem::unauthorized("the bearer token is not one of this server")
                .challenge(r#"Bearer realm="plimsoll", error="invalid_token""#),
            Self::ReadOnly => Problem::forbidden(
                "the token may read, but this needs the one that may operate (MONITOR_TOKEN)",
            ),
            Self::NoTokenConfigured => Problem::forbidden(
                "this server asks for a bearer token, but none is configured: set MONITOR_TOKEN \
                 in its environment and start it anew",
            ),
            Self::NotLocal(reason) => Problem::forbidden(reason.help()),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(authorization: Option<&str>) -> Parts {
        let mut request = Request::get("/").header("host", "localhost");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn local() -> Option<SocketAddr> {
        Some(SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    fn remote() -> Option<SocketAddr> {
        Some(SocketAddr::from(([203, 0, 113, 7], 1)))
    }

    #[test]
    fn each_way_of_access_lets_in_whom_it_names() {
        use Denied::{NoTokenConfigured, ReadOnly, TokenMissing, TokenWrong};
        use Scope::{Operate, Page, Read};
        let not_local = Denied::NotLocal(NotLocal::Remote);
        let loopback = Access::Loopback;
        let either = Access::loopback_or_bearer("op").with_read("rd");
        let bearer = Access::bearer("op").with_read("rd");
        let empty = Access::bearer("");
        for (access, scope, token, peer, expected) in [
            (&loopback, Operate, None, local(), Ok(())),
            (&loopback, Read, None, remote(), Err(not_local)),
            // Somebody else's token means nothing here.
            (&loopback, Operate, Some("Bearer jwt"), local(), Ok(())),
            (&either, Operate, None, local(), Ok(())),
            (&either, Read, None, remote(), Err(not_local)),
            (&either, Operate, Some("Bearer op"), remote(), Ok(())),
            (&either, Read, Some("Bearer rd"), remote(), Ok(())),
            (&either, Operate, Some("Bearer rd"), remote(), Err(ReadOnly)),
            (&either, Operate, Some("Bearer rd"), local(), Err(ReadOnly)),
            (&either, Read, Some("Bearer no"), local(), Err(TokenWrong)),
            (&either, Read, Some("Basic op"), local(), Ok(())),
            (&bearer, Read, None, local(), Err(TokenMissing)),
            (&bearer, Read, Some("Basic op"), local(), Err(TokenMissing)),
            (&bearer, Operate, Some("bearer  op "), None, Ok(())),
            (&bearer, Operate, Some("Bearer opp"), None, Err(TokenWrong)),
            (&bearer, Operate, Some("Bearer o"), None, Err(TokenWrong)),
            (&bearer, Operate, Some("Bearer "), None, Err(TokenWrong)),
            (&empty, Read, Some("Bearer "), local(), Err(NoTokenConfigured)),
            // The shell of the page asks for the token, so it is there without one.
            (&loopback, Page, None, local(), Ok(())),
            (&loopback, Page, None, remote(), Err(not_local)),
            (&either, Page, None, remote(), Ok(())),
            (&bearer, Page, None, remote(), Ok(())),
            (&bearer, Page, Some("Bearer no"), None, Ok(())),
            (&empty, Page, None, remote(), Ok(())),
            (&Access::Public, Page, None, remote(), Ok(())),
            (&Access::Public, Operate, None, None, Ok(())),
        ] {
            let got = access.allows(scope, &head(token), peer);
            assert_eq!(got, expected, "{access:?} {scope:?} {token:?} {peer:?}");
        }
    }

    #[test]
    fn the_environment_is_followed() {
        let settings = |vars: &[(&str, &str)]| {
            let vars = vars.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            Access::from_settings(&EnvSettings::from_vars(vars).unwrap())
        };
        assert!(matches!(settings(&[]), Access::Loopback));
        assert!(matches!(settings(&[("MONITOR_TOKEN", "x")]), Access::LoopbackOrBearer(_)));
        let only_read = settings(&[("MONITOR_READ_TOKEN", "rd"), ("MONITOR_ACCESS", "bearer")]);
        let token = head(Some("Bearer rd"));
        assert_eq!(only_read.allows(Scope::Read, &token, None), Ok(()));
        assert_eq!(only_read.allows(Scope::Operate, &token, None), Err(Denied::ReadOnly));
        assert!(matches!(settings(&[("MONITOR_ACCESS", "public")]), Access::Public));
    }
}
