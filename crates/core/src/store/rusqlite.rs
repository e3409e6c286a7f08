//! Parameters and rows as rusqlite has them, for hosts and tests that bring that connection.

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};

use super::{Row, Value};

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Null => ValueRef::Null,
            Self::Int(int) => ValueRef::Integer(int),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

impl Row for rusqlite::Row<'_> {
    fn value(&self, column: usize) -> Value<'_> {
        match self.get_ref(column) {
            Ok(ValueRef::Integer(int)) => Value::Int(int),
            Ok(ValueRef::Text(text)) => std::str::from_utf8(text).map_or(Value::Null, Value::Text),
            _ => Value::Null,
        }
    }
}
