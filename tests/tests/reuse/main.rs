//! Instances that serve more than one request.

mod concurrent;
mod host;
mod serial;
