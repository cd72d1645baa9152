//! Traces: one of them follows a change from the interface over the planner to the worker and back.
//!
//! A trace travels over the bus as the W3C's `traceparent` in the header of a message. A message is about up to 500
//! CIDs, which may come from as many traces, so it is child of one of them, the newest, and *linked* with the others, up
//! to [`MAX_LINKS`]: a trace of a lone change is whole, and from the work that many changes share each of them can be
//! found. Carrying a context for each CID would make every message larger for what is only looked at now and then.
//!
//! Only what is recorded travels: without a collector, or for a trace that the sampler left out, there is no header and
//! no span, in no process.

use std::fmt;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Target of the spans that traces are made of; log lines leave it out.
pub const TARGET: &str = "ues_span";

/// Traces that one span goes on from at most: its parent, and those that it is linked with.
pub const MAX_LINKS: usize = 32;

/// A span of a trace that is recorded. As text: a `traceparent` of version 00
/// ([W3C Trace Context](https://www.w3.org/TR/trace-context/#traceparent-header)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace: TraceId,
    span: SpanId,
}

impl TraceParent {
    /// The span that is entered now; `None` if it is not recorded.
    pub fn current() -> Option<Self> {
        Self::of(&Span::current())
    }

    /// A span; `None` if it is not recorded.
    pub fn of(span: &Span) -> Option<Self> {
        if span.is_none() {
            return None;
        }
        let context = span.context();
        let span = context.span();
        let known = span.span_context();
        (known.is_valid() && known.is_sampled()).then(|| Self {
            trace: known.trace_id(),
            span: known.span_id(),
        })
    }

    /// From a `traceparent`; `None` if it is none, or of a trace that is not recorded.
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = parts.next()?;
        let (trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, length| {
            text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        // Later versions may have more parts.
        let known =
            hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
        if !known || !hex(trace, 32) || !hex(span, 16) || !hex(flags, 2) {
            return None;
        }
        let flags = u8::from_str_radix(flags, 16).ok()?;
        let read = Self {
            trace: TraceId::from_hex(trace).ok()?,
            span: SpanId::from_hex(span).ok()?,
        };
        let valid = read.trace != TraceId::INVALID && read.span != SpanId::INVALID;
        (valid && TraceFlags::new(flags).is_sampled()).then_some(read)
    }

    fn context(self) -> SpanContext {
        let state = TraceState::default();
        SpanContext::new(self.trace, self.span, TraceFlags::SAMPLED, true, state)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-01", self.trace, self.span)
    }
}

/// Traces that lead to one piece of work: the newest of them, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Causes(Vec<TraceParent>);

impl Causes {
    /// Adds one that is newer than those before.
    pub fn push(&mut self, cause: TraceParent) {
        if self.0.last() == Some(&cause) {
            return;
        }
        self.0.retain(|known| *known != cause);
        if self.0.len() == MAX_LINKS {
            self.0.remove(0);
        }
        self.0.push(cause);
    }

    /// The span for the work: child of the newest, linked with the others. Work that no recorded trace led to has none.
    pub fn span(&self, make: impl FnOnce() -> Span) -> Span {
        let Some((newest, others)) = self.0.split_last() else {
            return Span::none();
        };
        let span = make();
        let parent = Context::new().with_remote_span_context(newest.context());
        // It fails for a span that nobody wants, which has no parent either.
        let _ = span.set_parent(parent);
        for other in others {
            span.add_link(other.context());
        }
        span
    }
}

impl FromIterator<TraceParent> for Causes {
    fn from_iter<T: IntoIterator<Item = TraceParent>>(causes: T) -> Self {
        let mut all = Self::default();
        for cause in causes {
            all.push(cause);
        }
        all
    }
}

/// A span within the one that is entered now, if that is recorded; none otherwise.
pub fn within(make: impl FnOnce() -> Span) -> Span {
    match TraceParent::current() {
        Some(_) => make(),
        None => Span::none(),
    }
}

/// A number as an attribute: tracing hands over to OpenTelemetry only signed ones as numbers.
pub fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The header of a message that is sent out of a span.
pub fn header(span: &Span) -> Option<String> {
    TraceParent::of(span).map(|parent| parent.to_string())
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracerProvider};
    use proptest::prelude::*;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn parent(number: u8) -> TraceParent {
        TraceParent {
            trace: TraceId::from_bytes([number; 16]),
            span: SpanId::from_bytes([number; 8]),
        }
    }

