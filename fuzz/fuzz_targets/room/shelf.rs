//! Stores that are used again: making the tables takes longer than most inputs.

use std::cell::RefCell;
use std::sync::OnceLock;

use weeziq_core::store::Sql;

use crate::simulation::store::Store;

thread_local! {
    static EMPTY: RefCell<Vec<Store>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn take() -> Store {
    let store = EMPTY.with_borrow_mut(Vec::pop);
    store.unwrap_or_else(|| Store::new().expect("SQLite has memory"))
}

/// Empties it first. Rowids begin at 1 again, since no table asks for them never to.
pub(crate) fn put_back(mut store: Store) {
    static DELETIONS: OnceLock<Vec<&'static str>> = OnceLock::new();
    for deletion in DELETIONS.get_or_init(|| deletions(&mut store)) {
        store.run(deletion, &[]).expect("a table of the schema");
    }
    store.commit().expect("a commit that is not to fail");
    EMPTY.with_borrow_mut(|empty| empty.push(store));
}

/// Of whatever tables there are; statements are for ever, as hosts keep them prepared.
fn deletions(store: &mut Store) -> Vec<&'static str> {
    let mut deletions: Vec<&'static str> = Vec::new();
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'schema_version'";
    let read =
        store.query(tables, &[], &mut |row| deletions.push(format!("DELETE FROM {}", row.text(0)).leak()));
    read.expect("reading works");
    deletions
}
