//! The door out, through real guests and real sockets: what is denied, what is allowed, and what an upstream can do.
//!
//! A name such as `c17` is a row of the catalogue of destinations.

mod addresses;
mod concurrency;
mod destinations;
mod floods;
mod framing;
mod hostile;
mod inside;
mod narrow;
mod raw;
mod requests;
mod rules;
mod scene;
mod sharing;
mod tls;
mod upstream;
