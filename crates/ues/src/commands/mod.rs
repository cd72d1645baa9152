//! The commands, one file each, and what they share.

pub mod access;
pub mod account;
mod acting;
pub mod admin;
mod admin_invites;
mod admin_labels;
mod admin_suspend;
pub mod blob;
pub mod car;
pub mod check;
pub mod completions;
pub mod config;
pub mod device;
pub mod key;
pub mod lexicon;
pub mod log;
pub mod mail;
pub mod migrate;
pub mod mirror;
pub mod peer;
pub mod pin;
pub mod post;
pub mod record;
pub mod reindex;
pub mod repo;
mod sign_in;
pub mod status;
pub mod sync;
pub mod up;
pub mod worker;

use std::path::PathBuf;

use tokio::sync::OnceCell;

use crate::cli::{Cli, Command, Global};
use crate::client::{self, Client};
use crate::config::{Config, Layers, file};
use crate::failure::{Failure, Outcome};
use crate::logging;
use crate::output::Output;
use crate::telemetry::Telemetry;

/// What every command is given.
pub struct Context {
    /// Options of every command.
    pub global: Global,
    /// Where results go.
    pub output: Output,
    client: OnceCell<Client>,
}

/// Runs the command.
///
/// # Errors
/// The command's failure, for [`Output::failure`].
pub fn run(cli: Cli, output: Output) -> Outcome {
    let context = Context::new(cli.global, output);
    match cli.command {
        Command::Config(command) => config::run(&context, command),
        Command::Completions(args) => completions::run(&args),
        Command::Car(command) => car::run(&context, command),
        other => {
            let config = context.config()?;
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .map_err(Failure::while_doing("start threads"))?;
            let traced = matches!(other, Command::Up(_));
            let telemetry = match traced {
                true => Telemetry::start(&config.telemetry, runtime.handle())?,
                false => None,
            };
            logging::start(&config.log, telemetry.as_ref())?;
            let result = runtime.block_on(run_async(&context, other));
            if let Some(telemetry) = telemetry {
                telemetry.finish();
            }
            // Work on blocking threads that nobody waits for must not hold up the end.
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            result
        }
    }
}

async fn run_async(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Up(args) => up::run(context, args).await,
        Command::Status(args) => status::run(context, args).await,
        Command::Account(command) => account::run(context, command).await,
        Command::Admin(command) => admin::run(context, command).await,
        Command::Mail(command) => mail::run(context, command).await,
        Command::Post(args) => post::run(context, args).await,
        Command::Record(command) => record::run(context, command).await,
        Command::Repo(command) => repo::run(context, command).await,
        Command::Blob(command) => blob::run(context, command).await,
        Command::Car(command) => car::run(context, command),
        Command::Lexicon(command) => lexicon::run(context, command).await,
        Command::Pin(command) => pin::run(context, command).await,
        Command::Key(command) => key::run(context, command).await,
        Command::Device(command) => device::run(context, command).await,
        Command::Log(args) => log::run(context, args).await,
        Command::Sync(command) => sync::run(context, command).await,
        Command::Mirror(args) => mirror::run(context, args).await,
        Command::Access(command) => access::run(context, command).await,
        Command::Peer(command) => peer::run(context, command).await,
        Command::Worker(command) => worker::run(context, command).await,
        Command::Check(args) => check::run(context, args).await,
        Command::Reindex(args) => reindex::run(context, args).await,
        Command::Config(command) => config::run(context, command),
        Command::Completions(args) => completions::run(&args),
    }
}

impl Context {
    /// For a command with these options.
    pub fn new(global: Global, output: Output) -> Self {
        Self {
            global,
            output,
            client: OnceCell::new(),
        }
    }

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

    /// The typed configuration.
    ///
    /// # Errors
    /// As [`Context::layers`].
    pub fn config(&self) -> Outcome<Config> {
        Ok(self.layers()?.config()?)
    }

    /// The node to work on, connected to once: a folder can be opened only once.
    ///
    /// # Errors
    /// When there is none, or it cannot be reached.
    pub async fn client(&self) -> Outcome<&Client> {
        self.client
            .get_or_try_init(|| async { client::connect(&self.config()?).await })
            .await
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
