//! What goes wrong for the person at the keyboard: a sentence, what to do next, and an exit code.

use std::process::ExitCode;

/// What the exit code says; docs/cli.md lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Something failed that no other code names.
    Failed = 1,
    /// The command line or the configuration makes no sense.
    Usage = 2,
    /// What was asked for is not there.
    NotFound = 3,
    /// A check found something that is not as it must be: damage, a bad signature, a breaking change.
    Unsound = 4,
    /// The folder or the port is taken, or the node cannot be reached.
    Unavailable = 5,
    /// Stopped by the user.
    Interrupted = 130,
}

impl Exit {
    /// Its name in the JSON form of an error.
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "Failed",
            Self::Usage => "Usage",
            Self::NotFound => "NotFound",
            Self::Unsound => "Unsound",
            Self::Unavailable => "Unavailable",
            Self::Interrupted => "Interrupted",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// What happened, a sentence without a full stop.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// What commands return.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure with its exit code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
        }
    }

    /// [`Exit::Failed`].
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// [`Exit::Usage`].
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// [`Exit::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }

    /// [`Exit::Unsound`].
    pub fn unsound(message: impl Into<String>) -> Self {
        Self::new(Exit::Unsound, message)
    }

    /// [`Exit::Unavailable`].
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Exit::Unavailable, message)
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// For `map_err`: the failed step before the cause, `cannot write x: no space left`.
    pub fn while_doing<E: std::fmt::Display>(
        what: impl std::fmt::Display,
    ) -> impl FnOnce(E) -> Self {
        move |cause| Self::failed(format!("cannot {what}: {cause}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<crate::config::ConfigError> for Failure {
    fn from(error: crate::config::ConfigError) -> Self {
        use crate::config::ConfigError;
        let hint = match &error {
            ConfigError::UnknownKey {
                nearest: Some(known),
                ..
            }
            | ConfigError::UnknownName {
                nearest: Some(known),
                ..
            } => {
                format!("did you mean {known}?")
            }
            ConfigError::UnknownKey { .. } | ConfigError::UnknownName { .. } => {
                "ues config show lists all settings".to_owned()
            }
            ConfigError::Value { key, .. } => format!("ues config show explains {key}"),
            ConfigError::File(_) => "ues config init writes a file with every setting".to_owned(),
            ConfigError::Typed(_) => return Self::failed(error.to_string()),
        };
        Self::usage(error.to_string()).hint(hint)
    }
}
