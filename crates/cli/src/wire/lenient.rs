//! Reading what an older, newer or broken server sends: a member of the wrong type is a member
//! that is not there, so one bad figure never hides the others.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

/// A member of any type, `None` if it does not fit.
pub(super) fn member<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

/// A figure that cannot be negative; fractions are rounded.
pub(super) fn figure<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(to_figure(&Value::deserialize(deserializer)?))
}

/// Named figures; a member that is no object holds none.
pub(super) fn figures<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, u64>, D::Error> {
    let Value::Object(members) = Value::deserialize(deserializer)? else {
        return Ok(BTreeMap::new());
    };
    Ok(members
        .into_iter()
        .filter_map(|(name, value)| to_figure(&value).map(|figure| (name, figure)))
        .collect())
}

/// A list without the entries that do not fit; a member that is no list is an empty one.
pub(super) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let Value::Array(entries) = Value::deserialize(deserializer)? else {
        return Ok(Vec::new());
    };
    Ok(entries.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect())
}

fn to_figure(value: &Value) -> Option<u64> {
    if let Some(figure) = value.as_u64() {
        return Some(figure);
    }
    // 2^64; a float below it casts without saturating.
    const TOO_LARGE: f64 = 18_446_744_073_709_551_616.0;
    let figure = value.as_f64().filter(|figure| (0.0..TOO_LARGE).contains(figure))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range was checked the line before"
    )]
    Some(figure.round() as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_are_numbers_from_zero_up() {
        for (value, figure) in [
            (json!(1200), Some(1200)),
            (json!(1200.6), Some(1201)),
            (json!(u64::MAX), Some(u64::MAX)),
            (json!(-1), None),
            (json!(1e300), None),
            (json!("1200"), None),
            (json!(null), None),
        ] {
            assert_eq!(to_figure(&value), figure, "{value}");
        }
    }
}
