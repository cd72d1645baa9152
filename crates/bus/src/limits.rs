//! What both buses accept, so that a message that one carries the other carries too.

use std::time::Duration;

use crate::message::{Message, Subject};
use crate::queue::{BusError, QueueSpec};

/// The largest payload, in bytes. A NATS server allows 1,048,576 for payload and headers together; the rest is room
/// for the headers.
pub const MAX_PAYLOAD: usize = 1_000_000;
/// The longest [`Message::id`], in bytes.
pub const MAX_ID: usize = 256;
/// How long the id of a message is remembered.
pub const DEDUPLICATION: Duration = Duration::from_secs(120);

/// The longest reason of a dead letter, in bytes; the rest is cut off.
const MAX_REASON: usize = 1_000;
/// The longest name of a queue, in bytes.
const MAX_NAME: usize = 64;
/// A `traceparent` of version 0 has 55 bytes; later ones may be longer.
const MAX_TRACE: usize = 200;

/// The subjects that the NATS bus keeps for itself.
pub(crate) const RESERVED: &str = "bus.dead";

/// Whether a subject can be used.
fn check_subject(subject: &Subject) -> Result<(), BusError> {
    let text = subject.as_str();
    let reserved = text
        .strip_prefix(RESERVED)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    if reserved || !text.contains('.') {
        return Err(BusError::Refused(format!(
            "a subject has two words or more and does not begin with {RESERVED}, found {text}"
        )));
    }
    Ok(())
}

/// Whether something can be told.
pub(crate) fn check_told(subject: &Subject, payload: &[u8]) -> Result<(), BusError> {
    check_subject(subject)?;
    check_size(payload)
}

fn check_size(payload: &[u8]) -> Result<(), BusError> {
    if payload.len() > MAX_PAYLOAD {
        return Err(BusError::TooLarge {
            limit: MAX_PAYLOAD,
            found: payload.len(),
        });
    }
    Ok(())
}

/// Whether a message can be carried.
pub(crate) fn check_message(message: &Message) -> Result<(), BusError> {
    check_subject(&message.subject)?;
    check_size(&message.payload)?;
    match &message.id {
        Some(id)
            if id.is_empty() || id.len() > MAX_ID || id.bytes().any(|b| b.is_ascii_control()) =>
        {
            Err(BusError::Refused(format!(
                "the id of a message has 1 to {MAX_ID} bytes without control characters, found {}",
                id.len()
            )))
        }
        _ => Ok(()),
    }
}

/// Whether a queue can be made.
pub(crate) fn check_spec(spec: &QueueSpec) -> Result<(), BusError> {
    check_subject(&spec.subject)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let refused = |what: &str| Err(BusError::Refused(format!("queue {:?}: {what}", spec.name)));
    if spec.name.is_empty() || spec.name.len() > MAX_NAME || !spec.name.bytes().all(plain) {
        return refused("a name has 1 to 64 letters, digits, _ and -");
    }
    if spec.ack_wait < Duration::from_millis(1) {
        return refused("ack_wait must be at least a millisecond");
    }
    if spec.max_attempts == 0 || spec.max_in_flight == 0 {
        return refused("max_attempts and max_in_flight must be at least 1");
    }
    Ok(())
}

/// A trace that can be stored and sent. Another one is left out: it must not keep the work from being done.
pub(crate) fn trace(trace: Option<&str>) -> Option<&str> {
    trace.filter(|t| {
        !t.is_empty() && t.len() <= MAX_TRACE && t.bytes().all(|b| b.is_ascii_graphic())
    })
}

/// A reason on one line and short enough to be stored and sent.
pub(crate) fn reason(reason: &str) -> String {
    let mut out = String::with_capacity(reason.len().min(MAX_REASON));
    for c in reason.trim().chars() {
        if out.len() + c.len_utf8() > MAX_REASON {
            break;
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}

/// The reason of a message whose last permitted delivery brought no verdict.
pub(crate) fn unanswered(attempts: u32) -> String {
    format!("no verdict after {attempts} deliveries")
}

/// The reason of a message that was handed back at its last permitted delivery.
pub(crate) fn handed_back(attempts: u32) -> String {
    format!("handed back at the last of {attempts} deliveries")
}

/// Milliseconds, as the longest time for those that do not fit.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
