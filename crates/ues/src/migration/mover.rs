//! The steps of a move, one after the other.

use std::sync::Arc;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::desk::Desk;
use super::journal::Journal;
use super::person::{Person, Question, Report};
use super::plan::{self, Direction, Home, Step};
use super::side::Side;
use crate::failure::{Failure, Outcome};

/// What the person at the keyboard has decided.
#[derive(Default)]
pub struct Wishes {
    /// The handle at the new server.
    pub handle: Option<String>,
    /// The e-mail address at the new server.
    pub email: Option<String>,
    /// An invite code of the new server.
    pub invite: Option<String>,
    /// The code of a letter.
    pub token: Option<Zeroizing<String>>,
    /// Keys of the did:plc that stay.
    pub keep_keys: Vec<String>,
    /// Keys of the did:plc that go.
    pub drop_keys: Vec<String>,
    /// Goes on without blobs that the old server has lost.
    pub without_lost_blobs: bool,
}

/// An account that moves.
pub struct Mover {
    /// What was decided.
    pub wishes: Wishes,
    /// The server that it leaves.
    pub old: Side,
    /// The server that it moves to.
    pub new: Side,
    /// The operator's rights at the one of both that is this node.
    pub desk: Arc<dyn Desk>,
    /// Who is asked and told.
    pub person: Arc<dyn Person>,
    /// What a later run has to know.
    pub journal: Journal,
}

impl Mover {
    pub(super) fn did(&self) -> &str {
        &self.journal.record.did
    }

    /// Where the account lives.
    ///
    /// # Errors
    /// When its identity cannot be read, or names a third server.
    pub async fn home(&self) -> Outcome<Home> {
        let identity = self.desk.identity(self.did()).await?;
        let record = &self.journal.record;
        plan::home(record.direction, &identity, record.endpoint.as_deref())
    }

    /// Moves the account, from wherever an earlier run has left it.
    ///
    /// # Errors
    /// What does not work. Until the identity names the new server, the old one is the account's home.
    pub async fn run(&mut self) -> Outcome {
        let home = self.home().await?;
        for step in plan::steps(home) {
            self.person.begins(*step);
            let report = self.take(*step).await?;
            self.person.done(*step, &report);
        }
        Ok(())
    }

    async fn take(&mut self, step: Step) -> Outcome<Report> {
        match step {
            Step::Account => self.account().await,
            Step::Repository => self.repository().await,
            Step::Blobs => self.blobs().await,
            Step::Preferences => self.preferences().await,
            Step::Check => self.check().await,
            Step::Identity => self.identity().await,
            Step::Activate => self.activate().await,
            Step::Deactivate => self.deactivate().await,
        }
    }

