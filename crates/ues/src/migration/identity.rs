//! The identity: from here on the account lives at the new server.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::desk::Identity;
use super::mover::Mover;
use super::person::{Question, Report};
use super::plan::{self, Direction, Home};
use crate::failure::{Failure, Outcome};

const SUBMIT: &str = "com.atproto.identity.submitPlcOperation";

impl Mover {
    /// Has the identity name the new server.
    pub(super) async fn identity(&mut self) -> Outcome<Report> {
        let now = self.desk.identity(self.did()).await?;
        let wanted = self.recommended().await?;
        match &now.plc {
            Some(plc) => self.change_plc(plc, &wanted).await?,
            None => self.await_web(&now, &wanted).await?,
        }
        if self.home().await? != Home::New {
            let sentence = "the directory has taken the operation and still gives the old identity";
            return Err(Failure::unavailable(sentence).hint("the same command looks again"));
        }
        let endpoint = self.journal.record.endpoint.clone();
        let text = format!("names {}", endpoint.as_deref().unwrap_or_default());
        Ok(Report::new(text, json!({ "endpoint": endpoint })))
    }

    async fn change_plc(&mut self, now: &Value, wanted: &Value) -> Outcome {
        if let Some(operation) = self.journal.record.operation.clone() {
            // An earlier run has had it signed, and may have handed it in or not.
            let input = json!({ "operation": operation });
            match self.new.try_procedure(SUBMIT, Some(&input)).await? {
                Err(error) if error.is_refusal() => self.forget_operation()?,
                other => {
                    other?;
                    return self.forget_operation();
                }
            }
        }
        let fields = self.fields(now, wanted).await?;
        let operation = match self.journal.record.direction {
            Direction::To => {
                self.catch_up().await?;
                self.desk.sign(self.did(), &fields).await?
            }
            Direction::From => {
                let code = self.move_code().await?;
                self.catch_up().await?;
                self.have_signed(fields, &code).await?
            }
        };
        self.journal.record.operation = Some(operation.clone());
        self.journal.write()?;
        let input = json!({ "operation": operation });
        self.new.procedure(SUBMIT, Some(&input)).await?;
        self.forget_operation()
    }

    fn forget_operation(&mut self) -> Outcome {
        self.journal.record.operation = None;
        self.journal.write()
    }

    async fn fields(&self, now: &Value, wanted: &Value) -> Outcome<Value> {
        let nsid = "com.atproto.identity.getRecommendedDidCredentials";
        let old = self.old.query(nsid, &[]).await?;
        let keys = old["rotationKeys"].as_array().into_iter().flatten();
        let keys: Vec<String> = keys.filter_map(|k| k.as_str().map(str::to_owned)).collect();
        let wishes = &self.wishes;
        plan::operation(now, wanted, &keys, &wishes.keep_keys, &wishes.drop_keys)
    }

    /// The code with which the old server signs: given, or sent by it now.
    async fn move_code(&self) -> Outcome<Zeroizing<String>> {
        if let Some(token) = &self.wishes.token {
            return Ok(token.clone());
        }
        let nsid = "com.atproto.identity.requestPlcOperationSignature";
        self.old.procedure(nsid, None).await?;
        let server = self.old.address().to_owned();
        let email = self.old.owner().await?.email;
        self.person.ask(Question::MoveCode { server, email }).await
    }

    /// Copies what was written at the old server while a person looked for a letter.
    async fn catch_up(&mut self) -> Outcome {
        self.copy_again().await?;
        self.check().await.map(|_| ())
    }

    async fn have_signed(&self, mut fields: Value, code: &str) -> Outcome<Value> {
        fields["token"] = json!(code.trim());
        let nsid = "com.atproto.identity.signPlcOperation";
        match self.old.try_procedure(nsid, Some(&fields)).await? {
            Ok(mut answer) => Ok(answer["operation"].take()),
            Err(error) if error.is("InvalidToken") || error.is("ExpiredToken") => {
                Err(Failure::from(error)
                    .hint("the same command without --token has another code sent"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A did:web is what its owner publishes.
    async fn await_web(&self, now: &Identity, wanted: &Value) -> Outcome {
        let endpoint = wanted["services"]["atproto_pds"]["endpoint"].as_str();
        let key = wanted["verificationMethods"]["atproto"].as_str();
        if now.endpoint.as_deref() == endpoint && now.key.as_deref() == key {
            return Ok(());
        }
        let document = web_document(self.did(), wanted);
        let sentence = format!(
            "{} has to name the new server; only you can publish that",
            self.did()
        );
        Err(Failure::failed(sentence).hint(format!(
            "publish this, with whatever else the document holds, and run the same command again:\n{document:#}"
        )))
    }
}

/// What the document of a did:web has to say.
fn web_document(did: &str, wanted: &Value) -> Value {
    let key = wanted["verificationMethods"]["atproto"].as_str();
    let key = key.unwrap_or_default();
    let service = &wanted["services"]["atproto_pds"];
    json!({
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
        "id": did,
        "alsoKnownAs": wanted["alsoKnownAs"],
        "verificationMethod": [{
            "id": format!("{did}#atproto"),
            "type": "Multikey",
            "controller": did,
            "publicKeyMultibase": key.strip_prefix("did:key:").unwrap_or(key),
        }],
        "service": [{
            "id": "#atproto_pds",
            "type": service["type"],
            "serviceEndpoint": service["endpoint"],
        }],
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::web_document;

    #[test]
    fn a_document_to_publish() {
        let wanted = json!({
            "alsoKnownAs": ["at://a.example"],
            "verificationMethods": { "atproto": "did:key:zQ3shabc" },
            "services": { "atproto_pds": { "type": "AtprotoPersonalDataServer", "endpoint": "https://new" } },
        });
        let document = web_document("did:web:a.example", &wanted);
        assert_eq!(
            document["verificationMethod"][0]["publicKeyMultibase"],
            "zQ3shabc"
        );
        assert_eq!(document["service"][0]["serviceEndpoint"], "https://new");
        assert_eq!(document["alsoKnownAs"][0], "at://a.example");
    }
}
