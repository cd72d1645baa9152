//! `ues repo`.

mod diff;
mod export;
mod import;
mod key;
pub mod log;
mod ls;
mod repair;
mod source;
mod tree;
mod verify;

use clap::Subcommand;

use super::Context;
use crate::failure::Outcome;

/// Repositories: the signed trees that hold an account's records.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Writes a repository into a CAR file
    Export(export::Args),
    /// Replaces an account's repository by the one in a CAR file
    Import(import::Args),
    /// Verifies a repository: every block, the whole tree, the signature
    Verify(verify::Args),
    /// Makes the rows beside a repository's tree right again, and announces it anew
    Repair(repair::Args),
    /// Shows the commits of a repository, newest last
    Log(log::Args),
    /// Shows which records differ between two repositories
    Diff(diff::Args),
    /// Draws a repository's tree
    Tree(tree::Args),
    /// Lists the repositories of the node
    #[command(visible_alias = "list")]
    Ls,
}

/// Runs it.
///
/// # Errors
/// The command's failure.
pub async fn run(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Export(args) => export::run(context, args).await,
        Command::Import(args) => import::run(context, args).await,
        Command::Verify(args) => verify::run(context, args).await,
        Command::Repair(args) => repair::run(context, args).await,
        Command::Log(args) => log::run(context, args).await,
        Command::Diff(args) => diff::run(context, args).await,
        Command::Tree(args) => tree::run(context, args).await,
        Command::Ls => ls::run(context).await,
    }
}
