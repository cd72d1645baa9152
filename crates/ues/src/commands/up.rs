//! `ues up`.

use std::io::ErrorKind;
use std::net::SocketAddr;

use serde_json::json;
use tokio::net::TcpListener;
use ues_atproto::{Redirect, Tls, TlsDoor};

use super::Context;
use crate::config::Config;
use crate::failure::{Exit, Failure, Outcome};
use crate::node::run_file::RunFile;
use crate::node::{Node, NodeError, settings};
use crate::output::{FAINT, GOOD, STRONG};

/// Arguments of `ues up`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ues up                                   ./ues-data, 127.0.0.1:2583, handles under .test
  ues up --data /srv/ues --listen 0.0.0.0:80 --public-url https://pds.example.com --handle-domain .example.com
  ues up --pin-backend kubo --kubo-api http://127.0.0.1:5001   keep pinned content in a Kubo
  ues up --role worker --set pins.bus=nats://10.0.0.1:4222     one more worker for a service on other machines
  ues up --set rate_limits.enabled=false   any setting: ues config show

Ctrl-C (or SIGTERM) stops it: requests in flight end, followers of the event stream are told. A second one stops \
it at once.")]
pub struct Args {
    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:2583]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Address under which others reach the node [default: http://localhost with the port]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Domain for handles, such as .example.com; may be repeated [default: .test]
    #[arg(long = "handle-domain", value_name = "DOMAIN")]
    pub handle_domains: Vec<String>,
    /// What this process does for the pin service; may be repeated: api, planner, worker [default: all]
    #[arg(long = "role", value_name = "ROLE", value_delimiter = ',')]
    pub roles: Vec<String>,
    /// Where this process keeps pinned content: embedded or kubo [default: embedded]
    #[arg(long, value_name = "BACKEND")]
    pub pin_backend: Option<String>,
    /// RPC address of the Kubo, with --pin-backend kubo [default: http://127.0.0.1:5001]
    #[arg(long, value_name = "URL")]
    pub kubo_api: Option<String>,
}

/// Runs it, until it is stopped.
///
/// # Errors
/// [`Exit::Unavailable`] when the folder or the port is taken.
pub async fn run(context: &Context, args: Args) -> Outcome {
    let mut layers = context.layers()?;
    let domains = args.handle_domains.join(",");
    let roles = args.roles.join(",");
    for (key, flag, value) in [
        ("listen", "--listen", args.listen.as_deref()),
        ("public_url", "--public-url", args.public_url.as_deref()),
        (
            "handle_domains",
            "--handle-domain",
            Some(domains.as_str()).filter(|d| !d.is_empty()),
        ),
        (
            "pins.roles",
            "--role",
            Some(roles.as_str()).filter(|r| !r.is_empty()),
        ),
        ("pins.backend", "--pin-backend", args.pin_backend.as_deref()),
        ("pins.kubo_api", "--kubo-api", args.kubo_api.as_deref()),
    ] {
        if let Some(value) = value {
            layers.add_flag(key, flag, value)?;
        }
    }
    let mut config = layers.config()?;
    // The port first: a node must not come up, take the folder and then find its door shut.
    let listener = bind(config.listen).await?;
    config.listen = listener.local_addr()?;
    let tls = match settings::tls(&config).map_err(Failure::usage)? {
        None => None,
        Some(options) => {
            let listener = bind(config.tls.listen).await?;
            config.tls.listen = listener.local_addr()?;
            let tls = Tls::start(options).map_err(|e| Failure::failed(e.to_string()))?;
            Some((listener, tls))
        }
    };
    let node = Node::open(&config).await.map_err(|e| taken(e, &config))?;
    let run = RunFile {
        pid: std::process::id(),
        url: format!("http://{}", reachable(config.listen)),
        public_url: node.public_url().to_owned(),
    };
    let written = run
        .write(node.data())
        .map_err(Failure::while_doing(format!(
            "write into {}",
            node.data().display()
        )))?;
    let stop = StopSignals::new()?;
    let tls = tls.map(|(listener, tls)| TlsDoor {
        listener,
        tls,
        redirect: Redirect::new(node.authority(), &config.tls.domains),
    });
    greet(context, &node, &run, &config);
    let quick = stop.clone();
    let served = tokio::select! {
        served = node.serve(listener, tls, stop.first()) => served,
        () = quick.second() => return Err(Failure::new(Exit::Interrupted, "stopped at once")),
    };
    drop(written);
    served.map_err(Failure::while_doing("serve"))?;
    context.output.remark(format!("{FAINT}stopped{FAINT:#}"));
    Ok(())
}

