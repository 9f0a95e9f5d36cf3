//! The page and its files: made of their sources, small, and allowed to do little.

#[path = "../../examples/pack/bundle.rs"]
mod bundle;

use std::{fs, io::Read as _, net::SocketAddr, path::Path};

use flate2::read::GzDecoder;
use http::{Method, Request, StatusCode};
use plimsoll_core::Plimsoll;
use plimsoll_monitor::{Access, PeerAddr};

use crate::support::{Answer, Server, empty, local};

const PAGE: &str = "/monitoring/";
/// All of the page, as it travels.
const MOST_BYTES: usize = 60_000;
/// Our own part of the script; the rest draws the chart.
const MOST_SCRIPT: usize = 25_000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn what_is_served_is_made_of_the_sources() {
    let files = bundle::files(root()).unwrap();
    let dist = root().join("assets/dist");
    for file in &files {
        let stored =
            |suffix: &str| fs::read(dist.join(format!("{}{suffix}", file.stored))).unwrap();
        let told = format!("{}: run `cargo run -p plimsoll-monitor --example pack`", file.stored);
        assert!(stored("") == file.content, "{told}");
        let mut unpacked = Vec::new();
        GzDecoder::new(&stored(".gz")[..]).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == file.content, "{told}");
        unpacked.clear();
        brotli::Decompressor::new(&stored(".br")[..], 4096).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == file.content, "{told}");
    }
    let table = fs::read_to_string(root().join("src/dashboard/packed.rs")).unwrap();
    // rustfmt may lay it out otherwise.
    let bare = |text: &str| text.replace(char::is_whitespace, "");
    assert_eq!(bare(&table), bare(&bundle::table(&files)));
}

#[test]
fn all_of_it_fits_the_budget_in_either_encoding() {
    let files = bundle::files(root()).unwrap();
    for pack in [bundle::gzip, bundle::brotli] {
        let sizes = files.iter().map(|file| pack(&file.content).unwrap().len());
        assert!(sizes.sum::<usize>() <= MOST_BYTES);
    }
    let uplot = fs::read(root().join("assets/vendor/uplot-1.6.32.min.js")).unwrap();
    let script = files.iter().find(|file| file.stored == "app.js").unwrap();
    let own = script.content.strip_prefix(&uplot[..]).expect("the chart's part comes first");
    assert!(bundle::gzip(own).unwrap().len() <= MOST_SCRIPT);
}

#[test]
fn nothing_is_written_into_the_page_and_nothing_comes_from_elsewhere() {
    let files = bundle::files(root()).unwrap();
    for file in files.iter().filter(|file| file.stored != "licenses.txt") {
        let text = String::from_utf8(file.content.clone()).unwrap();
        for name in ["http://", "https://", "@import", "//cdn"] {
            // The name of a format and the author's page: nothing is loaded from them.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            let text = text.replace("https://github.com/leeoniya/uPlot", "");
            assert!(!text.contains(name), "{name} in {}", file.stored);
        }
    }
    let page = String::from_utf8(files[0].content.clone()).unwrap();
    for inline in ["style=", "<style", "onclick", "onload", "javascript:"] {
        assert!(!page.contains(inline), "{inline}");
    }
    assert_eq!(page.matches("<script").count(), page.matches("<script src=").count());
    for part in ["dom.js", "main.js", "tables.js", "actions.js", "alerts.js"] {
        let script = fs::read_to_string(root().join("assets/src").join(part)).unwrap();
        for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!script.contains(sink), "{sink} in {part}");
        }
    }
}

async fn get(server: &Server, path: &str, encodings: &str) -> Answer {
    let request = local(Method::GET, path).header("accept-encoding", encodings);
    Answer::of(server.ask(request.body(empty()).unwrap()).await).await
}

#[tokio::test]
async fn each_file_is_sent_packed_and_kept_for_good() {
    let server = Server::start();
    let page = server.get(PAGE).await;
    assert_eq!(page.header("content-encoding"), "");
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(
        page.header("content-security-policy"),
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    let text = page.text();
    let named = |before: &str| text.split_once(before).unwrap().1.split('"').next().unwrap();
    for (name, kind) in [
        (named("rel=\"stylesheet\" href=\""), "text/css; charset=utf-8"),
        (named("<script src=\""), "text/javascript; charset=utf-8"),
    ] {
        let path = format!("{PAGE}{name}");
        let plain = server.get(&path).await;
        for (encodings, expected) in [("gzip, deflate, br", "br"), ("gzip;q=0.8", "gzip")] {
            let answer = get(&server, &path, encodings).await;
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(answer.header("content-encoding"), expected, "{path}");
            assert_eq!(answer.header("vary"), "accept-encoding");
            assert_eq!(answer.header("content-type"), kind);
            assert!(answer.header("cache-control").contains("immutable"));
            assert!(answer.header("cache-control").starts_with("private"));
            assert!(answer.body.len() * 2 < plain.body.len());
        }
        // Another version of it is not this one.
        let other = path.replace(name, &name.replace(|c: char| c.is_ascii_digit(), "0"));
        server.get(&other).await.problem(404, "not-found");
        let head = local(Method::HEAD, &path);
        let answer = Answer::of(server.ask(head.body(empty()).unwrap()).await).await;
        assert_eq!(answer.header("content-length"), plain.body.len().to_string());
    }
    let licences = server.get("/monitoring/licenses.txt").await;
    assert!(licences.text().contains("Leon Sorokin"), "{}", licences.text());
    assert_eq!(licences.header("cache-control"), "no-store");
    let redirect = server.get("/monitoring").await;
    assert_eq!(redirect.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(redirect.header("location"), "monitoring/");
    let posted = local(Method::POST, PAGE).body(empty()).unwrap();
    assert_eq!(server.ask(posted).await.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn where_tokens_are_taken_the_shell_is_open_and_holds_no_figure() {
    let from_afar = |path: &str| {
        let peer = PeerAddr(SocketAddr::from(([192, 0, 2, 7], 50_000)));
        Request::get(path).header("host", "a.example").extension(peer).body(empty()).unwrap()
    };
    for access in [Access::bearer("op"), Access::loopback_or_bearer("op")] {
        let server = Server::with(Plimsoll::builder(), |layer| layer.access(access));
        let page = Answer::of(server.ask(from_afar(PAGE)).await).await;
        assert_eq!(page.status(), StatusCode::OK);
        assert!(!page.text().contains("1400") && !page.text().contains(server.plimsoll.instance()));
        let memory = server.ask(from_afar("/api/monitoring/memory")).await;
        assert!(memory.status().is_client_error());
    }
    let server = Server::start();
    let page = Answer::of(server.ask(from_afar(PAGE)).await).await;
    page.problem(403, "not-allowed");
}