    async fn preferences(&self) -> Outcome<Report> {
        let kept = "the preferences of apps stay behind";
        let nsid = "app.bsky.actor.getPreferences";
        let preferences = match self.old.try_query(nsid, &[]).await? {
            Ok(mut answer) => answer["preferences"].take(),
            Err(error) if !error.is_passing() => {
                self.person.warn(&format!("{kept}: {error}"));
                return Ok(Report::new("no preferences", json!({ "count": 0 })));
            }
            Err(error) => return Err(error.into()),
        };
        let count = preferences.as_array().map_or(0, Vec::len);
        if count > 0 {
            let input = json!({ "preferences": preferences });
            let nsid = "app.bsky.actor.putPreferences";
            match self.new.try_procedure(nsid, Some(&input)).await? {
                Ok(_) => {}
                Err(error) if !error.is_passing() => {
                    self.person.warn(&format!("{kept}: {error}"));
                    return Ok(Report::new("no preferences", json!({ "count": 0 })));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Report::new(
            format!("{count} preferences"),
            json!({ "count": count }),
        ))
    }

    /// Compares what both servers hold.
    pub(super) async fn check(&mut self) -> Outcome<Report> {
        let (there, here) = (self.status(&self.old).await?, self.status(&self.new).await?);
        let (old_root, new_root) = (self.root(&self.old).await?, self.root(&self.new).await?);
        if old_root != new_root {
            return Err(Failure::failed(
                "the account has changed at the old server while it was copied",
            )
            .hint("the same command copies what is new"));
        }
        for (name, what) in [("indexedRecords", "records"), ("expectedBlobs", "blobs")] {
            let (old, new) = (&there[name], &here[name]);
            if old != new {
                return Err(Failure::unsound(format!(
                    "{} counts {old} {what}, {} counts {new}, of the same tree",
                    self.old.address(),
                    self.new.address(),
                ))
                .hint("nothing was switched over; the account lives where it did"));
            }
        }
        self.journal.record.root = Some(old_root.clone());
        self.journal.write()?;
        let (records, blobs) = (&here["indexedRecords"], &here["importedBlobs"]);
        let details = json!({ "root": old_root, "records": records, "blobs": blobs });
        let text = format!("{records} records and {blobs} blobs are at both servers");
        Ok(Report::new(text, details))
    }

    async fn status(&self, side: &Side) -> Outcome<Value> {
        let nsid = "com.atproto.server.checkAccountStatus";
        side.query(nsid, &[]).await
    }

    async fn activate(&mut self) -> Outcome<Report> {
        let address = self.new.address().to_owned();
        if self.status(&self.new).await?["activated"] != json!(true) {
            // Nothing is written at the new server before it is switched on, so copying is still right. But an old server
            // that is gone must not keep the account from its home.
            if let Err(failure) = self.copy_again().await {
                let old = self.old.address();
                self.person.warn(&format!(
                    "what was written at {old} last may be missing: {}",
                    failure.message
                ));
            }
            let nsid = "com.atproto.server.activateAccount";
            self.new.procedure(nsid, None).await?;
        }
        let details = json!({ "server": address });
        Ok(Report::new(format!("it lives at {address}"), details))
    }

    /// Copies what was written at the old server since both were compared.
    pub(super) async fn copy_again(&mut self) -> Outcome {
        let root = self.root(&self.old).await?;
        if self.journal.record.root.as_ref() == Some(&root) {
            return Ok(());
        }
        self.repository().await?;
        self.blobs().await?;
        self.journal.record.root = Some(self.root(&self.new).await?);
        self.journal.write()
    }

    async fn deactivate(&self) -> Outcome<Report> {
        let address = self.old.address();
        let copied = self.journal.record.root.as_deref();
        if self.status(&self.old).await?["activated"] != json!(false) {
            if copied.is_some() && copied != Some(self.root(&self.old).await?.as_str()) {
                self.person.warn(&format!(
                    "something was written at {address} after all was copied, and is there only"
                ));
            }
            let input = json!({});
            let nsid = "com.atproto.server.deactivateAccount";
            self.old.procedure(nsid, Some(&input)).await?;
        }
        let details = json!({ "server": address });
        let text = format!("it is switched off at {address}, where nothing was deleted");
        Ok(Report::new(text, details))
    }

    /// Ends a move that has not switched over: deletes the account at the new server, if this move has made it.
    ///
    /// # Errors
    /// When the account lives at the new server already, or that one refuses.
    pub async fn abandon(&self) -> Outcome<Report> {
        if self.home().await? == Home::New {
            let sentence = format!("the account lives at {} already", self.new.address());
            return Err(
                Failure::usage(sentence).hint("the same command without --abandon finishes")
            );
        }
        let mut deleted = false;
        if self.journal.record.made {
            deleted = match self.journal.record.direction {
                Direction::From => self.delete_here().await?,
                Direction::To => self.delete_there().await?,
            };
        }
        let (old, new) = (self.old.address(), self.new.address());
        let text = match (deleted, self.journal.record.made) {
            (true, _) => format!("the account lives at {old}; its copy at {new} is deleted"),
            (false, true) => format!("the account lives at {old}; there is no copy at {new}"),
            (false, false) => {
                format!("the account lives at {old}; what {new} had of it before stays there")
            }
        };
        Ok(Report::new(text, json!({ "deleted": deleted })))
    }

    async fn delete_here(&self) -> Outcome<bool> {
        match self.desk.account(self.did()).await? {
            None => Ok(false),
            Some(account) if account.status == "active" => {
                let sentence = format!("{} is switched on at this node", self.did());
                Err(Failure::failed(sentence).hint(format!(
                    "ues account deactivate {} first, if that is right",
                    self.did()
                )))
            }
            Some(_) => self.desk.delete(self.did()).await.map(|()| true),
        }
    }

    async fn delete_there(&self) -> Outcome<bool> {
        if self.hosted(&self.new).await?.is_none() {
            return Ok(false);
        }
        let code = match &self.wishes.token {
            Some(token) => token.clone(),
            None => {
                let nsid = "com.atproto.server.requestAccountDelete";
                self.new.procedure(nsid, None).await?;
                let server = self.new.address().to_owned();
                self.person.ask(Question::DeleteCode { server }).await?
            }
        };
        let password = self.new.password().await?;
        let input =
            json!({ "did": self.did(), "password": password.as_str(), "token": code.trim() });
        let nsid = "com.atproto.server.deleteAccount";
        self.new.procedure(nsid, Some(&input)).await?;
        Ok(true)
    }
}
