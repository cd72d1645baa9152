//! The `ues` program: command line, configuration, and the putting together of a node.
//!
//! | module | what it does |
//! |---|---|
//! | [`cli`] | the command line, with help that teaches |
//! | [`config`] | one file, environment and flags over defaults |
//! | [`node`] | a whole node: store, server, the operator's own routes |
//! | [`client`] | one way to talk to a node, whether it runs or not |
//! | [`commands`] | one file a command |
//! | [`migration`] | moving an account between servers |
//! | [`output`] | results, progress, colours |
//! | [`telemetry`] | traces for a collector |
//! | [`failure`] | errors for people, exit codes |

pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod failure;
pub mod logging;
pub mod memory;
pub mod migration;
pub mod node;
pub mod output;
pub mod telemetry;

use std::process::ExitCode;

use clap::Parser;

/// Parses the command line and runs it.
pub fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    if matches!(cli.command, cli::Command::Up(_)) {
        memory::set_up();
    }
    let output = output::Output {
        json: cli.global.json,
        quiet: cli.global.quiet,
    };
    match commands::run(cli, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.exit.into()
        }
    }
}
