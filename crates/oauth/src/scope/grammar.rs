//! The form of a scope: `resource`, perhaps `:value`, perhaps `?name=value&…`.

/// A scope taken apart.
pub(super) struct Parts<'a> {
    /// What it is about.
    pub resource: &'a str,
    positional: Option<String>,
    query: Vec<(String, String)>,
}

impl<'a> Parts<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, query),
            None => (text, ""),
        };
        let (resource, positional) = match path.split_once(':') {
            Some((resource, value)) => (resource, Some(decode(value))),
            None => (path, None),
        };
        // In a scope `+` is a plus: values such as image/svg+xml have it.
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            Some((decode(name), decode(value)))
        };
        let query = query.split('&').filter(|p| !p.is_empty()).map(pair);
        Some(Self {
            resource,
            positional,
            query: query.collect::<Option<_>>()?,
        })
    }

    /// All values of a query parameter.
    pub(super) fn query(&self, name: &str) -> Vec<String> {
        let named = self.query.iter().filter(|(n, _)| n == name);
        named.map(|(_, value)| value.clone()).collect()
    }

    /// The values of the parameter that may stand behind the colon, or in the query, but not in both.
    /// `None` if there are parameters besides `known`.
    pub(super) fn values(&self, name: &str, known: &[&str]) -> Option<Vec<String>> {
        if self.query.iter().any(|(n, _)| !known.contains(&n.as_str())) {
            return None;
        }
        let queried = self.query(name);
        match &self.positional {
            Some(value) if queried.is_empty() => Some(vec![value.clone()]),
            Some(_) => None,
            None => Some(queried),
        }
    }

    /// A parameter that may stand there once; the outer `None` says that it stands there twice.
    pub(super) fn single(&self, name: &str) -> Option<Option<String>> {
        let mut values = self.query(name);
        let only = values.pop();
        values.is_empty().then_some(only)
    }
}

/// Percent-decoding; what is not UTF-8 becomes replacement characters, which no scope has.
fn decode(text: &str) -> String {
    let kept = text.replace('+', "%2B");
    let mut pairs = form_urlencoded::parse(kept.as_bytes());
    pairs.next().map_or_else(String::new, |(name, value)| {
        // A `=` or `&` inside would be taken for a separator.
        if value.is_empty() {
            name.into_owned()
        } else {
            format!("{name}={value}")
        }
    })
}
