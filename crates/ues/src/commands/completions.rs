//! `ues completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Outcome;

/// Arguments of `ues completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ues completions bash > ~/.local/share/bash-completion/completions/ues
  ues completions zsh  > ~/.zfunc/_ues
  ues completions fish > ~/.config/fish/completions/ues.fish")]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Runs it.
///
/// # Errors
/// None.
pub fn run(args: &Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ues", &mut script);
    // A closed pipe is no error here either.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), &script);
    Ok(())
}