async fn bind(address: SocketAddr) -> Outcome<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|e| match e.kind() {
            ErrorKind::AddrInUse => Failure::unavailable(format!(
                "{address} is taken by another program"
            ))
            .hint(format!(
                "--listen {}:0 takes a free port; ues status tells whether a node of yours runs",
                address.ip()
            )),
            ErrorKind::PermissionDenied => Failure::unavailable(format!(
                "the system does not let this user listen on {address}"
            ))
            .hint("ports below 1024 need a privilege; --listen 127.0.0.1:2583 does not"),
            ErrorKind::AddrNotAvailable => Failure::usage(format!(
                "this machine does not have the address {}",
                address.ip()
            ))
            .hint("--listen 0.0.0.0:2583 listens on all that it has"),
            _ => Failure::unavailable(format!("cannot listen on {address}: {e}")),
        })
}

fn taken(error: NodeError, config: &Config) -> Failure {
    let failure = Failure::from(error);
    match RunFile::read(&config.data) {
        Some(run) if failure.exit == Exit::Unavailable => Failure::unavailable(format!(
            "a node runs on {} already, at {} (process {})",
            config.data.display(),
            run.public_url,
            run.pid
        ))
        .hint("use it, stop it, or give this one another folder: --data DIR"),
        _ => failure,
    }
}

/// An address that a process on this machine can call.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn greet(context: &Context, node: &Node, run: &RunFile, config: &Config) {
    let data = std::path::absolute(node.data()).unwrap_or_else(|_| node.data().to_owned());
    let value = json!({
        "ready": true, "url": run.url, "publicUrl": run.public_url, "data": data, "pid": run.pid,
    });
    let domain = config
        .handle_domains
        .first()
        .map_or(".test", String::as_str);
    let folder = if config.data == std::path::Path::new("./ues-data") {
        String::new()
    } else {
        format!(" --data {}", config.data.display())
    };
    context.output.result(&value, |out| {
        writeln!(out, "{GOOD}UES is up.{GOOD:#}")?;
        writeln!(out, "  page      {STRONG}{}{STRONG:#}", run.public_url)?;
        writeln!(out, "  data      {}", data.display())?;
        writeln!(out, "  account   ues account create alice{domain}{folder}")?;
        writeln!(out, "  {FAINT}stop      Ctrl-C{FAINT:#}")
    });
}

/// Requests to stop: the first one is followed gently, the second one at once.
#[derive(Clone)]
struct StopSignals(tokio::sync::watch::Receiver<u32>);

impl StopSignals {
    fn new() -> Outcome<Self> {
        let (count, seen) = tokio::sync::watch::channel(0);
        // From here on, not from when the task below first runs: a signal in between would end the process.
        #[cfg(unix)]
        let (mut interrupt, mut terminate) = {
            use tokio::signal::unix::{SignalKind, signal};
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            )
        };
        tokio::spawn(async move {
            loop {
                #[cfg(unix)]
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                #[cfg(not(unix))]
                let _ = tokio::signal::ctrl_c().await;
                count.send_modify(|n| *n += 1);
            }
        });
        Ok(Self(seen))
    }

    async fn first(self) {
        self.reached(1).await;
    }

    async fn second(self) {
        self.reached(2).await;
    }

    async fn reached(mut self, count: u32) {
        if self.0.wait_for(|n| *n >= count).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
