//! What is tried again, how often and after which pause.

use std::time::{Duration, Instant};

use scylla::errors::{DbError, ExecutionError, PrepareError, RequestAttemptError};
use ues_data::Cid;

use super::settings::CqlRetries;
use crate::metrics::{CqlMetrics, CqlOutcome};
use crate::store::StateError;

/// What a statement is for, as the log and the measurements name it.
#[derive(Clone, Copy, Debug)]
pub(super) struct What<'a> {
    /// What is done.
    pub operation: &'static str,
    /// To what, if it is one CID.
    pub cid: Option<&'a Cid>,
}

impl<'a> What<'a> {
    pub(super) fn new(operation: &'static str) -> Self {
        Self {
            operation,
            cid: None,
        }
    }

    pub(super) fn of(operation: &'static str, cid: &'a Cid) -> Self {
        let cid = Some(cid);
        Self { operation, cid }
    }
}

/// Tries again, for as long as the settings say.
#[derive(Clone, Debug)]
pub(super) struct Retries {
    policy: CqlRetries,
    metrics: CqlMetrics,
}

impl Retries {
    pub(super) fn new(policy: CqlRetries, metrics: CqlMetrics) -> Self {
        Self { policy, metrics }
    }

    /// How often something is tried.
    pub(super) fn attempts(&self) -> u32 {
        self.policy.num_retries.saturating_add(1)
    }

    /// Tries once, and measures it.
    pub(super) async fn once<T>(
        &self,
        what: What<'_>,
        attempt: impl Future<Output = Result<T, ExecutionError>>,
    ) -> Result<T, ExecutionError> {
        let begun = Instant::now();
        let done = attempt.await;
        let outcome = done.as_ref().map_or_else(outcome, |_| CqlOutcome::Ok);
        self.metrics
            .attempt(what.operation, outcome, begun.elapsed());
        done
    }

    /// Tries until it is done, will never be done, or was tried often enough. What is tried must do no harm when it is
    /// done twice. Dropping the future ends it.
    pub(super) async fn run<T, F>(
        &self,
        what: What<'_>,
        attempt: impl Fn() -> F,
    ) -> Result<T, StateError>
    where
        F: Future<Output = Result<T, ExecutionError>>,
    {
        let begun = Instant::now();
        let mut attempts = 1;
        loop {
            let error = match self.once(what, attempt()).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if !may_repeat(&error) || attempts >= self.attempts() {
                return Err(self.give_up(what, attempts, begun, &error));
            }
            self.pause(what, attempts, &error).await;
            attempts += 1;
        }
    }

    /// Waits before the next attempt.
    pub(super) async fn pause(&self, what: What<'_>, attempts: u32, error: &ExecutionError) {
        self.metrics.retry();
        let delay = delay(&self.policy, attempts, half_to_one());
        tracing::debug!(operation = what.operation, cid = ?what.cid.map(ToString::to_string), attempts, ?delay, %error, "a statement is tried again");
        tokio::time::sleep(delay).await;
    }

    /// What is told when nothing more is tried.
    pub(super) fn give_up(
        &self,
        what: What<'_>,
        attempts: u32,
        begun: Instant,
        error: &ExecutionError,
    ) -> StateError {
        self.metrics.given_up();
        let (operation, took) = (what.operation, begun.elapsed());
        tracing::warn!(operation, cid = ?what.cid.map(ToString::to_string), attempts, ?took, %error, "the database does not do what it is asked");
        let times = if attempts == 1 { "attempt" } else { "attempts" };
        let text = format!("{operation}, after {attempts} {times}: {error}");
        if outcome(error) == CqlOutcome::Refused {
            StateError::Refused(text)
        } else {
            StateError::Unavailable(text)
        }
    }
}

/// The pause after so many attempts; `part` is the part of it that chance leaves.
fn delay(policy: &CqlRetries, attempts: u32, part: f64) -> Duration {
    let exponent = i32::try_from(attempts.saturating_sub(1)).unwrap_or(i32::MAX);
    let seconds = policy.min_retry_delay.as_secs_f64() * policy.backoff_factor.powi(exponent);
    // An endless number of seconds is more than the maximum as well.
    let seconds = seconds.min(policy.max_retry_delay.as_secs_f64());
    Duration::try_from_secs_f64(seconds * part).unwrap_or(policy.max_retry_delay)
}

