//! Which paths are the monitor's.

use std::fmt;

use http::{Method, StatusCode};

use crate::{
    access::Scope,
    dashboard::{self, File},
    problem::Problem,
};

/// A route of the monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Memory,
    Aggressive,
    History,
    Alerts,
    /// With the alert's id.
    ResolveAlert(String),
    SilenceAlert,
    TestAlerts,
    Routes,
    Pruners,
    Sockets,
    Stream,
    OpenApi,
    Metrics,
    Livez,
    Readyz,
    DashboardRedirect,
    Dashboard,
    /// What the page is made of.
    DashboardFile(&'static File),
    /// Below a path of ours, but nothing that we know.
    Unknown,
}

/// The paths, as moved by the program.
#[derive(Clone)]
pub(crate) struct Paths {
    livez: String,
    readyz: String,
    metrics: String,
    /// Without the last slash, which the page has and the redirect has not.
    dashboard: String,
    /// Everything below is ours.
    monitoring: String,
    aggressive: String,
    sieve: Sieve,
}

/// Tells nearly every other path from ours by two of its bytes, which is cheaper than comparing.
#[derive(Clone)]
struct Sieve {
    /// By the second byte of a path: where those of ours that have it too differ first; 0 for
    /// none, since all begin with a slash.
    positions: [u8; 256],
    /// The bytes that ours have there.
    known: [bool; 256],
}

impl Default for Paths {
    fn default() -> Self {
        Self::below("")
    }
}

impl Paths {
    pub(crate) fn below(prefix: &str) -> Self {
        let prefix = normalized(prefix);
        let mut paths = Self {
            livez: String::new(),
            readyz: String::new(),
            metrics: String::new(),
            dashboard: String::new(),
            monitoring: String::new(),
            aggressive: String::new(),
            sieve: Sieve::over(&[]),
        };
        paths.set_probes(&prefix);
        paths.set_metrics(&format!("{prefix}/metrics"));
        paths.set_dashboard(&format!("{prefix}/monitoring"));
        paths.set_api(&format!("{prefix}/api"));
        paths
    }

    pub(crate) fn set_api(&mut self, prefix: &str) {
        let prefix = normalized(prefix);
        self.monitoring = format!("{prefix}/monitoring");
        self.aggressive = format!("{prefix}/cleanup/aggressive");
        self.index();
    }

    pub(crate) fn set_probes(&mut self, prefix: &str) {
        let prefix = normalized(prefix);
        self.livez = format!("{prefix}/livez");
        self.readyz = format!("{prefix}/readyz");
        self.index();
    }

    pub(crate) fn set_metrics(&mut self, path: &str) {
        self.metrics = normalized(path);
        self.index();
    }

    pub(crate) fn set_dashboard(&mut self, path: &str) {
        self.dashboard = normalized(path);
        self.index();
    }

    fn index(&mut self) {
        self.sieve = Sieve::over(&[
            &self.livez,
            &self.readyz,
            &self.metrics,
            &self.dashboard,
            &self.monitoring,
            &self.aggressive,
        ]);
    }

    /// Tells nearly every path of the program from ours, at the cost of two loads.
    #[inline]
    pub(crate) fn may_hold(&self, path: &str) -> bool {
        self.sieve.may_hold(path.as_bytes())
    }

    /// Finds the route of a path; `None` for paths of the program.
    pub(crate) fn find(&self, path: &str) -> Option<Route> {
        if !self.may_hold(path) {
            return None;
        }
        // A path that was moved to nowhere is empty and found by nobody.
        let is = |own: &str| path == own;
        if is(&self.livez) {
            return Some(Route::Livez);
        }
        if is(&self.readyz) {
            return Some(Route::Readyz);
        }
        if is(&self.metrics) {
            return Some(Route::Metrics);
        }
        if is(&self.aggressive) {
            return Some(Route::Aggressive);
        }
        let on_dashboard = below(path, &self.dashboard);
        match on_dashboard {
            Some("") => return Some(Route::DashboardRedirect),
            Some("/") => return Some(Route::Dashboard),
            Some(rest) => {
                if let Some(file) = dashboard::file(rest.strip_prefix('/').unwrap_or(rest)) {
                    return Some(Route::DashboardFile(file));
                }
            }
            None => {}
        }
        let in_api = below(path, &self.monitoring);
        in_api.map(api_route).or_else(|| on_dashboard.map(|_| Route::Unknown))
    }

    /// The path of the API, `monitoring/...` or `cleanup/aggressive`, below its prefix.
    pub(crate) fn api(&self, rest: &str) -> String {
        let prefix = self.monitoring.strip_suffix("/monitoring").unwrap_or_default();
        format!("{prefix}/{rest}")
    }

    pub(crate) fn metrics(&self) -> &str {
        &self.metrics
    }

