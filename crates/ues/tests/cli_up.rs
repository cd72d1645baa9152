//! `ues up` of the real program: coming up, being in the way, stopping.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on stops"
)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use support::Place;

/// One HTTP request by hand; the whole answer.
fn http(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn comes_up_in_an_empty_folder_and_says_how_to_go_on() {
    let place = Place::new();
    let mut child = place
        .command()
        .args(["up", "--listen", "127.0.0.1:0"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    while !said.contains("stop") {
        assert_ne!(
            std::io::BufRead::read_line(&mut stdout, &mut said).unwrap(),
            0,
            "{said}"
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said.starts_with("UES is up."), "{said}");
    assert!(said.contains("page      http://localhost:"), "{said}");
    assert!(
        said.contains("ues account create alice.test --data data"),
        "{said}"
    );
    assert!(said.contains(place.data().to_str().unwrap()), "{said}");
}

#[test]
fn answers_health_and_shows_its_page() {
    let place = Place::new();
    let node = place.up();
    let get = |path: &str| {
        http(
            node.address(),
            &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
        )
    };
    assert!(get("/xrpc/_health").starts_with("HTTP/1.1 200"));
    let page = get("/");
    assert!(
        page.starts_with("HTTP/1.1 200") && page.contains("<html"),
        "{page}"
    );
    let refused = get("/admin/v1/status");
    assert!(
        refused.starts_with("HTTP/1.1 401"),
        "the operator's routes ask for the secret: {refused}"
    );
}

#[test]
fn shows_its_pins_to_people_here_and_to_prometheus() {
    let place = Place::new();
    let node = place.up();
    let get = |path: &str, headers: &str| {
        let request = format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        http(node.address(), &request)
    };
    let metrics = get("/metrics", "Host: localhost\r\n");
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(
        metrics.contains("text/plain; version=0.0.4") && metrics.contains("pin_store_operation"),
        "{metrics}"
    );
    let html = "Accept: text/html\r\n";
    let page = get("/pins", &format!("Host: localhost\r\n{html}"));
    assert!(
        page.starts_with("HTTP/1.1 200") && page.contains("<h2>Workers</h2>"),
        "{page}"
    );
    for others in [
        "Host: localhost\r\n".to_owned(),
        format!("Host: node.example\r\n{html}"),
        format!("Host: localhost\r\nOrigin: https://node.example\r\n{html}"),
        format!("Host: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n{html}"),
    ] {
        let refused = get("/pins", &others);
        assert!(refused.starts_with("HTTP/1.1 401"), "{others}: {refused}");
    }
    let quiet = Place::new();
    let node = quiet.up_with(&["--set", "pins.metrics=false"]);
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let missing = http(node.address(), request);
    assert!(missing.starts_with("HTTP/1.1 404"), "{missing}");
}

#[test]
fn a_taken_port_is_said() {
    let place = Place::new();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let error = place.fails(5, &["up", "--listen", &address]);
    assert!(
        error.contains(&format!("error: {address} is taken by another program")),
        "{error}"
    );
    assert!(
        error.contains("--listen 127.0.0.1:0 takes a free port"),
        "{error}"
    );
    assert!(!place.data().exists(), "nothing was made");
}

#[test]
fn a_folder_in_use_is_said() {
    let place = Place::new();
    let node = place.up();
    let error = place.fails(5, &["up", "--listen", "127.0.0.1:0"]);
    assert!(
        error.contains("a node runs on data already, at http://localhost:"),
        "{error}"
    );
    assert!(error.contains(&node.ready["pid"].to_string()), "{error}");
    assert!(error.contains("--data DIR"), "{error}");
}

#[test]
fn an_address_that_is_none_is_refused() {
    let place = Place::new();
    let error = place.fails(2, &["up", "--listen", "localhost"]);
    assert!(
        error.contains("expected an IP address and a port"),
        "{error}"
    );
}

#[test]
fn stops_gently_at_the_first_signal() {
    let place = Place::new();
    for signal in ["TERM", "INT"] {
        let mut node = place.up();
        assert!(place.data().join("node.json").exists());
        node.signal(signal);
        assert_eq!(node.wait().code(), Some(0), "{signal}");
        assert!(!place.data().join("node.json").exists(), "{signal}");
    }
}

#[test]
fn ends_a_request_in_flight_before_it_stops() {
    let place = Place::new();
    let mut node = place.up();
    let body = "{\"identifier\":\"nobody.test\",\"password\":\"x\"}";
    let mut slow = TcpStream::connect(node.address()).unwrap();
    let head = format!(
        "POST /xrpc/com.atproto.server.createSession HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    slow.write_all(head.as_bytes()).unwrap();
    // The node has the request once it asks for the body.
    let mut go_on = [0; 12];
    slow.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100");
    node.signal("TERM");
    while TcpStream::connect(node.address()).is_ok() {}
    slow.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("HTTP/1.1 401"), "{answer}");
    assert_eq!(node.wait().code(), Some(0));
}

#[test]
fn stops_at_once_at_the_second_signal() {
    let place = Place::new();
    let mut node = place.up();
    let mut stuck = TcpStream::connect(node.address()).unwrap();
    let head = "POST /xrpc/com.atproto.server.createSession HTTP/1.1\r\nHost: x\r\n\
                Content-Type: application/json\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n";
    stuck.write_all(head.as_bytes()).unwrap();
    stuck.read_exact(&mut [0; 12]).unwrap();
    node.signal("TERM");
    while TcpStream::connect(node.address()).is_ok() {}
    node.signal("TERM");
    assert_eq!(node.wait().code(), Some(130));
}

#[test]
fn another_directory_that_is_not_there_is_said_when_it_is_needed() {
    let place = Place::new();
    let node = place.up_with(&["--set", "identity.directory=http://127.0.0.1:1"]);
    let error = place.fails(1, &["account", "create", "alice.test"]);
    assert!(error.contains("PLC"), "{error}");
    assert_eq!(node.stop().code(), Some(0));
}

#[test]
fn a_file_left_over_by_a_crash_misleads_nobody() {
    let place = Place::new();
    let node = place.up();
    node.kill();
    assert!(place.data().join("node.json").exists());
    assert_eq!(place.json(&["status"])["running"], false);
    let node = place.up();
    assert_eq!(place.json(&["status"])["running"], true);
    assert_eq!(node.stop().code(), Some(0));
}
