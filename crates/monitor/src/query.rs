//! The few values that a query can hold.

use http::Uri;

use crate::problem::Problem;

/// The value of `name`: `None` when it is not there, empty when it stands alone. Other names are
/// left to later releases.
pub(crate) fn value<'u>(uri: &'u Uri, name: &str) -> Result<Option<&'u str>, Problem> {
    let mut found = None;
    for pair in uri.query().unwrap_or_default().split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key == name && found.replace(value).is_some() {
            return Err(Problem::malformed(format!("the query has {name} twice")));
        }
    }
    Ok(found)
}

/// A switch: `?name`, `?name=true`, `?name=false`; off when it is not there.
pub(crate) fn switch(uri: &Uri, name: &str) -> Result<bool, Problem> {
    match value(uri, name)? {
        None | Some("false") => Ok(false),
        Some("" | "true") => Ok(true),
        Some(_) => Err(Problem::malformed(format!("{name} in the query must be true or false"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(query: &str) -> Uri {
        format!("/x?{query}").parse().unwrap()
    }

    #[test]
    fn a_switch_is_on_off_or_refused() {
        for (query, expected) in [
            ("", Some(false)),
            ("other=1&dryRunner=true", Some(false)),
            ("dryRun", Some(true)),
            ("a=1&dryRun=true", Some(true)),
            ("dryRun=false", Some(false)),
            ("dryRun=1", None),
            ("dryRun=TRUE", None),
            ("dryRun=false&dryRun=true", None),
        ] {
            assert_eq!(switch(&uri(query), "dryRun").ok(), expected, "{query}");
        }
    }
}
