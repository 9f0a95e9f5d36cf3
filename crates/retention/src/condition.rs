//! Further conditions of a rule: a column held against a value that is bound, never written out.

/// A value that a column is held against.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// A text; PostgreSQL reads it as the type of the column, such as a UUID or an enum.
    Text(String),
    /// True or false; in SQLite 1 or 0.
    Boolean(bool),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

/// What a column has to be, for [`Rule::only_if`](crate::Rule::only_if).
///
/// A column that is NULL only ever matches [`Is::null`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Is(pub(crate) Comparison);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Compared(&'static str, Value),
    OneOf(Vec<Value>),
    Null,
    NotNull,
}

impl Is {
    /// Equal to the value.
    pub fn equal_to(value: impl Into<Value>) -> Self {
        Self(Comparison::Compared("=", value.into()))
    }

    /// Other than the value, and not NULL.
    pub fn not(value: impl Into<Value>) -> Self {
        Self(Comparison::Compared("<>", value.into()))
    }

    /// Below the value.
    pub fn below(value: impl Into<Value>) -> Self {
        Self(Comparison::Compared("<", value.into()))
    }

    /// Above the value.
    pub fn above(value: impl Into<Value>) -> Self {
        Self(Comparison::Compared(">", value.into()))
    }

    /// Equal to one of the values, at least one and at most 100.
    pub fn one_of<V: Into<Value>>(values: impl IntoIterator<Item = V>) -> Self {
        Self(Comparison::OneOf(values.into_iter().map(Into::into).collect()))
    }

    /// NULL.
    pub fn null() -> Self {
        Self(Comparison::Null)
    }

    /// Not NULL.
    pub fn not_null() -> Self {
        Self(Comparison::NotNull)
    }

    /// The values to bind.
    pub(crate) fn values(&self) -> &[Value] {
        match &self.0 {
            Comparison::Compared(_, value) => std::slice::from_ref(value),
            Comparison::OneOf(values) => values,
            Comparison::Null | Comparison::NotNull => &[],
        }
    }
}
