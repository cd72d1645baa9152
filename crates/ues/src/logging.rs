//! Log lines on stderr, and spans for traces, by `tracing`.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};
use ues_pins::trace;

use crate::config::LogFormat;
use crate::config::typed::Log;
use crate::failure::{Failure, Outcome};
use crate::telemetry::Telemetry;

/// Starts logging for the whole process, and tracing if there is somebody to trace for.
///
/// # Errors
/// A usage failure when the filter is not one.
pub fn start(log: &Log, telemetry: Option<&Telemetry>) -> Outcome {
    let filter = EnvFilter::try_new(&log.level).map_err(|e| {
        Failure::usage(format!("log level {:?} is not a filter: {e}", log.level))
            .hint("use error, warn, info, debug or trace, or a list such as ues_atproto=debug,warn")
    })?;
    // Spans are for traces: where nobody wants them, they are not even made.
    let spans_off = format!("{}=off", trace::TARGET)
        .parse()
        .map_err(Failure::while_doing("start logging"))?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match log.format {
        LogFormat::Plain => {
            let colours = anstream::AutoStream::choice(&std::io::stderr());
            lines
                .with_ansi(colours != anstream::ColorChoice::Never)
                .boxed()
        }
        LogFormat::Json => lines.json().boxed(),
    };
    let spans = telemetry.map(|telemetry| {
        tracing_opentelemetry::layer()
            .with_tracer(telemetry.tracer())
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target(trace::TARGET, LevelFilter::INFO))
    });
    registry()
        .with(lines.with_filter(filter.add_directive(spans_off)))
        .with(spans)
        .try_init()
        .map_err(Failure::while_doing("start logging"))
}
