//! The only way out: every outbound connection of every component starts here.
//!
//! Two decisions, in two places. [`permit`] decides by name, against the component's own list, and is the only
//! source of a [`Permit`]. [`Outbound::send`] takes the permit and decides by address: it resolves once, keeps what
//! is global or written out by the component's own rules, and dials nothing else.
//!
//! Beside it stands [`OperatorClient`], by which no component can be served: it takes no permit and knows one place.
//!
//! ```
//! use std::sync::Arc;
//! use runner_manifest::{AllowList, Call, Destination};
//! use runner_outbound::{Grants, Permitted, permit};
//!
//! let grants = Arc::new(Grants {
//!     component: "shop".parse()?,
//!     allow: AllowList::parse(["https://api.example.com"])?,
//!     place: None,
//!     generation: 1,
//! });
//! let allowed = Destination::from_url("https://api.example.com/v1/items")?;
//! let Permitted::Remote(permit) = permit(&grants, &Call::get(&allowed))? else { unreachable!() };
//! assert_eq!(permit.origin().to_string(), "https://api.example.com");
//!
//! let denied = Destination::from_url("https://example.com/")?;
//! assert!(runner_outbound::permit(&grants, &Call::get(&denied)).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod body;
mod connect;
mod connection;
mod denied;
mod error;
mod head;
mod operator;
mod options;
mod permit;
mod pool;
mod resolve;
mod send;
mod tls;
mod upload;

pub use body::Body;
pub use denied::{Denied, Suggestion};
pub use error::{BoxError, Error};
pub use operator::OperatorClient;
pub use options::{Options, Timeouts};
pub use permit::{Grants, Permit, Permitted, Rule, permit};
pub use send::Outbound;