    #[test]
    fn only_what_is_recorded_is_read() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let good = format!("00-{trace}-b7ad6b7169203331-01");
        let read = TraceParent::read(&good).map(|read| read.to_string());
        assert_eq!(read.as_deref(), Some(good.as_str()));
        let later = format!("01-{trace}-b7ad6b7169203331-01-more");
        assert!(TraceParent::read(&later).is_some());
        for wrong in [
            format!("00-{trace}-b7ad6b7169203331-00"),
            format!("00-{trace}-b7ad6b7169203331-01-more"),
            format!("ff-{trace}-b7ad6b7169203331-01"),
            format!("00-{}-b7ad6b7169203331-01", trace.to_uppercase()),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-{trace}-0000000000000000-01"),
            format!("00-{trace}-b7ad6b716920333-01"),
            String::new(),
        ] {
            assert_eq!(TraceParent::read(&wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(trace in 1u128.., span in 1u64..) {
            let parent = TraceParent { trace: trace.into(), span: span.into() };
            prop_assert_eq!(TraceParent::read(&parent.to_string()), Some(parent));
        }

        #[test]
        fn no_text_breaks_the_reader(text in "([0-9a-f]{0,34}-?){0,5}|\\PC{0,60}") {
            let _ = TraceParent::read(&text);
        }
    }

    #[test]
    fn causes_are_few_and_each_is_there_once() {
        let causes: Causes = [1, 2, 1, 1].map(parent).into_iter().collect();
        assert_eq!(causes.0, [parent(2), parent(1)]);
        let many: Causes = (1..=100).map(parent).collect();
        assert_eq!(many.0.len(), MAX_LINKS);
        assert_eq!(many.0.last(), Some(&parent(100)));
    }

    #[test]
    fn work_is_child_of_the_newest_and_linked_with_the_others() {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let make = || tracing::info_span!(target: TARGET, "work");
            let causes: Causes = [1, 2, 3].map(parent).into_iter().collect();
            let span = causes.span(make);
            let sent = header(&span).as_deref().and_then(TraceParent::read);
            assert_eq!(sent.map(|sent| sent.trace), Some(parent(3).trace));
            span.in_scope(|| {
                let inner = within(|| tracing::info_span!(target: TARGET, "inner"));
                assert_eq!(
                    TraceParent::of(&inner).map(|i| i.trace),
                    Some(parent(3).trace)
                );
            });
            assert!(Causes::default().span(make).is_none());
            assert!(within(make).is_none());
        });
        let spans = exporter.get_finished_spans().unwrap_or_default();
        let work = spans.iter().find(|span| span.name == "work");
        let links = work.map(|work| {
            let linked = work.links.iter();
            linked
                .map(|l| l.span_context.trace_id())
                .collect::<Vec<_>>()
        });
        assert_eq!(links, Some(vec![parent(1).trace, parent(2).trace]));
        assert_eq!(work.map(|work| work.parent_span_id), Some(parent(3).span));
        assert_eq!(spans.len(), 2);
    }

    #[test]
    fn without_a_collector_nothing_is_recorded() {
        let subscriber = tracing_subscriber::registry();
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!(target: TARGET, "x");
            span.in_scope(|| assert_eq!(TraceParent::current(), None));
            assert_eq!(header(&span), None);
        });
    }
}