/// A random number, so that not all come again at the same moment.
fn half_to_one() -> f64 {
    0.5 + getrandom::u32().map_or(0.5, |n| f64::from(n) / f64::from(u32::MAX) / 2.0)
}

/// Whether another attempt may do better.
pub(super) fn may_repeat(error: &ExecutionError) -> bool {
    outcome(error) != CqlOutcome::Refused
}

/// What kind of failure it is.
fn outcome(error: &ExecutionError) -> CqlOutcome {
    match error {
        ExecutionError::RequestTimeout(_) | ExecutionError::SchemaAgreementError(_) => {
            CqlOutcome::Timeout
        }
        // No host is known to be up.
        ExecutionError::EmptyPlan => CqlOutcome::Unavailable,
        ExecutionError::ConnectionPoolError(_)
        | ExecutionError::PrepareError(PrepareError::ConnectionPoolError(_)) => {
            CqlOutcome::Connection
        }
        ExecutionError::PrepareError(PrepareError::AllAttemptsFailed { first_attempt }) => {
            attempt_outcome(first_attempt)
        }
        ExecutionError::LastAttemptError(error) => attempt_outcome(error),
        _ => CqlOutcome::Refused,
    }
}

fn attempt_outcome(error: &RequestAttemptError) -> CqlOutcome {
    match error {
        RequestAttemptError::BrokenConnectionError(_)
        | RequestAttemptError::UnableToAllocStreamId => CqlOutcome::Connection,
        RequestAttemptError::DbError(error, _) => match error {
            DbError::ReadTimeout { .. } | DbError::WriteTimeout { .. } => CqlOutcome::Timeout,
            DbError::Unavailable { .. }
            | DbError::Overloaded
            | DbError::IsBootstrapping
            | DbError::ReadFailure { .. }
            | DbError::WriteFailure { .. }
            | DbError::TruncateError
            | DbError::ServerError
            | DbError::RateLimitReached { .. } => CqlOutcome::Unavailable,
            _ => CqlOutcome::Refused,
        },
        _ => CqlOutcome::Refused,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use scylla::frame::types::Consistency;

    use super::*;

    fn db(error: DbError) -> ExecutionError {
        RequestAttemptError::DbError(error, String::new()).into()
    }

    fn unavailable() -> ExecutionError {
        db(DbError::Unavailable {
            consistency: Consistency::Quorum,
            required: 2,
            alive: 1,
        })
    }

    #[test]
    fn pauses_grow_to_the_longest() {
        let policy = CqlRetries::default();
        let pauses: Vec<_> = (1..10)
            .map(|attempts| delay(&policy, attempts, 1.0).as_millis())
            .collect();
        let expected = [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000];
        assert_eq!(pauses, expected);
        assert_eq!(delay(&policy, u32::MAX, 0.5).as_secs(), 5);
        assert!((0..100).all(|_| (0.5..=1.0).contains(&half_to_one())));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_tried_as_often_as_is_said() {
        let metrics = CqlMetrics::default();
        let retries = Retries::new(CqlRetries::default(), metrics.clone());
        let tried = AtomicU32::new(0);
        let failing = |fails: u32, error: fn() -> ExecutionError| {
            let tried = &tried;
            move || async move {
                let tried = tried.fetch_add(1, Ordering::Relaxed);
                if tried < fails { Err(error()) } else { Ok(()) }
            }
        };
        let what = What::new("test");
        retries.run(what, failing(3, unavailable)).await.unwrap();
        assert_eq!(tried.swap(0, Ordering::Relaxed), 4);
        let error = retries.run(what, failing(9, unavailable)).await;
        let Err(StateError::Unavailable(text)) = error else {
            panic!("{error:?}")
        };
        assert!(text.contains("after 4 attempts"), "{text}");
        assert_eq!(tried.swap(0, Ordering::Relaxed), 4);
        let error = retries
            .run(what, failing(9, || db(DbError::SyntaxError)))
            .await;
        assert!(matches!(error, Err(StateError::Refused(_))), "{error:?}");
        assert_eq!(tried.load(Ordering::Relaxed), 1);
        assert_eq!(metrics.counts(), [0, 7, 0, 6, 2]);
    }
}
