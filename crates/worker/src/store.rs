//! An object's own SQLite, as the core asks for it.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use js_sys::{Function, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use weeziq_core::metrics::families;
use weeziq_core::store::{Row, Sql, SqlError, Value};
use worker::{SqlStorage, SqlStorageValue, Storage};

use crate::counts;

pub(crate) struct Store(SqlStorage);

/// Why a transaction came to nothing.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The storage refused.
    Storage(SqlError),
    /// The work itself panicked: our bug.
    Panic(String),
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Storage(error) => write!(f, "storage: {error}"),
            Self::Panic(why) => write!(f, "a bug: {why}"),
        }
    }
}

impl Store {
    pub(crate) fn new(storage: &Storage) -> Self {
        Self(storage.sql())
    }

    /// For statements that are made of what the store itself says of its tables.
    pub(crate) fn raw(&self) -> &SqlStorage {
        &self.0
    }
}

/// Runs `work` in a transaction: all of it is stored, or nothing is. The platform rolls back only what throws inside
/// `transactionSync`, which the `worker` crate does not wrap.
pub(crate) fn transact<T: 'static>(
    storage: &Storage,
    work: impl FnOnce(&mut Store) -> Result<T, SqlError> + 'static,
) -> Result<T, Failed> {
    let done = Rc::new(RefCell::new(None));
    let (slot, mut store) = (done.clone(), Store::new(storage));
    let callback = Closure::once_into_js(AssertUnwindSafe(move || -> Result<JsValue, JsValue> {
        let result = work(&mut store);
        let thrown = result.as_ref().err().map(|error| JsValue::from_str(&error.0));
        *slot.borrow_mut() = Some(result);
        thrown.map_or(Ok(JsValue::UNDEFINED), Err)
    }));
    let outcome = transaction_sync(storage, &callback);
    let result = done.borrow_mut().take();
    let committed = match (outcome, result) {
        (_, Some(Err(error))) => Err(Failed::Storage(error)),
        (Ok(_), Some(Ok(value))) => Ok(value),
        (Err(thrown), Some(Ok(_))) => Err(Failed::Storage(SqlError(words(&thrown)))),
        (Err(thrown), None) => Err(Failed::Panic(words(&thrown))),
        (Ok(_), None) => Err(Failed::Panic("the transaction was not run".into())),
    };
    committed.inspect_err(|_| counts::add(&families::COMMITS_FAILED, &[], 1))
}

fn transaction_sync(storage: &Storage, callback: &JsValue) -> Result<JsValue, JsValue> {
    let raw = storage.as_raw();
    let method: Function = Reflect::get(raw, &JsValue::from_str("transactionSync"))?.dyn_into()?;
    method.call1(raw, callback)
}

fn words(thrown: &JsValue) -> String {
    let message = Reflect::get(thrown, &JsValue::from_str("message")).ok().and_then(|text| text.as_string());
    message.or_else(|| thrown.as_string()).unwrap_or_else(|| "an error without words".into())
}

impl Sql for Store {
    fn query(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        each: &mut dyn FnMut(&dyn Row),
    ) -> Result<(), SqlError> {
        let bindings: Vec<SqlStorageValue> = params.iter().map(binding).collect();
        let cursor = self.0.exec(sql, bindings).map_err(failed)?;
        // Never `one()`: without a row it throws where nothing catches, and the request hangs for ever.
        for row in cursor.raw() {
            each(&Columns(row.map_err(failed)?));
        }
        Ok(())
    }
}

fn binding(value: &Value<'_>) -> SqlStorageValue {
    match *value {
        Value::Null => SqlStorageValue::Null,
        Value::Int(int) => SqlStorageValue::Integer(int),
        Value::Text(text) => SqlStorageValue::String(text.into()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err calls")]
fn failed(error: worker::Error) -> SqlError {
    SqlError(error.to_string())
}

struct Columns(Vec<SqlStorageValue>);

impl Row for Columns {
    fn value(&self, column: usize) -> Value<'_> {
        match self.0.get(column) {
            Some(SqlStorageValue::Integer(int)) => Value::Int(*int),
            Some(SqlStorageValue::String(text)) => Value::Text(text),
            _ => Value::Null,
        }
    }
}
