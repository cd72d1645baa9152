//! Names of streams and subjects on the server.

use crate::limits::RESERVED;
use crate::message::Subject;
use crate::queue::BusError;

/// Knows the prefix.
pub(super) struct Names {
    /// Empty, or a word and a dot.
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: Option<&str>) -> Result<Self, BusError> {
        let Some(prefix) = prefix.filter(|p| !p.is_empty()) else {
            return Ok(Self {
                prefix: String::new(),
            });
        };
        let word = Subject::new(prefix).ok().filter(|_| !prefix.contains('.'));
        if word.is_none() {
            return Err(BusError::Refused(format!(
                "a prefix is one word of letters, digits, _ and -, found {prefix:?}"
            )));
        }
        Ok(Self {
            prefix: format!("{prefix}."),
        })
    }

    /// A subject as the server knows it.
    pub(super) fn outside(&self, subject: &str) -> String {
        format!("{}{subject}", self.prefix)
    }

    /// A subject of the server as the bus knows it.
    pub(super) fn inside(&self, subject: &str) -> Option<Subject> {
        Subject::new(subject.strip_prefix(&*self.prefix)?).ok()
    }

    /// What a queue of this subject listens to.
    pub(super) fn filters(&self, subject: &Subject) -> Vec<String> {
        let own = self.outside(subject.as_str());
        let below = format!("{own}.>");
        vec![own, below]
    }

    /// The first two words of a subject, for which there is one stream.
    pub(super) fn pair<'a>(&self, subject: &'a Subject) -> &'a str {
        let text = subject.as_str();
        let second_dot = text.match_indices('.').nth(1);
        second_dot.map_or(text, |(at, _)| text.get(..at).unwrap_or(text))
    }

    /// The stream of a pair of words.
    pub(super) fn stream(&self, pair: &str) -> String {
        self.outside(pair).replace('.', "_").to_uppercase()
    }

    /// The stream of the dead letters.
    pub(super) fn dead_stream(&self) -> String {
        self.stream(RESERVED)
    }

    /// The subject of the dead letters of a queue; `>` for all.
    pub(super) fn dead_subject(&self, queue: &str) -> String {
        self.outside(&format!("{RESERVED}.{queue}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_for_each_pair() {
        let subject = |text| Subject::new(text).unwrap();
        let plain = Names::new(None).unwrap();
        let deep = subject("pin.assign.w1.x");
        assert_eq!(
            (plain.pair(&deep), plain.pair(&subject("pin.status"))),
            ("pin.assign", "pin.status")
        );
        assert_eq!(plain.stream("pin.assign"), "PIN_ASSIGN");
        assert_eq!(
            plain.filters(&deep),
            ["pin.assign.w1.x", "pin.assign.w1.x.>"]
        );
        assert_eq!(plain.dead_subject("w"), "bus.dead.w");
        let named = Names::new(Some("blue")).unwrap();
        assert_eq!(named.stream("pin.assign"), "BLUE_PIN_ASSIGN");
        assert_eq!(named.outside("pin.assign"), "blue.pin.assign");
        assert_eq!(named.inside("blue.pin.assign"), Some(subject("pin.assign")));
        assert_eq!(named.inside("pin.assign"), None);
        assert_eq!(named.dead_stream(), "BLUE_BUS_DEAD");
        assert!(Names::new(Some("a.b")).is_err());
    }
}
