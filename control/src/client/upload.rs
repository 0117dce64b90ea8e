//! A request's body that says how far it is.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};

/// Bytes handed to the socket at a time.
const PART: usize = 1 << 18;

/// Is told bytes sent and bytes in all.
pub(super) type Observer = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// A body of known length.
pub(super) struct Upload {
    rest: Bytes,
    length: u64,
    observer: Option<Observer>,
}

impl Upload {
    pub(super) fn new(body: Bytes, observer: Option<Observer>) -> Self {
        Self {
            length: body.len() as u64,
            rest: body,
            observer,
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let count = self.rest.len().min(PART);
        if count == 0 {
            return Poll::Ready(None);
        }
        let part = self.rest.split_to(count);
        if let Some(observer) = &self.observer {
            observer(self.length - self.rest.len() as u64, self.length);
        }
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
