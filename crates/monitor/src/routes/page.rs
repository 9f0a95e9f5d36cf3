//! `/monitoring/`: a page of links, until there is a dashboard.

use http::{
    HeaderValue, Response, StatusCode, Uri,
    header::{CONTENT_SECURITY_POLICY, LOCATION},
};

use crate::{
    body::Answer,
    paths::Paths,
    reply::{text, words},
};

const PAGE: &str = include_str!("page.html");
/// The page is text and links; nothing else may be loaded, and nobody may frame it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// To the path with the slash, so that relative links work.
pub(crate) fn redirect(uri: &Uri) -> Response<Answer> {
    let mut response = words(StatusCode::PERMANENT_REDIRECT, "");
    // Relative to what the client asked for, which a proxy may have shortened on the way.
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    if let Ok(location) = HeaderValue::from_str(&format!("{name}/")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

pub(crate) fn show(paths: &Paths) -> Response<Answer> {
    let up = "../".repeat(paths.dashboard().matches('/').count());
    let link = |path: &str| escaped(&format!("{up}{}", path.trim_start_matches('/')));
    let mut page = PAGE.to_owned();
    for (name, path) in [
        ("{report}", paths.api("monitoring/memory")),
        ("{history}", paths.api("monitoring/history")),
        ("{stream}", paths.api("monitoring/stream")),
        ("{alerts}", paths.api("monitoring/alerts")),
        ("{routes}", paths.api("monitoring/routes")),
        ("{pruners}", paths.api("monitoring/pruners")),
        ("{openapi}", paths.api("monitoring/openapi.json")),
        ("{metrics}", paths.metrics().to_owned()),
        ("{livez}", paths.livez().to_owned()),
        ("{readyz}", paths.readyz().to_owned()),
    ] {
        page = page.replace(name, &link(&path));
    }
    let mut response = text("text/html; charset=utf-8", page);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    response
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_from_wherever_the_page_is() {
        let page = |paths: &Paths| match show(paths).into_body() {
            Answer::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
            Answer::Events(_) => panic!("a page"),
        };
        let default = page(&Paths::default());
        assert!(default.contains(r#"href="../api/monitoring/memory""#), "{default}");
        assert!(!default.contains('{'), "{default}");
        let mut paths = Paths::below("/a");
        paths.set_metrics(r#"/m"><b>"#);
        let moved = page(&paths);
        assert!(moved.contains(r#"href="../../a/api/monitoring/stream""#), "{moved}");
        assert!(moved.contains("m&quot;>&lt;b>"), "{moved}");
    }

    #[test]
    fn the_redirect_is_relative() {
        let response = redirect(&"/behind/monitoring?x=1".parse().unwrap());
        assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
        assert_eq!(response.headers()[LOCATION], "monitoring/");
    }
}
