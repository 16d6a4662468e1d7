//! Who an app is while its process lives.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::doors::Doors;

/// Who an app is for as long as its process lives: one for all its loads, so that what is counted or limited over its
/// components begins anew with no reload, and is shared with no other app. Cheap to clone.
#[derive(Clone)]
pub struct Tenant(Arc<Inner>);

struct Inner {
    id: TenantId,
    name: Box<str>,
    doors: Doors,
}

/// Tells tenants apart. No two of a process have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(pub(crate) u64);

impl Tenant {
    /// A new one. The name is for people; two may have the same.
    pub fn new(name: &str) -> Tenant {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Tenant(Arc::new(Inner {
            id: TenantId(NEXT.fetch_add(1, Ordering::Relaxed)),
            name: name.into(),
            doors: Doors::default(),
        }))
    }

    /// What tells it from others.
    pub fn id(&self) -> TenantId {
        self.0.id
    }

    pub(crate) fn doors(&self) -> &Doors {
        &self.0.doors
    }

    /// Its name, as logs and metrics have it.
    pub fn name(&self) -> &str {
        &self.0.name
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tenant").field(&self.0.name).finish()
    }
}
