//! The fingerprint of a set of labels, as Prometheus and Alertmanager compute it: FNV-1a over the
//! names and values in the order of the names, each ended by the byte 0xff
//! (`LabelsToSignature` of github.com/prometheus/common).

use std::fmt::{self, Write};

const OFFSET: u64 = 14_695_981_039_346_656_037;
const PRIME: u64 = 1_099_511_628_211;
const SEPARATOR: u8 = 0xff;

/// Hashes labels that are given in the order of their names.
pub(crate) fn fingerprint(labels: &[(&str, &dyn fmt::Display)]) -> u64 {
    let mut hash = Hash(OFFSET);
    for (name, value) in labels {
        // A hash takes whatever is written to it.
        let _ = hash.write_str(name);
        hash.add(SEPARATOR);
        let _ = write!(hash, "{value}");
        hash.add(SEPARATOR);
    }
    hash.0
}

struct Hash(u64);

impl Hash {
    fn add(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(PRIME);
    }
}

impl Write for Hash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.add(byte));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_prometheus() {
        // Both from the tests of github.com/prometheus/common, model/signature_test.go.
        assert_eq!(fingerprint(&[]), 14_695_981_039_346_656_037);
        let labels: [(&str, &dyn fmt::Display); 2] =
            [("fear", &"love is not enough"), ("name", &"garland, briggs")];
        assert_eq!(fingerprint(&labels), 5_799_056_148_416_392_346);
    }
}
