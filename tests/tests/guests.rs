//! The committed guests are the ones their sources say.
