//! What the dashboard is made of: the files of `assets/dist`, packed beforehand and built in.
//!
//! `cargo run -p plimsoll-monitor --example pack` makes them from `assets/src` and
//! `assets/vendor`, and a test fails when they are older than those. So a build of this crate
//! takes nothing but this crate.

mod packed;

use http::{HeaderMap, header::ACCEPT_ENCODING};

pub(crate) use self::packed::INDEX;
use self::packed::{FILES, LICENSES};

/// One file, in each of the encodings that it is sent in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// Below the page; holds a hash of the content, unless people type it.
    pub(crate) name: &'static str,
    pub(crate) content_type: &'static str,
    /// Whether another content would have another name.
    pub(crate) is_hashed: bool,
    plain: &'static [u8],
    gzip: &'static [u8],
    brotli: &'static [u8],
}

impl File {
    /// The bytes to send and, unless they are plain, how they are encoded.
    pub(crate) fn encoded(&self, headers: &HeaderMap) -> (&'static [u8], Option<&'static str>) {
        let accepted = Accepted::of(headers);
        if accepted.brotli {
            (self.brotli, Some("br"))
        } else if accepted.gzip {
            (self.gzip, Some("gzip"))
        } else {
            (self.plain, None)
        }
    }

    /// The content as it is.
    pub(crate) fn plain(&self) -> &'static str {
        // Ours are text; a test reads each.
        str::from_utf8(self.plain).unwrap_or_default()
    }
}

/// Finds a file by its name below the page.
pub(crate) fn file(name: &str) -> Option<&'static File> {
    FILES.iter().chain([&LICENSES]).find(|file| file.name == name)
}

/// What a client says it can read.
#[derive(Debug, Default, PartialEq, Eq)]
struct Accepted {
    brotli: bool,
    gzip: bool,
}

impl Accepted {
    fn of(headers: &HeaderMap) -> Self {
        let mut accepted = Self::default();
        let values =
            headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        for coding in values.flat_map(|value| value.split(',')) {
            let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
            // A weight of 0, in any of its spellings, forbids.
            let weight = parameters.trim().strip_prefix("q=").map(str::trim);
            if weight.is_some_and(|weight| weight.parse::<f32>().is_ok_and(|q| q <= 0.0)) {
                continue;
            }
            match name.trim() {
                name if name.eq_ignore_ascii_case("br") => accepted.brotli = true,
                name if name.eq_ignore_ascii_case("gzip") => accepted.gzip = true,
                _ => {}
            }
        }
        accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_is_used_only_when_it_is_accepted() {
        for (value, brotli, gzip) in [
            ("", false, false),
            ("gzip, deflate, br, zstd", true, true),
            ("br;q=0, gzip;q=0.5", false, true),
            ("BR; q=1", true, false),
            ("gzip;q=0.000", false, false),
            ("brotli, x-gzip, *", false, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, value.parse().unwrap());
            assert_eq!(Accepted::of(&headers), Accepted { brotli, gzip }, "{value}");
        }
        assert_eq!(Accepted::of(&HeaderMap::new()), Accepted::default());
    }

    #[test]
    fn every_file_is_text_and_found_by_its_name() {
        for known in FILES.iter().chain([&INDEX, &LICENSES]) {
            assert!(!known.plain().is_empty(), "{known:?}");
        }
        assert!(FILES.iter().all(|known| file(known.name) == Some(known)));
        assert_eq!(file("licenses.txt"), Some(&LICENSES));
        assert_eq!((file(""), file("app.js"), file("../app.js")), (None, None, None));
    }
}
