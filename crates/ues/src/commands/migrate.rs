//! `ues account migrate`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use console::Term;
use parking_lot::Mutex;
use reqwest::Url;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Context;
use super::acting::account_name;
use crate::client::connect_to;
use crate::failure::{Failure, Outcome};
use crate::migration::desk::Desk;
use crate::migration::http::{HttpServer, server_url};
use crate::migration::journal::Journal;
use crate::migration::mover::{Mover, Wishes};
use crate::migration::person::{Person, Question, Report};
use crate::migration::plan::{Direction, Home, Step};
use crate::migration::side::{Key, Side};
use crate::migration::xrpc::Xrpc;
use crate::node::run_file::RunFile;
use crate::output::{ADVICE, BAD, FAINT, GOOD, Output, Progress, STRONG, printable};

/// Arguments of `ues account migrate`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("way").required(true).args(["from", "to"])))]
#[command(after_help = "\
Examples:
  ues account migrate --from https://old.example --account alice.example
  ues account migrate --from https://old.example --account alice.old.example --handle alice.my.example
  ues account migrate --from https://old.example --account alice.example --token ABCDE-FGHIJ
  ues account migrate --to https://new.example --account alice.example --invite CODE
  ues account migrate --from https://old.example --account alice.example --abandon

The steps: an account at the new server, switched off; records; blobs; preferences; a comparison of both; then the identity, \
which says where the account lives; the new account is switched on, the old one off. Nothing is deleted at the old server.

The same command goes on after any interruption. Until the identity is changed the old server is the account's home, and \
--abandon ends the move. The old server sends a code by mail for that change: type it when asked, or run the same command \
again with --token. When an account leaves this node its operator needs no code.

The password is that of the account at the other server: asked for, read from --password-file, or from UES_PASSWORD. \
An account that comes here keeps it. The node has to run (`ues up`), under the address at which others reach it.")]
pub struct Args {
    /// The server that the account leaves for this node
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// The server to which the account of this node moves
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Handle or DID of the account
    #[arg(long)]
    account: String,
    /// Its handle at the new server; the one that it has when left away
    #[arg(long)]
    handle: Option<String>,
    /// Its e-mail address at the new server; the one that it has when left away
    #[arg(long)]
    email: Option<String>,
    /// Invite code, where the new server asks for one
    #[arg(long, value_name = "CODE")]
    invite: Option<String>,
    /// The code of the letter that the server has sent
    #[arg(long, value_name = "CODE")]
    token: Option<String>,
    /// The code of the second factor at the other server
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// File with the password at the other server, `-` for standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// A key of the identity that neither server names, and that stays; may be repeated
    #[arg(long, value_name = "DID_KEY")]
    keep_key: Vec<String>,
    /// A key of the identity that neither server names, and that goes; may be repeated
    #[arg(long, value_name = "DID_KEY")]
    drop_key: Vec<String>,
    /// Moves without blobs that the old server has lost
    #[arg(long)]
    without_lost_blobs: bool,
    /// Ends a move that has not changed the identity; a new account that it made is deleted
    #[arg(long)]
    abandon: bool,
}

/// Runs it.
///
/// # Errors
/// What stops the move; the advice says where the account lives and how to go on.
pub async fn run(context: &Context, args: Args) -> Outcome {
    let (direction, url) = match (&args.from, &args.to) {
        (Some(url), _) => (Direction::From, server_url(url)?),
        (None, Some(url)) => (Direction::To, server_url(url)?),
        (None, None) => return Err(Failure::usage("--from or --to says which way")),
    };
    let data = context.config()?.data;
    let mut mover = prepare(context, &args, direction, &url, &data).await?;
    if args.abandon {
        let report = mover.abandon().await?;
        mover.journal.finish()?;
        let mut value = json!({ "state": "abandoned" });
        add(&mut value, &report.details);
        context.output.line(&value, &report.text);
        return Ok(());
    }
    if let Err(failure) = mover.run().await {
        return Err(with_advice(&mover, failure).await);
    }
    let did = mover.journal.record.did.clone();
    let address = mover.new.address().to_owned();
    let handle = mover.journal.record.handles.last().cloned();
    mover.journal.finish()?;
    let value = json!({ "state": "finished", "did": did, "handle": handle, "server": address });
    context.output.result(&value, |out| {
        let name = printable(handle.as_deref().unwrap_or(&did));
        writeln!(
            out,
            "{GOOD}Moved.{GOOD:#} {STRONG}{name}{STRONG:#} lives at {address}"
        )
    });
    Ok(())
}

