//! As much of JSON Schema as our description uses.

use serde_json::Value;

/// Holds a value against a schema; every member must be described.
pub(crate) fn check(value: &Value, schema: &Value, document: &Value) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        return check(value, document.pointer(&name[1..]).ok_or(name)?, document);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let errors: Vec<_> =
            any.iter().filter_map(|one| check(value, one, document).err()).collect();
        return if errors.len() < any.len() { Ok(()) } else { Err(errors.join("; or ")) };
    }
    if let Some(only) = schema.get("const")
        && only != value
    {
        return Err(format!("{value} is not {only}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return Err(format!("{value} is none of {words:?}"));
    }
    check_type(value, &schema["type"])?;
    if let (Some(least), Some(number)) = (schema["minimum"].as_f64(), value.as_f64())
        && number < least
    {
        return Err(format!("{value} is below {least}"));
    }
    match value {
        Value::Object(members) if schema.get("properties").is_some() => {
            for name in schema["required"].as_array().into_iter().flatten() {
                if !members.contains_key(name.as_str().ok_or("a name")?) {
                    return Err(format!("{name} is missing"));
                }
            }
            for (name, member) in members {
                let described = &schema["properties"][name];
                if described.is_null() {
                    return Err(format!("{name} is not described"));
                }
                check(member, described, document).map_err(|error| format!("{name}: {error}"))?;
            }
        }
        Value::Array(items) => {
            for item in items {
                check(item, &schema["items"], document)
                    .map_err(|error| format!("item: {error}"))?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn check_type(value: &Value, types: &Value) -> Result<(), String> {
    let is = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    };
    let fits = match types {
        Value::Null => true,
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().any(|name| name.as_str().is_some_and(is)),
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("{value} is not of type {types}")) }
}
