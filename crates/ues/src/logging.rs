//! Log lines on stderr, by `tracing`.

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
use crate::config::typed::Log;
use crate::failure::{Failure, Outcome};

/// Starts logging for the whole process.
///
/// # Errors
/// A usage failure when the filter is not one.
pub fn start(log: &Log) -> Outcome {
    let filter = EnvFilter::try_new(&log.level).map_err(|e| {
        Failure::usage(format!("log level {:?} is not a filter: {e}", log.level))
            .hint("use error, warn, info, debug or trace, or a list such as ues_atproto=debug,warn")
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Plain => {
            let colours = anstream::AutoStream::choice(&std::io::stderr());
            builder
                .with_ansi(colours != anstream::ColorChoice::Never)
                .try_init()
        }
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(Failure::while_doing("start logging"))
}
