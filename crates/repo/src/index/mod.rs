//! Queries over records: by time created or changed, by author, by text, and by what a lexicon
//! declares.
//!
//! The index is a projection of the event log in SQLite. It can be deleted at any time and is
//! rebuilt; a query that must see a write waits for the write's event.

mod extract;
mod project;
mod query;
mod schema;

pub use project::{RecordProjection, RecordQueries};
pub use query::{Condition, Filter, Found, Page, Query, QueryError, SortBy};
