//! Ports, waiting, and as much HTTP as a test needs.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::process::Process;

const LOOK: Duration = Duration::from_millis(20);
/// One answer may take this long on a busy machine.
const ANSWER: Duration = Duration::from_secs(30);

/// A port that nobody listens on right now.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    Ok(listener.local_addr()?.port())
}

/// Asks again until there is an answer; after `limit` the last reason why not is the error.
pub fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    let until = Instant::now() + limit;
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(why) if Instant::now() >= until => {
                return Err(why.context(format!("{what}: waited {limit:?}")));
            }
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}

/// Waits until `process` answers `GET path` with 200; an early end of the process ends the wait.
pub fn wait_ready(process: &mut Process, port: u16, path: &str, limit: Duration) -> Result<()> {
    let until = Instant::now() + limit;
    loop {
        process.must_run()?;
        match get(port, path) {
            Ok(answer) if answer.status == 200 => return Ok(()),
            Ok(answer) if Instant::now() >= until => {
                bail!("{path} answers {}: {}", answer.status, answer.body)
            }
            Err(why) if Instant::now() >= until => {
                return Err(why.context(format!("{path}: waited {limit:?}")));
            }
            _ => std::thread::sleep(LOOK),
        }
    }
}

/// Waits until `process` listens on a port.
pub fn wait_listening(process: &mut Process, port: u16, limit: Duration) -> Result<()> {
    let until = Instant::now() + limit;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        process.must_run()?;
        ensure!(Instant::now() < until, "nobody listens on port {port} after {limit:?}");
        std::thread::sleep(LOOK);
    }
    Ok(())
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// `GET http://127.0.0.1:port/path`.
pub fn get(port: u16, path: &str) -> Result<Answer> {
    let mut stream =
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("port {port}"))?;
    stream.set_read_timeout(Some(ANSWER))?;
    // HTTP/1.0: the answer ends where the connection does.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("GET {path} on port {port}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without an end of its head")?;
    let status =
        head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("an answer without status")?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// The body of a successful `GET`.
pub fn get_ok(port: u16, path: &str) -> Result<String> {
    let answer = get(port, path)?;
    ensure!(answer.status == 200, "GET {path}: {}: {}", answer.status, answer.body);
    Ok(answer.body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nx: y\r\n\r\nno\r\n\r\nbody").unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let answer = get(port, "/there").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (404, "no\r\n\r\nbody"));
        assert!(server.join().unwrap().starts_with("GET /there HTTP/1.0\r\n"));
    }

    #[test]
    fn waiting_ends_with_the_last_reason() {
        let why = wait_for("a wonder", Duration::from_millis(50), || -> Result<()> { bail!("not today") });
        let message = format!("{:#}", why.unwrap_err());
        assert!(message.contains("a wonder") && message.contains("not today"), "{message}");
    }
}
