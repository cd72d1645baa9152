//! The commands, one file each, and what they share.

pub mod completions;
pub mod config;

use std::path::PathBuf;

use crate::cli::{Cli, Command, Global};
use crate::config::{Layers, file};
use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// What every command is given.
#[derive(Clone, Debug)]
pub struct Context {
    /// Options of every command.
    pub global: Global,
    /// Where results go.
    pub output: Output,
}

/// Runs the command.
///
/// # Errors
/// The command's failure, for [`Output::failure`].
pub fn run(cli: Cli, output: Output) -> Outcome {
    let context = Context {
        global: cli.global,
        output,
    };
    match cli.command {
        Command::Config(command) => config::run(&context, command),
        Command::Completions(args) => completions::run(&args),
    }
}

impl Context {
    /// The configuration file in use, if there is one.
    pub fn config_file(&self) -> Option<PathBuf> {
        match &self.global.config {
            Some(path) => Some(path.clone()),
            None => file::search_path().into_iter().find(|path| path.is_file()),
        }
    }

    /// Defaults, file, environment and the flags of every command.
    ///
    /// # Errors
    /// A usage failure for anything that cannot be used.
    pub fn layers(&self) -> Outcome<Layers> {
        let mut layers = Layers::defaults()?;
        if let Some(path) = self.config_file() {
            layers.add_file(&path)?;
        }
        // Names and values that are not UTF-8 cannot be settings.
        let vars = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        layers.add_env(vars)?;
        self.add_flags(&mut layers)?;
        for sentence in layers.unknown_env() {
            self.output.remark(format!("warning: {sentence}"));
        }
        Ok(layers)
    }

    fn add_flags(&self, layers: &mut Layers) -> Outcome {
        for pair in &self.global.set {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(Failure::usage(format!("--set {pair} has no value"))
                    .hint("write it as --set rate_limits.enabled=false"));
            };
            layers.add_named(key.trim(), value.trim())?;
        }
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        let flags = [
            ("data", "--data", self.global.data.as_ref().map(text)),
            ("log.level", "--log", self.global.log.clone()),
            ("log.format", "--log-format", self.global.log_format.clone()),
        ];
        for (key, flag, value) in flags {
            if let Some(value) = value {
                layers.add_flag(key, flag, &value)?;
            }
        }
        Ok(())
    }
}
