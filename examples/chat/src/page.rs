//! The page to chat in: three embedded files that ask for nothing from elsewhere.

use axum::{
    http::header,
    response::{IntoResponse, Response},
};

/// Scripts and styles only from this server, no inline ones, and no framing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) async fn index() -> Response {
    asset("text/html; charset=utf-8", include_str!("../assets/index.html"))
}

pub(crate) async fn script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("../assets/chat.js"))
}

pub(crate) async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("../assets/chat.css"))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // The files change only with the server, but then at once.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    const FILES: [&str; 3] = [
        include_str!("../assets/index.html"),
        include_str!("../assets/chat.js"),
        include_str!("../assets/chat.css"),
    ];

    #[test]
    fn nothing_is_requested_from_elsewhere() {
        for file in FILES {
            for outside in ["http://", "https://", "url(", "@import", "//cdn"] {
                assert!(!file.contains(outside), "{outside}");
            }
        }
    }

    #[test]
    fn what_people_write_is_never_read_as_markup() {
        for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!FILES[1].contains(sink), "{sink}");
        }
        // Inline scripts and handlers would be refused by the policy anyway.
        assert!(!FILES[0].contains("onclick") && !FILES[0].contains("<script>"));
    }
}