    pub(crate) fn dashboard(&self) -> &str {
        &self.dashboard
    }

    pub(crate) fn livez(&self) -> &str {
        &self.livez
    }

    pub(crate) fn readyz(&self) -> &str {
        &self.readyz
    }
}

impl Sieve {
    fn over(paths: &[&String]) -> Self {
        let mut sieve = Self { positions: [0; 256], known: [false; 256] };
        for second in 0..=u8::MAX {
            let alike: Vec<_> = paths
                .iter()
                .map(|path| path.as_bytes())
                .filter(|path| path.get(1) == Some(&second))
                .collect();
            let Some(shortest) = alike.iter().map(|path| path.len()).min() else { continue };
            let differ = |at: &usize| alike.iter().any(|path| path[*at] != alike[0][*at]);
            let position = (1..shortest).find(differ).unwrap_or(shortest - 1);
            // Too far to be noted: the second byte alone decides.
            let position = u8::try_from(position).unwrap_or(1);
            sieve.positions[usize::from(second)] = position;
            for path in alike {
                sieve.known[usize::from(path[usize::from(position)])] = true;
            }
        }
        sieve
    }

    #[inline]
    fn may_hold(&self, path: &[u8]) -> bool {
        let Some(second) = path.get(1) else { return false };
        let position = usize::from(self.positions[usize::from(*second)]);
        position != 0 && path.get(position).is_some_and(|byte| self.known[usize::from(*byte)])
    }
}

impl fmt::Debug for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries([&self.monitoring, &self.aggressive, &self.dashboard, &self.metrics])
            .entries([&self.livez, &self.readyz])
            .finish()
    }
}

/// With a slash in front and none behind; the root is empty.
fn normalized(path: &str) -> String {
    let path = path.trim_matches('/');
    if path.is_empty() { String::new() } else { format!("/{path}") }
}

/// What follows `above`, if the path is that or below it.
fn below<'p>(path: &'p str, above: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(above)?;
    (!above.is_empty() && (rest.is_empty() || rest.starts_with('/'))).then_some(rest)
}

fn api_route(rest: &str) -> Route {
    match rest {
        "/memory" => Route::Memory,
        "/history" => Route::History,
        "/alerts" => Route::Alerts,
        "/alerts/silence" => Route::SilenceAlert,
        "/alerts/test" => Route::TestAlerts,
        "/routes" => Route::Routes,
        "/pruners" => Route::Pruners,
        "/sockets" => Route::Sockets,
        "/stream" => Route::Stream,
        "/openapi.json" => Route::OpenApi,
        _ => rest
            .strip_prefix("/alerts/")
            .and_then(|rest| rest.strip_suffix("/resolve"))
            .filter(|id| !id.is_empty() && !id.contains('/'))
            .map_or(Route::Unknown, |id| Route::ResolveAlert(id.to_owned())),
    }
}

/// The answer below our own paths where there is nothing.
pub(crate) fn unknown_path() -> Problem {
    Problem::not_found("no monitoring route has this path; openapi.json lists those there are")
}

