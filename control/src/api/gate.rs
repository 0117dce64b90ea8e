//! Before a request reaches its handler: who asks, whether they may, and how a refusal looks.

use axum::Json;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use tokio::net::UnixListener;

use super::Shared;
use super::wire::Failure;
use crate::rights::{Peer, Right};

/// Who is at the other end of a connection; `None` when the kernel does not say, which holds no
/// right at all.
#[derive(Clone, Copy, Debug)]
pub struct Caller(pub Option<Peer>);

impl Connected<IncomingStream<'_, UnixListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let credentials = stream.io().peer_cred().ok();
        Self(credentials.map(|peer| Peer {
            uid: peer.uid(),
            gid: peer.gid(),
            pid: peer.pid(),
        }))
    }
}

impl Caller {
    /// Whether the peer holds `right`.
    pub fn may(&self, shared: &Shared, right: Right) -> bool {
        self.0.is_some_and(|peer| shared.rights.allow(&peer, right))
    }

    /// The peer for log lines and events.
    pub fn name(&self) -> String {
        self.0
            .map_or_else(|| "unknown peer".to_owned(), |peer| peer.to_string())
    }
}

/// A refused request.
#[derive(Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// What the peer is told.
    pub failure: Failure,
}

impl Refusal {
    /// A refusal with one sentence.
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self {
            status,
            failure: Failure {
                error: error.into(),
                ..Failure::default()
            },
        }
    }

    /// 403, with a line in the log: a peer tried what it may not.
    pub fn right(caller: &Caller, right: Right, what: &str) -> Self {
        tracing::warn!(peer = %caller.name(), %right, what, "control request refused");
        Self::new(
            StatusCode::FORBIDDEN,
            format!("{} may not {right} this appliance", caller.name()),
        )
    }

    /// 409: another generation is in force.
    pub fn generation(expected: Option<u64>, current: u64) -> Self {
        let expected = expected.map_or_else(String::new, |expected| format!(", not {expected}"));
        let mut refusal = Self::new(
            StatusCode::CONFLICT,
            format!("generation {current} is in force{expected}"),
        );
        refusal.failure.generation = Some(current);
        refusal
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.failure)).into_response()
    }
}

/// Lets a request pass when its peer holds the route's right.
pub async fn check(
    State((shared, right)): State<(Shared, Right)>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    request: Request,
    next: Next,
) -> Response {
    if !caller.may(&shared, right) {
        let what = format!("{} {}", request.method(), request.uri().path());
        return Refusal::right(&caller, right, &what).into_response();
    }
    let mut response = next.run(request).await;
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", shared.policy.generation())) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// The generation that the request expects: the If-Match header, or the body's own field.
///
/// # Errors
/// When the header is no generation, or says something else than the body.
pub fn expected(headers: &HeaderMap, body: Option<u64>) -> Result<Option<u64>, Refusal> {
    let Some(header) = headers.get(header::IF_MATCH) else {
        return Ok(body);
    };
    let bad = |text: &str| Refusal::new(StatusCode::BAD_REQUEST, format!("If-Match: {text}"));
    let text = header.to_str().map_err(|_| bad("not text"))?.trim();
    if text == "*" {
        return Ok(body);
    }
    let number = text
        .trim_matches('"')
        .parse()
        .map_err(|_| bad("expected a generation"))?;
    if body.is_some_and(|body| body != number) {
        return Err(bad("differs from the body's generation"));
    }
    Ok(Some(number))
}

/// 404 for everything that is not in the table.
pub async fn no_such_path(uri: Uri) -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        format!("no such path: {}", uri.path()),
    )
}

/// 405 for a path of the table with another method.
pub async fn no_such_method(method: Method, uri: Uri) -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{} does not take {method}", uri.path()),
    )
}
