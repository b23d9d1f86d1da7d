//! Last words to a peer that speaks the other protocol: TLS to a collector in plain text, or plain HTTP/2
//! to one that wants TLS.
//!
//! Both get an HTTP/2 connection that is closed at once, with the reason in its last frame. An agent in
//! plain text reads that reason; to one that speaks TLS these bytes are not TLS, which is the answer.

use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The first byte of a TLS connection: a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;
/// An empty SETTINGS frame, with which every HTTP/2 connection begins.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
/// Type of the frame that ends a connection.
const GOAWAY: u8 = 7;
/// "The underlying transport has properties that do not meet minimum security requirements".
const INADEQUATE_SECURITY: u8 = 0x0c;
/// How long the peer may take to read it, and how much of what it sent is read meanwhile: a socket that
/// is closed with unread bytes is reset, and the answer lost.
const LINGER: Duration = Duration::from_secs(1);
const UNREAD_BYTES_MAX: usize = 16 * 1024;

/// Whether the peer begins with TLS. Waits for its first byte; `None` where it sends none.
pub async fn begins_with_tls(stream: &TcpStream) -> Option<bool> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) => Some(first[0] == TLS_HANDSHAKE),
        _ => None,
    }
}

/// Tells the peer why, and lets it read that before the connection is closed.
pub async fn say(mut stream: TcpStream, why: &str) {
    let told = async {
        stream.write_all(&farewell(why)).await?;
        stream.shutdown().await?;
        let mut unread = vec![0; UNREAD_BYTES_MAX];
        let mut room = unread.as_mut_slice();
        while !room.is_empty() {
            match stream.read(room).await? {
                0 => break,
                read => room = &mut room[read..],
            }
        }
        Ok::<(), std::io::Error>(())
    };
    // Whoever does not want to know is not told.
    let _ = timeout(LINGER, told).await;
}

/// SETTINGS and a GOAWAY with the reason as its debug data.
fn farewell(why: &str) -> Vec<u8> {
    let mut bytes = SETTINGS.to_vec();
    // The last stream that was handled, none, and the error.
    let body = [&[0, 0, 0, 0, 0, 0, 0, INADEQUATE_SECURITY], why.as_bytes()].concat();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    bytes.extend_from_slice(&length[1..]);
    bytes.extend_from_slice(&[GOAWAY, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(&body);
    bytes
}
