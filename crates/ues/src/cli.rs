//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    access, account, admin, blob, car, check, completions, config, device, key, lexicon, log, mail,
    mirror, peer, pin, post, record, reindex, repo, status, sync, up, worker,
};

/// A node for your own data, in one program.
///
/// UES keeps accounts, their records and their files on your own machine, speaks the AT Protocol with clients and
/// with the rest of the network, and needs nothing but a folder.
#[derive(Debug, Parser)]
#[command(
    name = "ues",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "\
First steps:
  ues up                                   start a node in ./ues-data, on 127.0.0.1:2583
  ues account create alice.test            in a second terminal: make an account
  ues post \"Hello\" --as alice.test         write
  ues record ls --as alice.test app.bsky.feed.post   read back
  ues repo export alice.test -o alice.car && ues repo verify alice.car

A command works on the node whose data lies in --data: over HTTP while the node runs, on the folder itself when it \
does not. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 unsound, 5 unavailable, 130 interrupted.")]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options for every command")]
pub struct Global {
    /// Folder with the node's data [default: ./ues-data]
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Configuration file, TOML or JSON [default: the first of those that `ues config path` lists]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "UES_CONFIG",
        hide_env_values = true
    )]
    pub config: Option<PathBuf>,
    /// Sets any setting, `--set rate_limits.enabled=false`; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Prints JSON, one value or one a line, for programs to read
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress and no remarks on stderr
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// What is logged on stderr: error, warn, info, debug, trace or a filter [default: warn]
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// How log lines look
    #[arg(long, global = true, value_name = "FORMAT", value_parser = ["plain", "json"])]
    pub log_format: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Starts a whole node
    Up(up::Args),
    /// Tells whether the node runs, where, and what it holds
    Status(status::Args),
    /// Accounts: make, list, show, change, delete
    #[command(subcommand, visible_alias = "accounts")]
    Account(account::Command),
    /// Administering the node: invites, takedowns, reports, the audit
    #[command(subcommand)]
    Admin(admin::Command),
    /// Letters to the owners of accounts
    #[command(subcommand)]
    Mail(mail::Command),
    /// Writes a post
    Post(post::Args),
    /// Records: create, read, change, delete, list, query
    #[command(subcommand, visible_alias = "records")]
    Record(record::Command),
    /// Repositories: export, import, verify, history
    #[command(subcommand)]
    Repo(repo::Command),
    /// Blobs: pictures and other files
    #[command(subcommand)]
    Blob(blob::Command),
    /// CAR archives of files: make, list, take out, verify
    #[command(subcommand)]
    Car(car::Command),
    /// Lexicons: the schemas of records and calls
    #[command(subcommand)]
    Lexicon(lexicon::Command),
    /// Devices: one repository on several machines
    #[command(subcommand, visible_alias = "devices")]
    Device(device::Command),
    /// Sync between devices
    #[command(subcommand)]
    Sync(sync::Command),
    /// What the devices of a repository wrote, what was merged, and why
    Log(log::Args),
    /// Mirrors: copies of repositories that live elsewhere
    #[command(visible_alias = "mirrors")]
    Mirror(mirror::Args),
    /// Who may read which repository over the network
    #[command(subcommand)]
    Access(access::Command),
    /// Peers: other nodes
    #[command(subcommand, visible_alias = "peers")]
    Peer(peer::Command),
    /// Pins: content that is kept alive
    #[command(subcommand, visible_alias = "pins")]
    Pin(pin::Command),
    /// API keys of the pin service
    #[command(subcommand, visible_alias = "keys")]
    Key(key::Command),
    /// Workers of the pin service
    #[command(subcommand, visible_alias = "workers")]
    Worker(worker::Command),
    /// Verifies all that is stored: every block, tree, signature and reference
    Check(check::Args),
    /// Builds the indexes anew from the event log
    Reindex(reindex::Args),
    /// The configuration: show, where it is, write a commented file
    #[command(subcommand)]
    Config(config::Command),
    /// Prints completions for a shell
    Completions(completions::Args),
}
