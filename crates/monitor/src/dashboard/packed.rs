//! Made by `cargo run -p plimsoll-monitor --example pack`; do not edit.

use super::File;

pub(crate) const INDEX: File = File {
    name: "",
    content_type: "text/html; charset=utf-8",
    is_hashed: false,
    plain: include_bytes!("../../assets/dist/index.html"),
    gzip: include_bytes!("../../assets/dist/index.html.gz"),
    brotli: include_bytes!("../../assets/dist/index.html.br"),
};

pub(crate) const LICENSES: File = File {
    name: "licenses.txt",
    content_type: "text/plain; charset=utf-8",
    is_hashed: false,
    plain: include_bytes!("../../assets/dist/licenses.txt"),
    gzip: include_bytes!("../../assets/dist/licenses.txt.gz"),
    brotli: include_bytes!("../../assets/dist/licenses.txt.br"),
};

pub(super) const FILES: [File; 2] = [
    File {
        name: "app.c687487251c769c7.js",
        content_type: "text/javascript; charset=utf-8",
        is_hashed: true,
        plain: include_bytes!("../../assets/dist/app.js"),
        gzip: include_bytes!("../../assets/dist/app.js.gz"),
        brotli: include_bytes!("../../assets/dist/app.js.br"),
    },
    File {
        name: "style.166e90cb881e2cc6.css",
        content_type: "text/css; charset=utf-8",
        is_hashed: true,
        plain: include_bytes!("../../assets/dist/style.css"),
        gzip: include_bytes!("../../assets/dist/style.css.gz"),
        brotli: include_bytes!("../../assets/dist/style.css.br"),
    },
];
