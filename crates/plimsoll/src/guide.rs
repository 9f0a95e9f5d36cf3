//! The Rust of the guide, compiled by `cargo test --doc` with all features, so that no page shows
//! code that does not work.

/// Makes an item of each page, for its code blocks alone.
macro_rules! pages {
    ($($name:ident: $file:literal),* $(,)?) => {$(
        #[doc = include_str!(concat!("../../../docs/guide/src/", $file))]
        struct $name;
    )*};
}

pages! {
    Start: "README.md",
    Axum: "axum.md",
    TonicHyper: "tonic-hyper.md",
    Container: "container.md",
    Pruners: "pruners.md",
    Leaks: "leaks.md",
    Alerts: "alerts.md",
    Sockets: "sockets.md",
    Retention: "retention.md",
    Prometheus: "prometheus.md",
    Chat: "chat.md",
    Troubleshoot: "troubleshoot.md",
}
