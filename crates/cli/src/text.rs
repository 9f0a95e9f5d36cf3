//! Figures and foreign text, made fit for a terminal.

/// 10^6 bytes, the unit that people read and type.
pub(crate) const MB: u64 = 1_000_000;

/// Longest foreign text printed in one piece, in characters; a hostile server must not flood.
const LONGEST_TEXT: usize = 400;

/// Rounds bytes to whole megabytes.
pub(crate) fn to_megabytes(bytes: u64) -> u64 {
    bytes / MB + u64::from(bytes % MB >= MB / 2)
}

/// Prints bytes in whole megabytes, such as `1850MB`; `n/a` if not known.
pub(crate) fn megabytes(bytes: Option<u64>) -> String {
    figure(bytes.map(to_megabytes), "MB")
}

/// Prints a figure with its unit; `n/a` if not known, never 0.
pub(crate) fn figure(value: Option<u64>, unit: &str) -> String {
    value.map_or_else(|| "n/a".to_owned(), |value| format!("{value}{unit}"))
}

/// Prints bytes in megabytes without rounding, such as `3000MB` or `1610.612736MB`.
pub(crate) fn exact_megabytes(bytes: u64) -> String {
    let (whole, rest) = (bytes / MB, bytes % MB);
    if rest == 0 {
        return format!("{whole}MB");
    }
    let rest = format!("{rest:06}");
    format!("{whole}.{}MB", rest.trim_end_matches('0'))
}

/// Prints bytes in the largest unit that leaves a whole number above 0: `12MB`, `4kB`, `17B`.
pub(crate) fn small_size(bytes: Option<u64>) -> String {
    match bytes {
        Some(bytes) if bytes < 1_000 => format!("{bytes}B"),
        Some(bytes) if bytes < MB => format!("{}kB", bytes / 1_000),
        _ => megabytes(bytes),
    }
}

/// Prints a count with its noun, such as `1 action` and `6 actions`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Spells a wire word as people write it: `timedOut` becomes `timed out`.
pub(crate) fn words(wire: &str) -> String {
    let mut words = String::with_capacity(wire.len() + 2);
    for character in wire.chars() {
        if character.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(character.to_ascii_lowercase());
    }
    words
}

/// Makes text of the server or of the environment printable on one line.
///
/// Control characters, line separators and marks that reorder or hide text are written as escapes
/// such as `\u{1b}`, so that a name cannot move the cursor, recolour the screen or forge a line.
pub(crate) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for (printed, character) in text.chars().enumerate() {
        if printed == LONGEST_TEXT {
            cleaned.push_str("...");
            break;
        }
        if is_printable(character) {
            cleaned.push(character);
        } else {
            cleaned.extend(character.escape_unicode());
        }
    }
    cleaned
}

/// Escapes, inside a valid JSON document, what a terminal would act on.
///
/// JSON strings cannot hold raw controls below U+0020; the others can only stand inside strings,
/// where the escape means the same character. Line breaks between tokens become spaces, so that a
/// document is one line.
pub(crate) fn clean_json(document: &str) -> String {
    let mut cleaned = String::with_capacity(document.len());
    for character in document.trim().chars() {
        match character {
            '\n' | '\r' | '\t' => cleaned.push(' '),
            _ if is_printable(character) => cleaned.push(character),
            _ => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    cleaned.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    cleaned
}

fn is_printable(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn megabytes_are_rounded_and_never_overflow() {
        for (bytes, printed) in [
            (Some(0), "0MB"),
            (Some(499_999), "0MB"),
            (Some(500_000), "1MB"),
            (Some(1_849_500_000), "1850MB"),
            (Some(u64::MAX), "18446744073710MB"),
            (None, "n/a"),
        ] {
            assert_eq!(megabytes(bytes), printed);
        }
    }

    #[test]
    fn exact_megabytes_keep_every_byte() {
        assert_eq!(exact_megabytes(3_000_000_000), "3000MB");
        assert_eq!(exact_megabytes(1_610_612_736), "1610.612736MB");
        assert_eq!(exact_megabytes(500_000), "0.5MB");
        assert_eq!(exact_megabytes(1), "0.000001MB");
    }

    #[test]
    fn small_sizes_do_not_round_to_nothing() {
        assert_eq!(small_size(Some(17)), "17B");
        assert_eq!(small_size(Some(4_096)), "4kB");
        assert_eq!(small_size(Some(776_000_000)), "776MB");
        assert_eq!(small_size(None), "n/a");
    }

    #[test]
    fn wire_words_are_spelt_out() {
        assert_eq!(words("timedOut"), "timed out");
        assert_eq!(words("failed"), "failed");
    }

    #[test]
    fn hostile_text_is_escaped_and_shortened() {
        assert_eq!(clean("a\x1b[31m\n\u{9b}b"), r"a\u{1b}[31m\u{a}\u{9b}b");
        assert_eq!(clean("gpj.\u{202e}exe"), r"gpj.\u{202e}exe");
        assert_eq!(clean("größe 📊"), "größe 📊");
        assert_eq!(clean(&"x".repeat(1_000)).len(), LONGEST_TEXT + 3);
    }

    #[test]
    fn a_cleaned_document_means_the_same() {
        let document = "{\n  \"a\": \"\u{9b}31m\u{202e}\u{e0041}\"\n}\n";
        let cleaned = clean_json(document);
        assert_eq!(cleaned.lines().count(), 1);
        assert!(cleaned.is_ascii(), "{cleaned}");
        let before: serde_json::Value = serde_json::from_str(document).unwrap();
        let after: serde_json::Value = serde_json::from_str(&cleaned).unwrap();
        assert_eq!(before, after);
    }
}
