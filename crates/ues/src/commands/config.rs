//! `ues config`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::Context;
use crate::config::{Kind, file, setting::nearest, settings};
use crate::failure::{Failure, Outcome};
use crate::output::{FAINT, STRONG, Table, human_bytes};

/// The configuration: show, where it is, write a commented file.
///
/// Values come from four places, the later ones win: the defaults, one file (TOML or JSON), environment variables
/// (`UES_` and the setting's name, `UES_RATE_LIMITS_ENABLED=false`), and flags.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows every setting, its value and where the value came from
    #[command(after_help = "\
Examples:
  ues config show                          all settings
  ues config show rate_limits.enabled      one, with its explanation
  ues --set listen=0.0.0.0:80 config show listen")]
    Show {
        /// Only this setting, explained
        #[arg(value_name = "KEY")]
        key: Option<String>,
    },
    /// Shows which file is used and where one is looked for
    Path,
    /// Writes a file with every setting, explained and at its default
    #[command(after_help = "\
Examples:
  ues config init                          writes ./ues.toml
  ues config init /etc/ues.toml && ues --config /etc/ues.toml up")]
    Init {
        /// The file
        #[arg(value_name = "FILE", default_value = file::FILE_NAME)]
        file: PathBuf,
        /// Writes over a file that is there
        #[arg(long)]
        force: bool,
    },
}

/// Runs it.
///
/// # Errors
/// A usage failure for a configuration that cannot be used; a failure to write.
pub fn run(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Show { key: None } => show(context),
        Command::Show { key: Some(key) } => explain(context, &key),
        Command::Path => path(context),
        Command::Init { file, force } => init(context, &file, force),
    }
}

fn text_of(kind: Kind, value: &Value) -> String {
    match (kind, value) {
        (Kind::Bytes, Value::Number(n)) => n.as_u64().map(human_bytes).unwrap_or_default(),
        (_, Value::String(s)) => s.clone(),
        (_, Value::Array(items)) => items
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(", "),
        (_, other) => other.to_string(),
    }
}

fn show(context: &Context) -> Outcome {
    let layers = context.layers()?;
    let mut table = Table::new(&["setting", "value", "from"]);
    let mut all = serde_json::Map::new();
    for (setting, value, origin) in layers.iter() {
        table.row([
            setting.key,
            &text_of(setting.kind, value),
            &origin.to_string(),
        ]);
        all.insert(
            setting.key.to_owned(),
            json!({ "value": value, "from": origin.to_string() }),
        );
    }
    context
        .output
        .result(&Value::Object(all), |out| table.write(out, "no settings"));
    Ok(())
}

fn explain(context: &Context, key: &str) -> Outcome {
    let layers = context.layers()?;
    let Some((setting, value, origin)) = layers.iter().find(|(s, _, _)| s.key == key) else {
        let failure = Failure::usage(format!("there is no setting {key:?}"));
        return Err(failure.hint(match nearest(key, settings().map(|s| s.key)) {
            Some(known) => format!("did you mean {known}?"),
            None => "ues config show lists all settings".to_owned(),
        }));
    };
    let result = json!({
        "key": setting.key, "value": value, "from": origin.to_string(),
        "default": setting.default, "environment": setting.env_name(), "help": setting.help,
    });
    context.output.result(&result, |out| {
        writeln!(
            out,
            "{STRONG}{}{STRONG:#} = {}",
            setting.key,
            text_of(setting.kind, value)
        )?;
        writeln!(out, "{}\n", setting.help)?;
        writeln!(out, "{FAINT}from:{FAINT:#}        {origin}")?;
        writeln!(out, "{FAINT}default:{FAINT:#}     {}", setting.default)?;
        writeln!(out, "{FAINT}environment:{FAINT:#} {}", setting.env_name())
    });
    Ok(())
}

fn path(context: &Context) -> Outcome {
    let used = context.config_file();
    let looked: Vec<String> = file::search_path()
        .iter()
        .map(|p| p.to_string_lossy().into_owned())
        .collect();
    let result = json!({ "used": used, "searched": looked });
    context.output.result(&result, |out| {
        match &used {
            Some(path) => writeln!(out, "{}", path.display())?,
            None => writeln!(out, "{FAINT}no file, the defaults hold{FAINT:#}")?,
        }
        writeln!(
            out,
            "{FAINT}looked for, in this order: {}{FAINT:#}",
            looked.join(", ")
        )
    });
    Ok(())
}

fn init(context: &Context, path: &std::path::Path, force: bool) -> Outcome {
    if path.exists() && !force {
        return Err(
            Failure::failed(format!("{} is there already", path.display()))
                .hint("--force writes over it"),
        );
    }
    std::fs::write(path, file::commented())
        .map_err(Failure::while_doing(format!("write {}", path.display())))?;
    context.output.result(&json!({ "written": path }), |out| {
        writeln!(
            out,
            "{} written: every setting at its default, commented out",
            path.display()
        )
    });
    Ok(())
}
