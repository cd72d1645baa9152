//! `ues pin migrate`: the pins of an IPFS-Cluster become pins of this service.
//!
//! The source is read once, in batches. After each batch that the service holds, the position is written to a file,
//! from which `--resume` goes on. In the end the service is asked for a digest of what it holds, which must be that of
//! what was read.

mod batch;
mod journal;
mod left_out;
mod source;
mod verify;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use ues_pins::Owner;
use ues_pins::service::TakenOver;

use crate::client::Client;
use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{BAD, FAINT, GOOD, Progress, human_bytes};
use batch::{Batch, Batches};
use journal::{Journal, Record};
use left_out::LeftOutFile;
use source::Source;

/// Pins that end within this time are not compared in the end: they may be over by then.
const HORIZON: Duration = Duration::from_secs(7 * 86_400);
/// Word for pins that the service does not take.
const REFUSED: &str = "refused";

/// Arguments of `ues pin migrate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ipfs-cluster-service state export | ues pin migrate --from -
  ues pin migrate --from export.json.gz --owner archive
  ues pin migrate --from https://cluster.example:9094 --user NAME:PASSWORD
  ues pin migrate --from export.json --resume

A migration that was interrupted goes on with --resume, with the same source. The tag of the migration finds its pins: \
`ues pin ls --tag TAG`. The way back is `ues pin export --format cluster`.

A cluster's certificate of an authority that the system does not know is trusted with SSL_CERT_FILE=FILE.

A list that is cut off between two lines cannot be told from a whole one: --expect says how many pins there are.")]
pub struct Args {
    /// A file of `ipfs-cluster-service state export` (also .gz), `-` for standard input, or the URL of a cluster's REST API
    #[arg(long, value_name = "FILE|URL")]
    from: String,
    /// Whose the pins become
    #[arg(long, default_value = "default")]
    owner: Owner,
    /// For the cluster's REST API
    #[arg(
        long,
        value_name = "NAME:PASSWORD",
        env = "UES_CLUSTER_USER",
        hide_env_values = true
    )]
    user: Option<String>,
    /// How many pins the source has; another number is a failure
    #[arg(long, value_name = "COUNT")]
    expect: Option<u64>,
    /// Goes on where an interrupted migration from the same source was
    #[arg(long)]
    resume: bool,
}

/// Runs it.
///
/// # Errors
/// A source that cannot be read to its end, pins that the service refuses, and anything that it does not hold in the
/// end as it was read.
pub async fn run(context: &Context, args: Args) -> Outcome {
    let source = Source::parse(&args.from)?;
    let folder = context.config()?.data.join("migrations");
    let client = context.client().await?;
    let mut journal = open_journal(context, &folder, &source, &args)?;
    let mut left_out = LeftOutFile::open(journal.left_out_path(), journal.record.left_out_bytes)?;
    if !journal.record.complete {
        let progress = context.output.progress("pins", args.expect.unwrap_or(0));
        let moved = transfer(
            client,
            &source,
            &args,
            &mut journal,
            &mut left_out,
            &progress,
        )
        .await;
        drop(progress);
        moved.map_err(|failure| with_advice(failure, &journal.record))?;
    }
    check_count(&journal.record, args.expect)?;
    verify::verify(context, client, &journal.record).await?;
    let record = journal.finish()?;
    report(context, &record, &left_out)
}

fn open_journal(
    context: &Context,
    folder: &Path,
    source: &Source,
    args: &Args,
) -> Outcome<Journal> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = now_s.map_or(0, |time| time.as_secs());
    let horizon_s = now_s + HORIZON.as_secs();
    let journal = Journal::new(folder, &source.name(), &args.owner);
    if args.resume {
        return journal.resume();
    }
    if journal.exists() {
        context.output.remark(format!(
            "{FAINT}an earlier migration from there was not finished; this one begins from the start{FAINT:#}"
        ));
    }
    journal.begin(horizon_s)
}

/// Reads the source to its end and brings everything to the service.
async fn transfer(
    client: &Client,
    source: &Source,
    args: &Args,
    journal: &mut Journal,
    left_out: &mut LeftOutFile,
    progress: &Progress,
) -> Outcome {
    let pieces = source.open(args.user.as_deref()).await?;
    let mut batches = Batches::start(pieces, journal.record.position.clone());
    progress.set(journal.record.read, args.expect.unwrap_or(0));
    // What was sent last before an interruption may have arrived or not.
    let mut uncertain = args.resume;
    while let Some(batch) = batches.next().await? {
        let taken = send(client, &journal.record, &batch).await?;
        settle(&mut journal.record, left_out, batch, &taken, uncertain)?;
        uncertain = false;
        journal.write()?;
        progress.set(journal.record.read, args.expect.unwrap_or(0));
        let offset = journal.record.position.as_ref().map_or(0, |p| p.offset);
        progress.message(human_bytes(offset));
    }
    journal.record.complete = true;
    journal.write()
}