async fn prepare(
    context: &Context,
    args: &Args,
    direction: Direction,
    url: &Url,
    data: &Path,
) -> Outcome<Mover> {
    let folder = data.join("migrations");
    let running = connect_to(data).await.zip(RunFile::read(data));
    let Some((client, run)) = running else {
        let sentence = format!("no node runs on {}", data.display());
        return Err(Failure::unavailable(sentence)
            .hint("an account moves to or from a node that runs: ues up, in another terminal"));
    };
    let desk: Arc<dyn Desk> = Arc::new(client);
    let person = Arc::new(Terminal::new(context.output, args.code.clone()));
    let name = account_name(&args.account)?;
    let earlier = Journal::find(&folder, name);
    let given = HttpServer::new(url)?;
    let did = match &earlier {
        Some(record) => record.did.clone(),
        None => find_did(direction, name, &given, &*desk).await?,
    };
    let shown = given.address().to_owned();
    let mut journal = Journal::open(&folder, direction, &shown, &did)?;
    let other = match &journal.record.host {
        Some(host) => HttpServer::new(&server_url(host)?)?,
        None => find_host(context, direction, given, &did, &*desk).await?,
    };
    journal.record.host = Some(other.address().to_owned());
    journal.record.remember(name);
    if !args.abandon {
        journal.write()?;
    }
    let password = given_password(args.password_file.as_deref()).await?;
    let there = Side::new(
        Arc::new(other),
        Key::password(person.clone(), password),
        &did,
    );
    let own = HttpServer::own(&run.url, &run.public_url)?;
    let here = Side::new(Arc::new(own), Key::Operator(Arc::clone(&desk)), &did);
    let (old, new) = match direction {
        Direction::From => (there, here),
        Direction::To => (here, there),
    };
    let wishes = Wishes {
        handle: args.handle.clone(),
        email: args.email.clone(),
        invite: args.invite.clone(),
        token: args.token.clone().map(Zeroizing::new),
        keep_keys: args.keep_key.clone(),
        drop_keys: args.drop_key.clone(),
        without_lost_blobs: args.without_lost_blobs,
    };
    Ok(Mover {
        wishes,
        old,
        new,
        desk,
        person,
        journal,
    })
}

async fn find_did(
    direction: Direction,
    name: &str,
    other: &HttpServer,
    desk: &dyn Desk,
) -> Outcome<String> {
    if name.starts_with("did:") {
        return Ok(name.to_owned());
    }
    let unknown = || Failure::not_found(format!("there is no account {name}"));
    if direction == Direction::To {
        return Ok(desk.account(name).await?.ok_or_else(unknown)?.did);
    }
    let nsid = "com.atproto.identity.resolveHandle";
    match other.query(nsid, &[("handle", name)], None).await {
        Ok(answer) => answer["did"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(unknown),
        Err(error) if error.is_refusal() => desk.resolve(name).await,
        Err(error) => Err(error.into()),
    }
}

/// The server that holds the account: the one given, or the one behind it that the identity names.
async fn find_host(
    context: &Context,
    direction: Direction,
    given: HttpServer,
    did: &str,
    desk: &dyn Desk,
) -> Outcome<HttpServer> {
    let identity = desk.identity(did).await.map_err(|failure| {
        failure.hint("this node has to ask the directory that the identity is in: ues config show identity.directory")
    })?;
    if direction == Direction::To {
        return Ok(given);
    }
    let Some(named) = identity.endpoint.filter(|_| !identity.here) else {
        return Ok(given);
    };
    let nsid = "com.atproto.sync.getRepoStatus";
    if given.query(nsid, &[("did", did)], None).await.is_ok() {
        return Ok(given);
    }
    let host = HttpServer::new(&server_url(&named)?)?;
    if host.address() != given.address() {
        let line = format!("{FAINT}the account is kept at {}{FAINT:#}", host.address());
        context.output.remark(line);
    }
    Ok(host)
}

async fn given_password(file: Option<&Path>) -> Outcome<Option<Zeroizing<String>>> {
    let text = match file {
        Some(path) if path.as_os_str() == "-" => {
            let read = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin()));
            read.await
                .map_err(Failure::while_doing("read standard input"))??
        }
        Some(path) => {
            let reading = Failure::while_doing(format!("read {}", path.display()));
            std::fs::read_to_string(path).map_err(reading)?
        }
        None => match std::env::var("UES_PASSWORD") {
            Ok(password) if !password.is_empty() => password,
            _ => return Ok(None),
        },
    };
    let text = Zeroizing::new(text);
    Ok(Some(Zeroizing::new(
        text.trim_end_matches(['\r', '\n']).to_owned(),
    )))
}

