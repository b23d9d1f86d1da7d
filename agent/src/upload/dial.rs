//! Connections to the collector: TCP, and TLS over it with the certificate files in force.
//!
//! The files are read anew for every connection. Where they cannot be used any more, those that were
//! read last stay in force, which is told once. What is wrong with a certificate comes out as one
//! sentence ([`gpuledger_tls::handshake`]), whether the collector says so while the connection is made or,
//! as TLS 1.3 allows it, with the first bytes that are read afterwards.

use super::credentials::Credentials;
use gpuledger_tls::{Client, FileError, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{0}")]
    Files(#[from] FileError),
    #[error("{0}")]
    Certificate(String),
    #[error("{host}: {source}")]
    Tcp { host: String, source: io::Error },
    #[error("{}", super::session::causes(.0))]
    Http(#[from] tonic::transport::Error),
}

/// A connection, and what TLS says when it breaks.
pub struct Connection {
    pub(super) channel: Channel,
    pub(super) told: Told,
}

impl From<Channel> for Connection {
    fn from(channel: Channel) -> Self {
        Self { channel, told: Told::default() }
    }
}

/// What TLS has said about the end of a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Told(Arc<OnceLock<String>>);

impl Told {
    pub fn take(&self) -> Option<String> {
        self.0.get().cloned()
    }
}

/// Makes connections to one address.
#[derive(Debug)]
pub(super) struct Dialer {
    /// Name or address, and port.
    host: String,
    port: u16,
    credentials: Option<Credentials>,
    patience: Duration,
}

impl Dialer {
    pub fn new(uri: &Uri, credentials: Option<Credentials>, patience: Duration) -> Option<Self> {
        // In brackets an IPv6 address belongs to the URI and to nothing else.
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16()?;
        Some(Self { host, port, credentials, patience })
    }

    pub async fn dial(&self, endpoint: Endpoint) -> Result<Connection, ConnectError> {
        let failed = |source| ConnectError::Tcp { host: format!("{}:{}", self.host, self.port), source };
        let Some(credentials) = &self.credentials else {
            let stream = self.tcp().await.map_err(failed)?;
            return Ok(endpoint.connect_with_connector(Once::of(stream)).await?.into());
        };
        let client = credentials.fresh()?;
        let stream = self.tcp().await.map_err(failed)?;
        let told = Told::default();
        let wire = self.tls(&client, credentials, stream, &told).await?;
        match endpoint.connect_with_connector(Once::of(wire)).await {
            Ok(channel) => Ok(Connection { channel, told }),
            Err(error) => Err(told.take().map_or(ConnectError::Http(error), ConnectError::Certificate)),
        }
    }

    /// Tries one address after the other, so that one that swallows packets does not hide the next.
    async fn tcp(&self) -> io::Result<TcpStream> {
        let addresses: Vec<_> = lookup_host((self.host.as_str(), self.port)).await?.collect();
        let share = self.patience / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, "no answer"),
            }
        }
        Err(last)
    }

    async fn tls(
        &self,
        client: &Client,
        credentials: &Credentials,
        stream: TcpStream,
        told: &Told,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static, ConnectError> {
        let failed = |source| ConnectError::Tcp { host: format!("{}:{}", self.host, self.port), source };
        let name = ServerName::try_from(self.host.clone())
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let files = credentials.files().clone();
        match TlsConnector::from(Arc::clone(&client.config)).connect(name, stream).await {
            Ok(stream) => {
                let (host, told) = (self.host.clone(), told.clone());
                let tell = move |error: &io::Error| {
                    if let Some(message) = handshake::told_by_client(error, &files, &host) {
                        // The first is the cause of all that follow.
                        let _ = told.0.set(message);
                    }
                };
                Ok(Wire { stream, tell })
            }
            Err(error) => Err(match handshake::told_by_client(&error, &files, &self.host) {
                Some(message) => ConnectError::Certificate(message),
                None => failed(error),
            }),
        }
    }
}

/// A TLS stream whose errors are told to somebody before HTTP/2 swallows them.
struct Wire<S, F> {
    stream: S,
    tell: F,
}

impl<S, F: Fn(&io::Error)> Wire<S, F> {
    fn told<T>(&self, result: io::Result<T>) -> Poll<io::Result<T>> {
        if let Err(error) = &result {
            (self.tell)(error);
        }
        Poll::Ready(result)
    }
}

impl<S: AsyncRead + Unpin, F: Fn(&io::Error) + Unpin> AsyncRead for Wire<S, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        self.told(read)
    }
}

impl<S: AsyncWrite + Unpin, F: Fn(&io::Error) + Unpin> AsyncWrite for Wire<S, F> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        self.told(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        self.told(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs));
        self.told(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Gives out a connection that was made already. A second is made by another dial, with fresh files.
struct Once<S>(Option<TokioIo<S>>);

impl<S> Once<S> {
    fn of(stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite,
    {
        Self(Some(TokioIo::new(stream)))
    }
}

impl<S> tonic::codegen::Service<Uri> for Once<S> {
    type Response = TokioIo<S>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<TokioIo<S>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        std::future::ready(self.0.take().ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("told", &self.told).finish_non_exhaustive()
    }
}
