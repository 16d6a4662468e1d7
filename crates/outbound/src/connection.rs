//! One HTTP connection, and the tasks that drive it: they end with it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::{Executor, Read, Write};
use tokio::task::JoinSet;

use crate::Options;
use crate::head::Form;
use crate::upload::Upload;

/// What one response may make us hold before its guest reads it.
const STREAM_WINDOW: u32 = 256 * 1024;

/// Sixteen unread responses, before they hold up the others of their connection.
const CONNECTION_WINDOW: u32 = 16 * STREAM_WINDOW;

/// What one request may make us hold before its upstream reads it.
const SEND_BUFFER: usize = 256 * 1024;

/// A connection that a request can be sent on. Dropping the last handle closes it.
pub(crate) enum Connection {
    /// For one request at a time.
    Http1 {
        sender: http1::SendRequest<Upload>,
        _driver: Tasks,
    },
    /// For many at once.
    Http2 {
        sender: http2::SendRequest<Upload>,
        driver: Arc<Tasks>,
    },
}

impl Connection {
    pub(crate) async fn http1<T>(io: T, options: &Options) -> hyper::Result<Connection>
    where
        T: Read + Write + Unpin + Send + 'static,
    {
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(options.head_buffer())
            .max_header_size(options.response_head)
            .max_headers(options.response_fields)
            .handshake(io)
            .await?;
        let tasks = Tasks::default();
        tasks.spawner().execute(watch(driver));
        Ok(Connection::Http1 {
            sender,
            _driver: tasks,
        })
    }

    pub(crate) async fn http2<T>(io: T, options: &Options) -> hyper::Result<Connection>
    where
        T: Read + Write + Unpin + Send + 'static,
    {
        let tasks = Tasks::default();
        let (sender, driver) = http2::Builder::new(tasks.spawner())
            .max_header_list_size(options.response_head.try_into().unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .handshake(io)
            .await?;
        tasks.spawner().execute(watch(driver));
        Ok(Connection::Http2 {
            sender,
            driver: Arc::new(tasks),
        })
    }

    pub(crate) fn form(&self) -> Form {
        match self {
            Connection::Http1 { .. } => Form::Http1,
            Connection::Http2 { .. } => Form::Http2,
        }
    }

    /// Gives the request back when it was provably not sent.
    pub(crate) async fn send(
        &mut self,
        request: Request<Upload>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Upload>>> {
        match self {
            Connection::Http1 { sender, .. } => sender.try_send_request(request).await,
            Connection::Http2 { sender, .. } => sender.try_send_request(request).await,
        }
    }

    /// Another handle, when the connection can serve many requests.
    pub(crate) fn share(&self) -> Option<Connection> {
        match self {
            Connection::Http1 { .. } => None,
            Connection::Http2 { sender, driver } => Some(Connection::Http2 {
                sender: sender.clone(),
                driver: driver.clone(),
            }),
        }
    }

    /// Whether a request could be sent at once.
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Connection::Http1 { sender, .. } => sender.is_ready(),
            Connection::Http2 { sender, .. } => sender.is_ready(),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Connection::Http1 { sender, .. } => sender.is_closed(),
            Connection::Http2 { sender, .. } => sender.is_closed(),
        }
    }

    /// Whether another handle is at work.
    pub(crate) fn is_shared(&self) -> bool {
        match self {
            Connection::Http1 { .. } => false,
            Connection::Http2 { driver, .. } => Arc::strong_count(driver) > 1,
        }
    }
}

/// Tasks that are aborted when their owner goes.
#[derive(Default)]
pub(crate) struct Tasks(Arc<Mutex<JoinSet<()>>>);

/// Adds tasks to an owner. Holds it weakly: the tasks themselves hold this, and would keep each other alive.
#[derive(Clone)]
pub(crate) struct Spawner(Weak<Mutex<JoinSet<()>>>);

impl Tasks {
    pub(crate) fn spawner(&self) -> Spawner {
        Spawner(Arc::downgrade(&self.0))
    }
}

impl<F> Executor<F> for Spawner
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let Some(tasks) = self.0.upgrade() else {
            return;
        };
        let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // An HTTP/2 connection has tasks for each request: forget those that are done.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

/// Whoever waits for a response hears of the failure from there; a connection that nobody uses just ends.
async fn watch(driver: impl Future<Output = hyper::Result<()>>) {
    if let Err(error) = driver.await {
        tracing::trace!(%error, "an outbound connection ended");
    }
}
