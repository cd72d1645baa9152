//! Searching records by the index.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use ues_data::{atproto_json, dag_cbor};
use ues_repo::index::{Condition, Filter, Page, Query, QueryError, SortBy};
use ues_repo::lexicon::IndexKind;
use ues_repo::repo::write::RecordPath;
use ues_repo::syntax::{Datetime, Nsid};

use super::Desk;
use super::answer::{Answer, Refusal};

/// What is looked for.
#[derive(Deserialize)]
pub struct Wanted {
    collection: String,
    text: Option<String>,
    author: Option<String>,
    #[serde(default, rename = "where")]
    conditions: Vec<WantedValue>,
    sort: Option<String>,
    #[serde(default)]
    reverse: bool,
    since: Option<String>,
    until: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// A condition on an index: a value, `begin*`, or `from..to`.
#[derive(Deserialize)]
struct WantedValue {
    index: String,
    value: String,
}

/// `POST query`: QueryRecords. It sees every write that was acknowledged before it was called.
pub async fn query(State(desk): State<Desk>, Json(wanted): Json<Wanted>) -> Answer {
    let query = desk.query(wanted)?;
    let durable = desk.ctx.store.log().last_durable();
    let queries = desk.index.fresh(durable).await.map_err(Refusal::internal)?;
    let answer = tokio::task::spawn_blocking(move || {
        let page = queries.query(&query).map_err(|e| match e {
            QueryError::Invalid(what) => Refusal::invalid(what),
            other => Refusal::internal(other),
        })?;
        desk.show(&query.collection, page)
    });
    answer.await.map_err(Refusal::internal)?.map(Json)
}

impl Desk {
    fn query(&self, wanted: Wanted) -> Result<Query, Refusal> {
        let collection = wanted.collection;
        if Nsid::parse(&collection).is_err() {
            return Err(Refusal::invalid(format!(
                "{collection:?} is not a collection"
            )));
        }
        let author = wanted
            .author
            .as_deref()
            .map(|name| self.did(name))
            .transpose()?;
        let conditions = wanted
            .conditions
            .into_iter()
            .map(|w| self.condition(&collection, w))
            .collect::<Result<_, _>>()?;
        let sort = match wanted.sort.as_deref() {
            None | Some("created") => SortBy::Created,
            Some("changed") => SortBy::Changed,
            Some(name) => match self.kind(&collection, name)? {
                IndexKind::Text => SortBy::Text(name.to_owned()),
                _ => SortBy::Number(name.to_owned()),
            },
        };
        let time = |text: Option<String>| text.map(|t| moment(&t)).transpose();
        Ok(Query {
            author,
            conditions,
            sort,
            text: wanted.text,
            created: (time(wanted.since)?, time(wanted.until)?),
            descending: !wanted.reverse,
            cursor: wanted.cursor,
            limit: wanted.limit.unwrap_or(20),
            collection,
            ..Query::default()
        })
    }

    fn kind(&self, collection: &str, name: &str) -> Result<IndexKind, Refusal> {
        let indexes = self.ctx.lexicons.indexes(collection);
        indexes
            .iter()
            .find(|index| index.name == name)
            .map(|index| index.kind)
            .ok_or_else(|| {
                let known: Vec<&str> = indexes.iter().map(|index| index.name.as_str()).collect();
                let known = if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                };
                Refusal::invalid(format!(
                    "{collection} declares no index {name:?}; it declares: {known}"
                ))
            })
    }

    fn condition(&self, collection: &str, wanted: WantedValue) -> Result<Condition, Refusal> {
        let value = wanted.value;
        let filter = match self.kind(collection, &wanted.index)? {
            IndexKind::Text => match value.strip_suffix('*') {
                Some(beginning) => Filter::StartsWith(beginning.to_owned()),
                None => Filter::Is(value),
            },
            kind => {
                let number = |text: &str| match kind {
                    IndexKind::Datetime => moment(text),
                    _ => text
                        .parse()
                        .map_err(|_| Refusal::invalid(format!("{text:?} is not a whole number"))),
                };
                let end = |text: &str| (!text.is_empty()).then(|| number(text)).transpose();
                match value.split_once("..") {
                    Some((from, to)) => Filter::Between(end(from)?, end(to)?),
                    None => {
                        let value = number(&value)?;
                        Filter::Between(Some(value), Some(value))
                    }
                }
            }
        };
        Ok(Condition {
            index: wanted.index,
            filter,
        })
    }

    /// The records of a page as they are now; one that was deleted meanwhile is left out.
    fn show(&self, collection: &str, page: Page) -> Result<Value, Refusal> {
        let mut records = Vec::with_capacity(page.records.len());
        for found in page.records {
            let path = RecordPath::parse(&format!("{collection}/{}", found.rkey))
                .map_err(Refusal::internal)?;
            let record = self
                .ctx
                .repos
                .get_record(&found.did, &path)
                .map_err(Refusal::internal)?;
            let Some(record) = record else { continue };
            let value = dag_cbor::decode(&record.bytes).map_err(Refusal::internal)?;
            records.push(json!({
                "uri": format!("at://{}/{path}", found.did), "cid": record.cid.to_string(),
                "created": Datetime::from_unix_millis(found.created).as_str(),
                "changed": Datetime::from_unix_millis(found.changed).as_str(),
                "value": atproto_json::to_json(&value),
            }));
        }
        let mut answer = json!({ "records": records });
        if let Some(cursor) = page.cursor {
            answer["cursor"] = json!(cursor);
        }
        Ok(answer)
    }
}

/// A time in milliseconds since 1970.
fn moment(text: &str) -> Result<i64, Refusal> {
    Datetime::parse(text).map(|t| t.unix_millis()).map_err(|_| {
        Refusal::invalid(format!(
            "{text:?} is not a time such as 2026-12-31T00:00:00Z"
        ))
    })
}
