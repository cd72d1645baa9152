//! A server that answers with the very bytes that a test wants.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What is done for one request, in this order; then the connection is closed.
#[derive(Clone)]
pub enum Step {
    Send(Vec<u8>),
    Wait(Duration),
}

type Play = dyn Fn(&str) -> Vec<Step> + Send + Sync;

/// A server; it ends with the test's runtime.
pub struct Server {
    pub url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `play` gets the path behind `/api/v0/` with the query.
    pub async fn start(play: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let (play, seen): (Arc<Play>, _) = (Arc::new(play), Arc::clone(&heads));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&play), Arc::clone(&seen)));
            }
        });
        Self { url, heads }
    }

    /// The requests so far: method, path and query, and headers.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().clone()
    }
}

async fn serve(mut stream: TcpStream, play: Arc<Play>, seen: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap();
    let steps = play(target.strip_prefix("/api/v0/").unwrap());
    seen.lock().push(head.clone());
    for step in steps {
        match step {
            Step::Wait(time) => tokio::time::sleep(time).await,
            Step::Send(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        }
    }
    // what the client still sends must not make the answer vanish
    let _ = stream.shutdown().await;
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut [0; 64])).await;
}

/// The head of an answer in chunks, as Kubo begins every one.
pub fn head() -> Step {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTrailer: X-Stream-Error\r\n\
                Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    Step::Send(head.into())
}

pub fn chunk(text: &str) -> Step {
    Step::Send(format!("{:x}\r\n{text}\r\n", text.len()).into())
}

pub fn end() -> Step {
    Step::Send(b"0\r\n\r\n".to_vec())
}

pub fn end_with_error(words: &str) -> Step {
    Step::Send(format!("0\r\nX-Stream-Error: {words}\r\n\r\n").into())
}

pub fn lines(lines: &[&str]) -> Vec<Step> {
    let mut steps = vec![head()];
    steps.extend(lines.iter().map(|line| chunk(&format!("{line}\n"))));
    steps.push(end());
    steps
}

pub fn refusal(status: u16, text: &str) -> Vec<Step> {
    let length = text.len();
    let answer = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
    );
    vec![Step::Send(answer.into())]
}

/// A failure as Kubo tells it before it has answered anything.
pub fn failure(words: &str) -> Vec<Step> {
    let text = format!(r#"{{"Message":"{words}","Code":0,"Type":"error"}}"#);
    refusal(500, &text)
}
