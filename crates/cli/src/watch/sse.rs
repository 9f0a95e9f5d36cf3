//! Server-Sent Events, read from lines.

use std::io::{self, BufRead, ErrorKind, Read as _};

/// Largest event read; a snapshot is an hour of samples, far less than this.
const LARGEST_EVENT: usize = 16 * 1024 * 1024;

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// The id, for `Last-Event-ID`.
    pub(super) id: Option<String>,
    pub(super) name: String,
    pub(super) data: String,
}

/// Reads up to the next event; `None` at the end of the stream.
///
/// # Errors
/// What the reader says, and `InvalidData` for an event that is larger than any of ours.
pub(super) fn next(reader: &mut impl BufRead) -> io::Result<Option<Frame>> {
    let mut frame = Frame::default();
    let mut has_data = false;
    let mut left = LARGEST_EVENT;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.by_ref().take(left as u64).read_until(b'\n', &mut line)?;
        if read == 0 && left > 0 {
            // An event that was cut off is none.
            return Ok(None);
        }
        left = left.saturating_sub(read);
        if left == 0 {
            return Err(io::Error::new(ErrorKind::InvalidData, "an event is too large"));
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            if has_data {
                return Ok(Some(frame));
            }
            // A blank line without data ends nothing; its fields are dropped, as the standard says.
            frame = Frame { id: frame.id, ..Frame::default() };
            left = LARGEST_EVENT;
            continue;
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" if !value.contains('\0') => frame.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut frame.name),
            "data" => {
                if has_data {
                    frame.data.push('\n');
                }
                has_data = true;
                frame.data.push_str(value);
            }
            // Comments, `retry` and fields of later releases.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(mut text: &[u8]) -> Vec<(String, String, Option<String>)> {
        let mut found = Vec::new();
        while let Some(frame) = next(&mut text).unwrap() {
            found.push((frame.name, frame.data, frame.id));
        }
        found
    }

    #[test]
    fn events_are_read_past_pings_and_line_ends_of_all_kinds() {
        let text = b"retry: 3000\nid: a-1\nevent: snapshot\ndata: {}\n\n: ping\n\nevent:sample\r\ndata:1\r\ndata: 2\r\n\r\nevent: cut\ndata: off";
        assert_eq!(
            frames(text),
            [
                ("snapshot".to_owned(), "{}".to_owned(), Some("a-1".to_owned())),
                ("sample".to_owned(), "1\n2".to_owned(), None),
            ]
        );
    }

    #[test]
    fn an_event_without_data_is_none_and_its_name_is_forgotten() {
        assert_eq!(frames(b"event: a\n\ndata: x\n\n"), [(String::new(), "x".to_owned(), None)]);
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let endless = io::repeat(b'x');
        let error = next(&mut io::BufReader::new(endless)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }
}
