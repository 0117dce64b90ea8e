//! A client of the control API: one HTTP/1.1 request per connection over the Unix socket.
//!
//! It is what the command line uses and what other programs may link; nothing in it retries or
//! caches.

pub mod bundle;
mod upload;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, ETAG, HOST, IF_MATCH};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::wire::Failure;

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers at the socket.
    #[error("cannot reach the daemon at {}: {source}", socket.display())]
    Connect {
        /// The socket's path.
        socket: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The connection failed in between.
    #[error("the connection to the daemon failed: {0}")]
    Connection(#[from] hyper::Error),
    /// The request could not be formed.
    #[error("the request could not be formed: {0}")]
    Request(#[from] hyper::http::Error),
    /// The answer is no JSON, or not of the expected form.
    #[error("the daemon's answer was not understood: {0}")]
    Answer(#[from] serde_json::Error),
    /// The daemon refused.
    #[error("{}", failure.error)]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What it said.
        failure: Failure,
    },
    /// What arrives could not be handed on.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// An answer with the generation that it was given under.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// The body.
    pub body: T,
    /// The generation in force after the request (the answer's entity tag).
    pub generation: Option<u64>,
}

/// A way to one daemon.
#[derive(Clone)]
pub struct Client {
    socket: PathBuf,
    expected: Option<u64>,
    observer: Option<upload::Observer>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("socket", &self.socket)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the daemon behind `socket`. Does not connect yet.
    pub fn new(socket: impl AsRef<Path>) -> Self {
        Self {
            socket: socket.as_ref().to_owned(),
            expected: None,
            observer: None,
        }
    }

    /// `observer` is told how many bytes of a request have been sent, and how many there are.
    #[must_use]
    pub fn observed(mut self, observer: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Every change is refused (409) unless `generation` is the one in force.
    #[must_use]
    pub fn expecting(mut self, generation: u64) -> Self {
        self.expected = Some(generation);
        self
    }

    /// Reads the resource at `path`.
    ///
    /// # Errors
    /// When the daemon cannot be reached or refuses.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, ClientError> {
        json(self.send(Method::GET, path, None).await?).await
    }

    /// Posts `body` to `path`.
    ///
    /// # Errors
    /// When the daemon cannot be reached or refuses.
    pub async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<Answer<T>, ClientError> {
        let body = serde_json::to_vec(body)?;
        json(self.send(Method::POST, path, Some(body)).await?).await
    }

    /// Deletes the resource at `path`.
    ///
    /// # Errors
    /// When the daemon cannot be reached or refuses.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, ClientError> {
        json(self.send(Method::DELETE, path, None).await?).await
    }

    /// Reads the bytes at `path`.
    ///
    /// # Errors
    /// When the daemon cannot be reached or refuses.
    pub async fn bytes(&self, path: &str) -> Result<Bytes, ClientError> {
        Ok(self
            .send(Method::GET, path, None)
            .await?
            .into_body()
            .collect()
            .await?
            .to_bytes())
    }

    /// Follows the lines at `path` until the daemon ends the stream or `line` says stop
    /// (`Ok(false)`).
    ///
    /// # Errors
    /// When the daemon cannot be reached or refuses, or when `line` fails.
    pub async fn follow(
        &self,
        path: &str,
        line: impl FnMut(&str) -> io::Result<bool>,
    ) -> Result<(), ClientError> {
        read_lines(self.send(Method::GET, path, None).await?, line).await
    }

    /// Deletes what is at `path` and hands each line of the answer to `line`, as
    /// [`follow`](Self::follow).
    ///
    /// # Errors
    /// As [`follow`](Self::follow).
    pub async fn delete_lines(
        &self,
        path: &str,
        line: impl FnMut(&str) -> io::Result<bool>,
    ) -> Result<(), ClientError> {
        read_lines(self.send(Method::DELETE, path, None).await?, line).await
    }

    /// Changes what is at `path` as `body` says and hands each line of the answer to `line`, as
    /// [`follow`](Self::follow).
    ///
    /// # Errors
    /// As [`follow`](Self::follow).
    pub async fn patch_lines<B: Serialize + Sync>(
        &self,
        path: &str,
        body: &B,
        line: impl FnMut(&str) -> io::Result<bool>,
    ) -> Result<(), ClientError> {
        let body = serde_json::to_vec(body)?;
        read_lines(self.send(Method::PATCH, path, Some(body)).await?, line).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = tokio::net::UnixStream::connect(&self.socket)
            .await
            .map_err(|source| ClientError::Connect {
                socket: self.socket.clone(),
                source,
            })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // The connection's task ends with the connection; its error reaches the request itself.
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "sluice");
        if let Some(generation) = self.expected {
            request = request.header(IF_MATCH, format!("\"{generation}\""));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = Bytes::from(body.unwrap_or_default());
        let request = request.body(upload::Upload::new(body, self.observer.clone()))?;
        let response = sender.send_request(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        let failure = serde_json::from_slice(&bytes).unwrap_or_else(|_| Failure {
            error: format!("{status}: {}", String::from_utf8_lossy(&bytes)),
            ..Failure::default()
        });
        Err(ClientError::Refused { status, failure })
    }
}

/// Hands the lines of an answer on until it ends or `line` says stop.
async fn read_lines(
    response: Response<Incoming>,
    mut line: impl FnMut(&str) -> io::Result<bool>,
) -> Result<(), ClientError> {
    let mut body = response.into_body();
    let mut pending = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        pending.extend_from_slice(&data);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(&pending[..end]).into_owned();
            pending.drain(..=end);
            if !text.is_empty() && !line(&text)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn json<T: DeserializeOwned>(response: Response<Incoming>) -> Result<Answer<T>, ClientError> {
    let generation = response
        .headers()
        .get(ETAG)
        .and_then(|tag| tag.to_str().ok())
        .and_then(|tag| tag.trim_matches('"').parse().ok());
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(Answer {
        body: serde_json::from_slice(&bytes)?,
        generation,
    })
}
