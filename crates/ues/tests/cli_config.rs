//! Configuration, completions and help of the real program: what needs no node.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on stops"
)]

mod support;

use serde_json::json;
use support::{Place, ended};

#[test]
fn show_says_where_each_value_came_from() {
    let place = Place::new();
    place.file(
        "ues.toml",
        "listen = \"127.0.0.1:1\"\n[limits]\nblob_bytes = \"1MB\"\n",
    );
    let output = ended(
        place
            .command()
            .env("UES_RATE_LIMITS_ENABLED", "false")
            .args([
                "--json",
                "--log",
                "info",
                "--set",
                "listen=127.0.0.1:2",
                "config",
                "show",
            ]),
    );
    let all: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    let part = |key: &str| {
        (
            all[key]["value"].clone(),
            all[key]["from"].as_str().unwrap().to_owned(),
        )
    };
    assert_eq!(part("listen"), (json!("127.0.0.1:2"), "flag --set".into()));
    assert_eq!(
        part("limits.blob_bytes"),
        (json!(1 << 20), "file ues.toml".into())
    );
    assert_eq!(
        part("rate_limits.enabled"),
        (json!(false), "environment UES_RATE_LIMITS_ENABLED".into())
    );
    assert_eq!(part("log.level"), (json!("info"), "flag --log".into()));
    assert_eq!(part("accept_imports"), (json!(true), "default".into()));
}

#[test]
fn one_setting_is_explained() {
    let place = Place::new();
    let text = place.ok(&["config", "show", "rate_limits.enabled"]);
    assert!(text.contains("rate_limits.enabled = true"), "{text}");
    assert!(text.contains("UES_RATE_LIMITS_ENABLED"), "{text}");
    let error = place.fails(2, &["config", "show", "rate_limit.enabled"]);
    assert!(
        error.contains("did you mean rate_limits.enabled?"),
        "{error}"
    );
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    let place = Place::new();
    let toml = place.file("a.toml", "[rate_limits]\nenabeld = true\n");
    let error = place.fails(2, &["--config", &toml, "config", "show"]);
    assert!(
        error.contains("unknown setting \"rate_limits.enabeld\" in a.toml"),
        "{error}"
    );
    assert!(
        error.contains("did you mean rate_limits.enabled?"),
        "{error}"
    );

    let json = place.file("b.json", "{\"listen\": true}");
    let error = place.fails(2, &["--config", &json, "config", "show"]);
    assert!(
        error.contains("listen is set to true by file b.json, expected an IP address"),
        "{error}"
    );

    let broken = place.file("c.toml", "listen = \n");
    let error = place.fails(2, &["--config", &broken, "config", "show"]);
    assert!(
        error.contains("c.toml is not TOML") && error.contains("line 1"),
        "{error}"
    );

    let error = place.fails(2, &["--config", "gone.toml", "config", "show"]);
    assert!(error.contains("cannot read gone.toml"), "{error}");

    let error = place.fails(2, &["--set", "listen", "config", "show"]);
    assert!(error.contains("--set listen has no value"), "{error}");
    let error = place.fails(2, &["--set", "lisen=1", "config", "show"]);
    assert!(error.contains("did you mean listen?"), "{error}");
    let error = place.fails(2, &["--log", "a=b=c", "status"]);
    assert!(error.contains("is not a filter"), "{error}");
}

#[test]
fn a_misspelt_variable_is_remarked_upon() {
    let place = Place::new();
    let output = ended(
        place
            .command()
            .env("UES_LISTEM", "x")
            .args(["config", "show", "listen"]),
    );
    assert_eq!(output.code, 0);
    assert!(
        output.stderr.contains("did you mean UES_LISTEN?"),
        "{}",
        output.stderr
    );
}

#[test]
fn init_writes_a_file_that_changes_nothing() {
    let place = Place::new();
    let before = place.json(&["config", "show"]);
    assert!(place.ok(&["config", "path"]).contains("the defaults hold"));
    place.ok(&["config", "init"]);
    assert!(place.ok(&["config", "path"]).starts_with("ues.toml\n"));
    assert_eq!(place.json(&["config", "show"]), before);
    let error = place.fails(1, &["config", "init"]);
    assert!(error.contains("--force writes over it"), "{error}");
    place.ok(&["config", "init", "--force"]);
}

#[test]
fn errors_are_json_when_asked_for() {
    let place = Place::new();
    let ended = place.run(&["--json", "status"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (3, ""));
    let error: serde_json::Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!(error["error"], "NotFound");
    assert_eq!(error["message"], "there is no node in data");
    assert!(error["hint"].as_str().unwrap().contains("ues up"));
}

#[test]
fn no_node_is_said_with_what_to_do() {
    let place = Place::new();
    for args in [
        &["status"][..],
        &["post", "x"],
        &["account", "ls"],
        &["repo", "export", "a.test"],
        &["check"],
        &["reindex"],
    ] {
        let error = place.fails(3, args);
        assert!(error.contains("error: there is no node in data"), "{error}");
        assert!(error.contains("ues up makes one"), "{error}");
    }
    assert!(!place.data().exists(), "looking for a node makes no folder");
}

#[test]
fn completions_for_each_shell() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.ok(&["completions", shell]);
        assert!(
            script.contains("ues") && script.contains("reindex"),
            "{shell}"
        );
    }
    place.fails(2, &["completions", "tcsh"]);
}

#[test]
fn help_teaches() {
    let place = Place::new();
    let help = place.ok(&["--help"]);
    for part in [
        "First steps:",
        "ues up",
        "ues account create alice.test",
        "Exit codes:",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
    for command in [
        &["up"][..],
        &["account", "create"],
        &["post"],
        &["record", "create"],
        &["record", "ls"],
        &["record", "query"],
        &["repo", "export"],
        &["repo", "verify"],
        &["repo", "diff"],
        &["repo", "log"],
        &["repo", "tree"],
        &["repo", "import"],
        &["blob", "put"],
        &["car", "add"],
        &["car", "ls"],
        &["car", "get"],
        &["car", "verify"],
        &["lexicon", "check"],
        &["config", "show"],
        &["completions"],
    ] {
        let help = place.ok(&[command, &["--help"]].concat());
        assert!(help.contains("Example"), "{command:?}: {help}");
    }
    assert_eq!(place.run(&[]).code, 2);
    let error = place.fails(2, &["acount"]);
    assert!(
        error.contains("account"),
        "a near name is suggested: {error}"
    );
}

#[test]
fn no_colours_off_a_terminal() {
    let place = Place::new();
    let ended = place.run(&["status"]);
    assert!(!ended.stderr.contains('\u{1b}'), "{:?}", ended.stderr);
}