/// Says where the account lives after a failure, and what may be done.
async fn with_advice(mover: &Mover, failure: Failure) -> Failure {
    let (old, new) = (mover.old.address(), mover.new.address());
    let where_it_is = match mover.home().await {
        Ok(Home::Old) => format!(
            "the account lives at {old} as before; the same command goes on, with --abandon it ends the move"
        ),
        Ok(Home::New) => {
            format!("the account lives at {new} now; the same command finishes the move")
        }
        Err(_) => "the same command goes on where this one stopped".to_owned(),
    };
    match &failure.hint {
        Some(hint) => {
            let hint = format!("{hint}\n{where_it_is}");
            failure.hint(hint)
        }
        None => failure.hint(where_it_is),
    }
}

fn add(to: &mut Value, details: &Value) {
    for (name, value) in details.as_object().into_iter().flatten() {
        to[name] = value.clone();
    }
}

/// Asks and tells on the terminal, or in lines of JSON.
struct Terminal {
    output: Output,
    bar: Mutex<Option<Progress>>,
    code: Mutex<Option<String>>,
}

impl Terminal {
    fn new(output: Output, code: Option<String>) -> Self {
        Self {
            output,
            bar: Mutex::new(None),
            code: Mutex::new(code),
        }
    }

    async fn prompt(&self, text: String, secret: bool) -> Outcome<Zeroizing<String>> {
        *self.bar.lock() = None;
        let read = move || -> std::io::Result<String> {
            let term = Term::stderr();
            term.write_str(&text)?;
            match secret {
                true => term.read_secure_line(),
                false => term.read_line(),
            }
        };
        let read = tokio::task::spawn_blocking(read).await;
        let answer = read.map_err(Failure::while_doing("ask"))??;
        match answer.trim().is_empty() {
            true => Err(Failure::usage("nothing was typed")),
            false => Ok(Zeroizing::new(answer)),
        }
    }
}

#[async_trait]
impl Person for Terminal {
    async fn ask(&self, question: Question) -> Outcome<Zeroizing<String>> {
        if let Question::SecondFactor { .. } = &question
            && let Some(code) = self.code.lock().take()
        {
            return Ok(Zeroizing::new(code));
        }
        let can_ask = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        match question {
            Question::Password { server } => match can_ask {
                true => self.prompt(format!("Password at {server}: "), true).await,
                false => Err(
                    Failure::usage(format!("the password at {server} is needed")).hint(
                        "--password-file FILE or the environment variable UES_PASSWORD gives it",
                    ),
                ),
            },
            Question::SecondFactor { server } => match can_ask {
                true => {
                    self.prompt(format!("Code of the second factor at {server}: "), false)
                        .await
                }
                false => Err(
                    Failure::failed(format!("{server} asks for a second factor"))
                        .hint("run the same command with --code CODE"),
                ),
            },
            Question::MoveCode { server, email } => {
                let to = email
                    .map(|email| format!(" to {}", printable(&email)))
                    .unwrap_or_default();
                let sentence = format!("{server} has sent a code by mail{to}");
                match can_ask {
                    true => self.prompt(format!("{sentence}: "), false).await,
                    false => {
                        Err(Failure::failed(sentence)
                            .hint("run the same command with --token CODE"))
                    }
                }
            }
            Question::DeleteCode { server } => {
                let sentence =
                    format!("{server} has sent a code by mail, to delete the account there");
                match can_ask {
                    true => self.prompt(format!("{sentence}: "), false).await,
                    false => Err(Failure::failed(sentence)
                        .hint("run the same command with --abandon --token CODE")),
                }
            }
        }
    }

    fn begins(&self, step: Step) {
        if self.output.json {
            self.output
                .line(&json!({ "step": step.name(), "state": "begins" }), "");
        } else {
            *self.bar.lock() = Some(self.output.progress(step.name(), 0));
        }
    }

    fn progress(&self, step: Step, done: u64, total: u64) {
        if self.output.json {
            let value =
                json!({ "step": step.name(), "state": "goes on", "done": done, "total": total });
            self.output.line(&value, "");
            return;
        }
        let mut bar = self.bar.lock();
        if done == 0 {
            *bar = Some(self.output.progress(step.name(), total));
        }
        if let Some(bar) = &*bar {
            bar.set(done, total);
        }
    }

    fn done(&self, step: Step, report: &Report) {
        *self.bar.lock() = None;
        let mut value = json!({ "step": step.name(), "state": "done" });
        add(&mut value, &report.details);
        let name = step.name();
        self.output.line(
            &value,
            format!("{FAINT}{name:<12}{FAINT:#} {}", report.text),
        );
    }

    fn warn(&self, text: &str) {
        *self.bar.lock() = None;
        if self.output.json {
            self.output.line(&json!({ "warning": text }), "");
        } else {
            anstream::eprintln!("{BAD}warning:{BAD:#} {ADVICE}{text}{ADVICE:#}");
        }
    }
}
