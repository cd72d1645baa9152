//! The documents at hand: built-in ones, parsed when first needed, and those registered since.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::arena::{Arena, Root, compile};
use super::rules::{Definition, Document, Schema};

/// The official documents. The first line names the package and version they come from, each further
/// line is one document that begins with its id.
static OFFICIAL: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/lexicons/official.jsonl"
));

/// Which part of a document is validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Record,
    Params,
    Input,
    Output,
    Message,
}

/// One set of documents. Never changed: registration makes a new one.
pub(super) struct Catalog {
    entries: HashMap<Cow<'static, str>, Entry>,
}

struct Entry {
    source: Arc<Source>,
    // Compiled schemas contain parts of other documents, so they belong to this catalog alone.
    record: Compiled,
    params: Compiled,
    input: Compiled,
    output: Compiled,
    message: Compiled,
}

type Compiled = OnceLock<Option<Box<Arena>>>;

enum Source {
    Line(&'static str, OnceLock<Option<Arc<Document>>>),
    Registered(Arc<Document>),
}

impl Source {
    fn document(&self) -> Option<Arc<Document>> {
        match self {
            Source::Registered(document) => Some(Arc::clone(document)),
            // The test `every_official_document_is_valid` holds that none fails.
            Source::Line(text, parsed) => parsed
                .get_or_init(|| {
                    let json: Value = serde_json::from_str(text).ok()?;
                    Document::parse(&json).ok().map(Arc::new)
                })
                .clone(),
        }
    }
}

impl Entry {
    fn new(source: Arc<Source>) -> Entry {
        Entry {
            source,
            record: OnceLock::new(),
            params: OnceLock::new(),
            input: OnceLock::new(),
            output: OnceLock::new(),
            message: OnceLock::new(),
        }
    }

    fn slot(&self, part: Part) -> &Compiled {
        match part {
            Part::Record => &self.record,
            Part::Params => &self.params,
            Part::Input => &self.input,
            Part::Output => &self.output,
            Part::Message => &self.message,
        }
    }
}

/// The text of an official document.
pub(super) fn official_source(id: &str) -> Option<&'static str> {
    OFFICIAL.lines().skip(1).find(|line| {
        let rest = line
            .strip_prefix("{\"id\":\"")
            .and_then(|rest| rest.strip_prefix(id));
        rest.is_some_and(|rest| rest.starts_with('"'))
    })
}

impl Catalog {
    pub(super) fn empty() -> Catalog {
        Catalog {
            entries: HashMap::new(),
        }
    }

    /// The official documents; only their ids are read now.
    pub(super) fn official() -> Catalog {
        let lines = OFFICIAL.lines().skip(1);
        let entries = lines.filter_map(|line| {
            let (id, _) = line.strip_prefix("{\"id\":\"")?.split_once('"')?;
            let source = Arc::new(Source::Line(line, OnceLock::new()));
            Some((Cow::Borrowed(id), Entry::new(source)))
        });
        Catalog {
            entries: entries.collect(),
        }
    }

    /// The same documents with one added or replaced.
    pub(super) fn with(&self, document: Arc<Document>) -> Catalog {
        let mut entries: HashMap<_, _> = self
            .entries
            .iter()
            .map(|(id, entry)| (id.clone(), Entry::new(Arc::clone(&entry.source))))
            .collect();
        entries.insert(
            Cow::Owned(document.id.clone()),
            Entry::new(Arc::new(Source::Registered(document))),
        );
        Catalog { entries }
    }

    pub(super) fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.entries.keys().map(|id| id.to_string()).collect();
        ids.sort_unstable();
        ids
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.entries.contains_key(id)
    }

    pub(super) fn document(&self, id: &str) -> Option<Arc<Document>> {
        self.entries.get(id)?.source.document()
    }

    /// The compiled schema of a part; `None` if the document is absent or has no such part.
    pub(super) fn arena(&self, id: &str, part: Part) -> Option<&Arena> {
        let entry = self.entries.get(id)?;
        entry
            .slot(part)
            .get_or_init(|| self.compile(id, entry, part).map(Box::new))
            .as_deref()
    }

    fn compile(&self, id: &str, entry: &Entry, part: Part) -> Option<Arena> {
        let document = entry.source.document()?;
        let root = match (document.main()?, part) {
            (Definition::Record(record), Part::Record) => Root::Record(id, &record.record),
            (Definition::Method(method), Part::Params) => Root::Object(&method.parameters),
            (Definition::Method(method), Part::Input) => schema(&method.input)?,
            (Definition::Method(method), Part::Output) => schema(&method.output)?,
            (Definition::Method(method), Part::Message) => Root::Union(method.message.as_ref()?),
            _ => return None,
        };
        Some(compile(root, &|nsid| self.document(nsid)))
    }
}

fn schema(body: &Option<super::rules::Body>) -> Option<Root<'_>> {
    match body.as_ref()?.schema.as_ref()? {
        Schema::Object(rule) => Some(Root::Object(rule)),
        other => Some(Root::Schema(other)),
    }
}

/// Where the built-in documents come from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct CatalogOrigin {
    /// The npm package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The number of documents taken from it.
    pub documents: usize,
}

/// Where the built-in documents come from.
pub(super) fn origin() -> Option<CatalogOrigin> {
    serde_json::from_str(OFFICIAL.lines().next()?).ok()
}
