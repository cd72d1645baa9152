//! Permission sets that scopes include: fetched from where they are published, and kept.

use std::collections::HashMap;
use std::sync::Arc;

use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ues_oauth::{ErrorCode, OAuthError, Permissions, Words, expand_scope, in_words};
use ues_repo::lexicon::{Definition, Document, PermissionSet};
use ues_repo::syntax::Nsid;

use super::rows::Kind;
use super::{OAuth, server_error};
use crate::context::Context;
use crate::methods::published_lexicon;

/// Sets kept in memory.
const CACHED: usize = 1000;
/// For how long a set is believed without looking again.
const FRESH_MS: u64 = 300_000;
/// For how long one that was not found is not looked for.
const ABSENT_MS: u64 = 60_000;
/// For how long the last one that was found does where its authority does not answer.
const KEPT_MS: u64 = 400 * 86_400_000;
/// What is shown of a set's own words, in characters.
const MAX_TITLE: usize = 100;
const MAX_DETAIL: usize = 400;

#[derive(Clone)]
struct Known {
    until_ms: u64,
    set: Result<Arc<PermissionSet>, Arc<str>>,
}

/// A set as it was found, in the store.
#[derive(Serialize, Deserialize)]
struct Row {
    schema: Value,
}

/// The sets that are known.
pub struct PermissionSets(Cache<String, Known>);

impl Default for PermissionSets {
    fn default() -> Self {
        Self(Cache::new(CACHED))
    }
}

/// A permission set for whoever is asked to allow it.
pub struct SetView {
    /// What its makers call it.
    pub title: Option<String>,
    /// What they say about it.
    pub detail: Option<String>,
    /// NSID under which they publish it.
    pub name: String,
    /// What it grants, in our words.
    pub grants: Vec<Words>,
}

impl OAuth {
    async fn permission_set(
        &self,
        ctx: &Context,
        name: &str,
    ) -> Result<Arc<PermissionSet>, OAuthError> {
        let now_ms = ctx.now_ms();
        let known = self.sets.0.get(name).filter(|k| k.until_ms > now_ms);
        let known = match known {
            Some(known) => known,
            None => {
                let known = self.look_up(ctx, name, now_ms).await?;
                self.sets.0.insert(name.to_owned(), known.clone());
                known
            }
        };
        known.set.map_err(|why| {
            let why = format!("the permission set {name} cannot be had: {why}");
            OAuthError::new(ErrorCode::InvalidScope, why)
        })
    }

    async fn look_up(&self, ctx: &Context, name: &str, now_ms: u64) -> Result<Known, OAuthError> {
        let found = match Nsid::parse(name) {
            Ok(nsid) => published_lexicon(ctx, &nsid).await.map(|l| l.schema),
            Err(e) => Err(e.to_string()),
        };
        let why = match found {
            Ok(schema) => {
                // What is no set any more is not one because it was.
                let set = read(&schema).map_err(Arc::from);
                if set.is_ok() {
                    let mut batch = self.store.batch();
                    let until = now_ms + KEPT_MS;
                    self.rows
                        .put(&mut batch, Kind::Set, name, &Row { schema }, until);
                    self.store.commit(batch).await.map_err(server_error)?;
                }
                let until_ms = now_ms + FRESH_MS;
                return Ok(Known { until_ms, set });
            }
            Err(why) => why,
        };
        let kept: Option<Row> = self.rows.get(Kind::Set, name).map_err(server_error)?;
        let set = match kept.map(|row| read(&row.schema)) {
            Some(Ok(set)) => Ok(set),
            _ => Err(Arc::from(why)),
        };
        let until_ms = now_ms + if set.is_ok() { FRESH_MS } else { ABSENT_MS };
        Ok(Known { until_ms, set })
    }

    async fn sets_of(
        &self,
        ctx: &Context,
        asked: &Permissions,
    ) -> Result<HashMap<String, PermissionSet>, OAuthError> {
        let names = asked.includes().map(|include| include.set.as_str());
        let sets = names.map(async |name| {
            let set = self.permission_set(ctx, name).await?;
            Ok::<_, OAuthError>((name.to_owned(), (*set).clone()))
        });
        let sets = futures::future::try_join_all(sets).await?;
        Ok(sets.into_iter().collect())
    }

    /// A scope with what its permission sets grant now in place of their names; `invalid_scope` when one cannot be had.
    pub(super) async fn expanded(&self, ctx: &Context, scope: &str) -> Result<String, OAuthError> {
        let asked = Permissions::parse(scope)?;
        if asked.includes().next().is_none() {
            return Ok(scope.to_owned());
        }
        let sets = self.sets_of(ctx, &asked).await?;
        let expanded = expand_scope(scope, &sets);
        // What was granted can be read again, or is not granted.
        Permissions::granted(&expanded)?;
        Ok(expanded)
    }

    /// The permission sets of a scope, for the page that asks for consent.
    pub(super) async fn set_views(
        &self,
        ctx: &Context,
        asked: &Permissions,
    ) -> Result<Vec<SetView>, OAuthError> {
        let sets = self.sets_of(ctx, asked).await?;
        let views = asked.includes().filter_map(|include| {
            let set = sets.get(&include.set)?;
            Some(SetView {
                title: shown(set.title.as_deref(), MAX_TITLE),
                detail: shown(set.detail.as_deref(), MAX_DETAIL),
                name: include.set.clone(),
                grants: in_words(&include.grants(set)),
            })
        });
        Ok(views.collect())
    }
}

fn read(schema: &Value) -> Result<Arc<PermissionSet>, String> {
    let document = Document::parse(schema).map_err(|e| e.to_string())?;
    match document.main() {
        Some(Definition::PermissionSet(set)) => Ok(Arc::new(set.clone())),
        _ => Err("the lexicon of this name is no permission set".to_owned()),
    }
}

/// Words of strangers: one line, not too long.
fn shown(text: Option<&str>, longest: usize) -> Option<String> {
    let line = text?.split_whitespace().collect::<Vec<_>>().join(" ");
    let plain = line.chars().filter(|c| !c.is_control()).take(longest);
    let text: String = plain.collect();
    (!text.is_empty()).then_some(text)
}
