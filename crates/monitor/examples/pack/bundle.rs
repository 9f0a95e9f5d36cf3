//! From the sources of the dashboard to the files that are served; shared with the test that
//! holds one against the other.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use flate2::{Compression, GzBuilder};

/// The parts of the script, in the order in which they stand in it.
const SCRIPTS: [&str; 11] = [
    "format.js",
    "dom.js",
    "api.js",
    "store.js",
    "chart.js",
    "thresholds.js",
    "overview.js",
    "actions.js",
    "alerts.js",
    "cleanups.js",
    "tables.js",
];
const LAST_SCRIPT: &str = "main.js";

/// One file that is served.
pub(crate) struct Packed {
    /// Its name below `assets/dist`.
    pub(crate) stored: String,
    /// Its name below the page, with a hash of its content.
    pub(crate) name: String,
    /// The constant in the table, if it has one of its own.
    constant: Option<&'static str>,
    content_type: &'static str,
    pub(crate) content: Vec<u8>,
}

/// Reads the sources below `root`, the crate's folder, and puts the files together.
pub(crate) fn files(root: &Path) -> io::Result<Vec<Packed>> {
    let read = |path: &str| fs::read_to_string(root.join("assets").join(path));
    let mut script = read("vendor/uplot-1.6.32.min.js")?;
    // One scope for all parts, which nothing outside sees.
    script.push_str("\n(() => {\n\"use strict\";\n");
    for part in SCRIPTS.iter().chain([&LAST_SCRIPT]) {
        script.push_str(&without_comments(&read(&format!("src/{part}"))?));
    }
    script.push_str("})();\n");
    let style = format!("{}\n{}", read("vendor/uplot-1.6.32.min.css")?, read("src/style.css")?);
    let licenses = format!(
        "The dashboard draws its chart with uPlot 1.6.32 (https://github.com/leeoniya/uPlot).\n\n{}",
        read("vendor/uplot-LICENSE")?
    );
    let script = hashed("app", "js", "text/javascript; charset=utf-8", script);
    let style = hashed("style", "css", "text/css; charset=utf-8", style);
    let index = read("src/index.html")?
        .replace("{js}", &script.name)
        .replace("{css}", &style.name)
        .replace("{api}", "../api/")
        .replace("{metrics}", "../metrics");
    let single = |name: &str, constant, content_type, content: String| Packed {
        stored: if name.is_empty() { "index.html".to_owned() } else { name.to_owned() },
        name: name.to_owned(),
        constant: Some(constant),
        content_type,
        content: content.into_bytes(),
    };
    Ok(vec![
        single("", "INDEX", "text/html; charset=utf-8", index),
        script,
        style,
        single("licenses.txt", "LICENSES", "text/plain; charset=utf-8", licenses),
    ])
}

/// Comments on lines of their own stay in the sources.
fn without_comments(script: &str) -> String {
    let lines = script.lines().filter(|line| !line.trim_start().starts_with("// "));
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn hashed(stem: &str, extension: &str, content_type: &'static str, content: String) -> Packed {
    // Fowler, Noll and Vo's hash of 64 bits: to tell versions apart, not to withstand anybody.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in content.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    Packed {
        stored: format!("{stem}.{extension}"),
        name: format!("{stem}.{hash:016x}.{extension}"),
        constant: None,
        content_type,
        content: content.into_bytes(),
    }
}

pub(crate) fn gzip(content: &[u8]) -> io::Result<Vec<u8>> {
    // Without a time, so that the same content is the same file.
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    encoder.finish()
}

pub(crate) fn brotli(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = Vec::new();
    let mut encoder = brotli::CompressorWriter::new(&mut packed, 4096, 11, 22);
    encoder.write_all(content)?;
    encoder.flush()?;
    drop(encoder);
    Ok(packed)
}

/// The table of the files, as Rust.
pub(crate) fn table(files: &[Packed]) -> String {
    let mut text = String::from(
        "//! Made by `cargo run -p plimsoll-monitor --example pack`; do not edit.\n\nuse super::File;\n",
    );
    for file in files.iter().filter(|file| file.constant.is_some()) {
        let constant = file.constant.unwrap_or_default();
        text.push_str(&format!("\npub(crate) const {constant}: File = {};\n", entry(file, "")));
    }
    let hashed: Vec<_> = files.iter().filter(|file| file.constant.is_none()).collect();
    text.push_str(&format!("\npub(super) const FILES: [File; {}] = [\n", hashed.len()));
    for file in hashed {
        text.push_str(&format!("    {},\n", entry(file, "    ")));
    }
    text.push_str("];\n");
    text
}

fn entry(file: &Packed, indent: &str) -> String {
    let include = |suffix| format!("include_bytes!(\"../../assets/dist/{}{suffix}\")", file.stored);
    let lines = [
        format!("name: {:?},", file.name),
        format!("content_type: {:?},", file.content_type),
        format!("is_hashed: {},", file.constant.is_none()),
        format!("plain: {},", include("")),
        format!("gzip: {},", include(".gz")),
        format!("brotli: {},", include(".br")),
    ];
    let body: String = lines.iter().map(|line| format!("{indent}    {line}\n")).collect();
    format!("File {{\n{body}{indent}}}")
}
