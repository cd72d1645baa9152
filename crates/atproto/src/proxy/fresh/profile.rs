//! Profiles with what the account's own record says now.

use serde_json::{Map, Value};

use super::local::Local;
use super::views::Viewer;

/// Which fields a view has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Basic,
    Detailed,
}

/// Updates a detailed profile if it is the asking account's and its record is new.
pub fn complete(viewer: &Viewer<'_>, view: &mut Value, local: &Local) {
    if let Some(record) = &local.profile
        && is_own(viewer, view)
    {
        update(viewer, view, &record.value, Detail::Detailed);
    }
}

/// The same for the short form beside a post.
pub fn complete_basic(viewer: &Viewer<'_>, view: &mut Value, local: &Local) {
    if let Some(record) = &local.profile
        && is_own(viewer, view)
    {
        update(viewer, view, &record.value, Detail::Basic);
    }
}

fn is_own(viewer: &Viewer<'_>, view: &Value) -> bool {
    view.get("did").and_then(Value::as_str) == Some(viewer.did.as_str())
}

fn update(viewer: &Viewer<'_>, view: &mut Value, record: &Value, detail: Detail) {
    let Some(view) = view.as_object_mut() else {
        return;
    };
    set(view, "displayName", record.get("displayName").cloned());
    set(view, "avatar", viewer.image("avatar", record.get("avatar")));
    if detail == Detail::Detailed {
        set(view, "description", record.get("description").cloned());
        set(view, "banner", viewer.image("banner", record.get("banner")));
    }
}

/// What the record has not, the view has not any more.
fn set(view: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value {
        Some(value) => view.insert(name.to_owned(), value),
        None => view.remove(name),
    };
}