impl Route {
    /// The methods, as the header `Allow` lists them.
    fn methods(&self) -> &'static str {
        match self {
            Self::Memory => "GET, HEAD, POST",
            Self::Aggressive | Self::ResolveAlert(_) | Self::SilenceAlert | Self::TestAlerts => {
                "POST"
            }
            _ => "GET, HEAD",
        }
    }

    /// Checks the method.
    pub(crate) fn check_method(&self, method: &Method) -> Result<(), Problem> {
        if *self == Self::Unknown {
            return Err(unknown_path());
        }
        let methods = self.methods();
        if methods.split(", ").any(|allowed| allowed == method.as_str()) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "Method not allowed",
            format!("this route takes {methods}"),
        )
        .allow(methods))
    }

    /// What the route asks for; `None` is open to all.
    pub(crate) fn scope(&self, method: &Method) -> Option<Scope> {
        match self {
            Self::Livez | Self::Readyz | Self::DashboardRedirect => None,
            Self::Dashboard | Self::DashboardFile(_) => Some(Scope::Page),
            _ if *method == Method::POST => Some(Scope::Operate),
            _ => Some(Scope::Read),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_paths_are_ours_and_their_neighbours_are_not() {
        let paths = Paths::default();
        for (path, expected) in [
            ("/api/monitoring/memory", Some(Route::Memory)),
            ("/api/cleanup/aggressive", Some(Route::Aggressive)),
            ("/api/monitoring/history", Some(Route::History)),
            ("/api/monitoring/alerts", Some(Route::Alerts)),
            ("/api/monitoring/alerts/a-1/resolve", Some(Route::ResolveAlert("a-1".to_owned()))),
            ("/api/monitoring/alerts/a/b/resolve", Some(Route::Unknown)),
            ("/api/monitoring/alerts//resolve", Some(Route::Unknown)),
            ("/api/monitoring/alerts/silence", Some(Route::SilenceAlert)),
            ("/api/monitoring/alerts/test", Some(Route::TestAlerts)),
            ("/api/monitoring/routes", Some(Route::Routes)),
            ("/api/monitoring/pruners", Some(Route::Pruners)),
            ("/api/monitoring/stream", Some(Route::Stream)),
            ("/api/monitoring/openapi.json", Some(Route::OpenApi)),
            ("/api/monitoring/sockets", Some(Route::Sockets)),
            ("/api/monitoring/socket", Some(Route::Unknown)),
            ("/api/monitoring/memory/", Some(Route::Unknown)),
            ("/api/monitoring", Some(Route::Unknown)),
            ("/metrics", Some(Route::Metrics)),
            ("/livez", Some(Route::Livez)),
            ("/readyz", Some(Route::Readyz)),
            ("/monitoring", Some(Route::DashboardRedirect)),
            ("/monitoring/", Some(Route::Dashboard)),
            ("/monitoring/app.js", Some(Route::Unknown)),
            ("/monitoring//licenses.txt", Some(Route::Unknown)),
            ("", None),
            ("/", None),
            ("*", None),
            ("/api", None),
            ("/api/", None),
            ("/api/monitoringx", None),
            ("/api/cleanup", None),
            ("/api/cleanup/aggressive/", None),
            ("/api/cleanup/moderate", None),
            ("/API/monitoring/memory", None),
            ("/metrics/", None),
            ("/livezz", None),
            ("/live", None),
            ("/monitoringx", None),
            ("/ümlaut", None),
        ] {
            assert_eq!(paths.find(path), expected, "{path}");
        }
    }

    #[test]
    fn a_prefix_moves_everything_and_groups_move_alone() {
        let paths = Paths::below("internal/");
        for path in [
            "/internal/api/monitoring/memory",
            "/internal/api/cleanup/aggressive",
            "/internal/metrics",
            "/internal/livez",
            "/internal/monitoring/",
        ] {
            assert!(paths.find(path).is_some(), "{path}");
        }
        assert_eq!(paths.find("/api/monitoring/memory"), None);
        assert_eq!(paths.find("/livez"), None);
        assert_eq!(paths.api("monitoring/memory"), "/internal/api/monitoring/memory");

        let mut moved = Paths::default();
        moved.set_api("/");
        moved.set_metrics("/prom");
        moved.set_probes("/health");
        // Page and API share their path now; both are found.
        assert_eq!(moved.find("/monitoring/memory"), Some(Route::Memory));
        assert_eq!(moved.find("/monitoring/"), Some(Route::Dashboard));
        assert_eq!(moved.find("/monitoring"), Some(Route::DashboardRedirect));
        assert_eq!(moved.find("/cleanup/aggressive"), Some(Route::Aggressive));
        assert_eq!(moved.find("/prom"), Some(Route::Metrics));
        assert_eq!(moved.find("/health/readyz"), Some(Route::Readyz));
        assert_eq!(moved.find("/metrics"), None);

        moved.set_metrics("/");
        moved.set_dashboard("");
        assert_eq!(moved.find("/"), None, "the root stays the program's");
        assert_eq!(moved.find("/x"), None);
    }

    #[test]
    fn the_sieve_lets_nearly_no_other_path_through() {
        let paths = Paths::default();
        for path in ["/", "/api/users", "/api", "/apx", "/users/1", "/login", "/mail", "/\u{ff}"] {
            assert!(!paths.sieve.may_hold(path.as_bytes()), "{path}");
        }
        let far = Paths::below(&"x".repeat(1_000));
        let path = format!("/{}/livez", "x".repeat(1_000));
        assert_eq!(far.find(&path), Some(Route::Livez));
        assert_eq!(Paths::default().find("/x"), None);
    }

    #[test]
    fn a_method_that_does_not_fit_is_told_which_would() {
        assert!(Route::Memory.check_method(&Method::POST).is_ok());
        assert!(Route::Stream.check_method(&Method::HEAD).is_ok());
        assert!(Route::Stream.check_method(&Method::POST).is_err());
        assert!(Route::Aggressive.check_method(&Method::GET).is_err());
        assert!(Route::Memory.check_method(&Method::OPTIONS).is_err());
        assert!(Route::Unknown.check_method(&Method::GET).is_err());
        assert_eq!(Route::Memory.scope(&Method::GET), Some(Scope::Read));
        assert_eq!(Route::Memory.scope(&Method::POST), Some(Scope::Operate));
        assert_eq!(Route::Livez.scope(&Method::GET), None);
    }
}