async fn send(client: &Client, record: &Record, batch: &Batch) -> Outcome<TakenOver> {
    if batch.pins.is_empty() {
        return Ok(TakenOver::default());
    }
    let horizon = record.horizon_s.to_string();
    let params = [
        ("owner", record.owner.as_str()),
        ("tag", &record.tag),
        ("horizon", &horizon),
    ];
    let lines = batch.lines()?;
    let answer = client.admin_lines("pins/migrate", &params, lines).await?;
    serde_json::from_value(answer).map_err(Failure::while_doing("read the node's answer"))
}

/// Counts what came of a batch.
fn settle(
    record: &mut Record,
    left_out: &mut LeftOutFile,
    batch: Batch,
    taken: &TakenOver,
    uncertain: bool,
) -> Outcome {
    let mut refused = vec![false; batch.pins.len()];
    for one in &taken.refused {
        let (Some(pin), Some(place)) = (batch.pins.get(one.index), refused.get_mut(one.index))
        else {
            let why = "the node's answer names a pin that was not sent";
            return Err(Failure::failed(why));
        };
        *place = true;
        left_out.add(REFUSED, Some(&one.why), &pin.source)?;
        record.leave_out(REFUSED);
    }
    for (reason, source) in &batch.left_out {
        left_out.add(reason.word(), None, source)?;
        record.leave_out(reason.word());
    }
    let accepted = batch.pins.iter().zip(refused).filter(|(_, no)| !no);
    for (pin, _) in accepted {
        record.add(pin);
    }
    record.deduct(taken, uncertain);
    record.read += batch.read;
    record.position = Some(batch.position);
    record.left_out_bytes = left_out.sync()?;
    Ok(())
}

fn check_count(record: &Record, expected: Option<u64>) -> Outcome {
    let found = record.read;
    match expected {
        Some(expected) if expected != found => Err(Failure::failed(format!(
            "{expected} pins were expected, and the source has {found}"
        ))),
        None if found == 0 => Err(Failure::failed("the source has no pins")
            .hint("--expect 0 says that this is as it should be")),
        _ => Ok(()),
    }
}

fn report(context: &Context, record: &Record, left_out: &LeftOutFile) -> Outcome {
    let file = (!record.left_out.is_empty()).then(|| left_out.path().display().to_string());
    let value = json!({
        "read": record.read,
        "taken": record.taken,
        "converted": record.converted,
        "replaced": record.replaced,
        "repeated": record.repeated,
        "leftOut": record.left_out,
        "leftOutFile": file,
        "compared": record.digest.count(),
        "digest": record.digest,
        "owner": record.owner,
        "tag": record.tag,
    });
    context.output.result(&value, |out| {
        writeln!(
            out,
            "{} pins read, {} taken over for {}; {} compared with what the service holds: {GOOD}the same{GOOD:#}",
            record.read,
            record.taken,
            record.owner,
            record.digest.count(),
        )?;
        for (count, what) in [
            (record.converted, "were divided by the cluster (meta-pin) and are pinned as a whole here"),
            (record.replaced, "took the place of a pin that the owner had for the same CID"),
            (record.repeated, "stood in the source before; the last one counts"),
        ] {
            if count > 0 {
                writeln!(out, "{count} {what}")?;
            }
        }
        for (reason, count) in &record.left_out {
            writeln!(out, "{BAD}{count} left out{BAD:#}: {}", left_out::meaning(reason))?;
        }
        if let Some(file) = &file {
            writeln!(out, "{FAINT}what was left out is listed in {file}{FAINT:#}")?;
        }
        writeln!(out, "{FAINT}tag: {}{FAINT:#}", record.tag)
    });
    match record.left_out.get(REFUSED) {
        Some(count) => Err(Failure::failed(format!("{count} pins were refused"))),
        None => Ok(()),
    }
}

/// What to do after a failure in the middle.
fn with_advice(failure: Failure, record: &Record) -> Failure {
    if failure.hint.is_some() || record.read == 0 {
        return failure;
    }
    let done = record.read;
    failure.hint(format!(
        "{done} pins were read before; once the cause is gone, the same command with --resume goes on behind them"
    ))
}
