//! `/api/monitoring/openapi.json`: the description of the routes.

use serde_json::{Map, Value};

use crate::{
    paths::Paths,
    problem::Problem,
    reply::{self, Reply},
};

/// With the default paths.
const DOCUMENT: &str = include_str!("openapi.json");

/// Made when asked for: it is asked for rarely, and need not be held.
pub(crate) fn document(paths: &Paths) -> Reply {
    let mut document: Value = serde_json::from_str(DOCUMENT)
        .map_err(|error| Problem::internal(format!("the description is not JSON: {error}")))?;
    document["info"]["version"] = Value::from(env!("CARGO_PKG_VERSION"));
    if let Some(described) = document["paths"].as_object_mut() {
        *described = std::mem::take(described)
            .into_iter()
            .map(|(path, methods)| (moved(&path, paths), methods))
            // What was moved to nowhere is not there.
            .filter(|(path, _)| paths.find(&path.replace("{id}", "id")).is_some())
            .collect::<Map<_, _>>();
    }
    Ok(reply::text("application/json", document.to_string()))
}

/// A path of the document, where the program has put it.
fn moved(path: &str, paths: &Paths) -> String {
    match path {
        "/livez" => paths.livez().to_owned(),
        "/readyz" => paths.readyz().to_owned(),
        "/metrics" => paths.metrics().to_owned(),
        "/monitoring" => paths.dashboard().to_owned(),
        "/monitoring/" => format!("{}/", paths.dashboard()),
        "/monitoring/licenses.txt" => format!("{}/licenses.txt", paths.dashboard()),
        _ => paths.api(path.strip_prefix("/api/").unwrap_or(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Route;

    #[test]
    fn every_path_described_is_one_of_ours_wherever_it_was_put() {
        let described: Value = serde_json::from_str(DOCUMENT).unwrap();
        let described = described["paths"].as_object().unwrap();
        for paths in [Paths::default(), Paths::below("/internal")] {
            for path in described.keys() {
                let moved = moved(path, &paths).replace("{id}", "a-1");
                let route = paths.find(&moved);
                assert!(route.is_some_and(|route| route != Route::Unknown), "{path} -> {moved}");
            }
        }
    }
}
