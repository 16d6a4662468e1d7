//! What a guest says went wrong with a body that it reads or sends: the host keeps that until somebody asks, and nobody may.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{FutureConsumer, FutureReader, Lift, Lower, Source};
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;

use crate::caps;
use crate::state::State;

/// How a body ended, from who reads or sends it.
pub(super) type Outcome<T> = FutureReader<Result<T, ErrorCode>>;

/// The same, with texts of [`caps::ERROR_TEXT`] at most. Who never says how it ended has had no trouble.
pub(super) fn with_short_texts<T>(
    store: &mut StoreContextMut<'_, State>,
    outcome: Outcome<T>,
) -> wasmtime::Result<Outcome<T>>
where
    T: Lift + Lower + Default + Send + Sync + 'static,
{
    let (told, waiting) = oneshot::channel();
    outcome.pipe(&mut *store, Shorten(Some(told)))?;
    FutureReader::new(&mut *store, async move {
        Ok::<_, wasmtime::Error>(waiting.await.unwrap_or(Ok(T::default())))
    })
}

struct Shorten<T>(Option<oneshot::Sender<Result<T, ErrorCode>>>);

impl<T: Lift + Send + 'static> FutureConsumer<State> for Shorten<T> {
    type Item = Result<T, ErrorCode>;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut store: StoreContextMut<'_, State>,
        mut source: Source<'_, Self::Item>,
        _: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut outcome = None;
        source.read(&mut store, &mut outcome)?;
        if let (Some(outcome), Some(told)) = (outcome, self.0.take()) {
            let _ = told.send(outcome.map_err(shortened));
        }
        Poll::Ready(Ok(()))
    }
}

fn shortened(mut error: ErrorCode) -> ErrorCode {
    let text = match &mut error {
        ErrorCode::DnsError(payload) => payload.rcode.as_mut(),
        ErrorCode::TlsAlertReceived(payload) => payload.alert_message.as_mut(),
        ErrorCode::HttpRequestHeaderSize(payload) => payload
            .as_mut()
            .and_then(|payload| payload.field_name.as_mut()),
        ErrorCode::HttpRequestTrailerSize(payload)
        | ErrorCode::HttpResponseHeaderSize(payload)
        | ErrorCode::HttpResponseTrailerSize(payload) => payload.field_name.as_mut(),
        ErrorCode::HttpResponseTransferCoding(text)
        | ErrorCode::HttpResponseContentCoding(text)
        | ErrorCode::InternalError(text) => text.as_mut(),
        // These have none.
        _ => None,
    };
    if let Some(text) = text {
        text.truncate(text.floor_char_boundary(caps::ERROR_TEXT));
        text.shrink_to_fit();
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_and_keeps_no_room() {
        let long = "\u{e9}".repeat(caps::ERROR_TEXT);
        for (error, of) in [
            (
                ErrorCode::InternalError(Some(long.clone())),
                (|error| match error {
                    ErrorCode::InternalError(text) => text,
                    _ => None,
                }) as fn(ErrorCode) -> Option<String>,
            ),
            (
                ErrorCode::HttpResponseContentCoding(Some(long.clone())),
                |error| match error {
                    ErrorCode::HttpResponseContentCoding(text) => text,
                    _ => None,
                },
            ),
        ] {
            let text = of(shortened(error)).expect("it is the same error");
            assert_eq!(text, "\u{e9}".repeat(caps::ERROR_TEXT / 2));
            assert!(text.capacity() < 2 * caps::ERROR_TEXT);
        }
    }
}
