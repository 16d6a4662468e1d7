//! The first decision, by name: what a component's own list says about a destination.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use runner_manifest::{
    AllowList, AllowedHost, ComponentId, Destination, Origin, Place, Verdict, may_dial,
};

use crate::Denied;

/// What one component was granted; made when its app is loaded, shared by all its requests.
#[derive(Clone, Debug)]
pub struct Grants {
    /// Whose grants these are.
    pub component: ComponentId,
    /// Where it may connect to.
    pub allow: AllowList,
    /// The component's header in the manifest.
    pub place: Option<Place>,
    /// Which load of the app this is. Connections of an older one are not used again.
    pub generation: u64,
}

/// Where a permitted call goes.
#[derive(Debug)]
pub enum Permitted {
    /// To the component's own app, by its public routes.
    Own,
    /// To another component of the same app.
    Component(ComponentId),
    /// Out of the process.
    Remote(Permit),
}

/// A destination that some list allowed: what [`Outbound::send`](crate::Outbound::send) asks for. [`permit`] is its
/// only source, and it is good for one request.
#[derive(Debug)]
pub struct Permit {
    origin: Origin,
    grants: Arc<Grants>,
    rule: AllowedHost,
    opens: Vec<IpNet>,
}

/// Decides whether a component may call `to`.
pub fn permit(grants: &Arc<Grants>, to: &Destination) -> Result<Permitted, Denied> {
    match grants.allow.check(to) {
        Verdict::Deny { nearest } => Err(Denied::by_name(grants, to, nearest)),
        Verdict::Allow { rule, opens } => Ok(match to {
            Destination::Own => Permitted::Own,
            Destination::Component(id) => Permitted::Component(id.clone()),
            Destination::Remote(origin) => Permitted::Remote(Permit {
                origin: origin.clone(),
                grants: grants.clone(),
                rule: rule.clone(),
                opens,
            }),
        }),
    }
}

impl Permit {
    /// What may be dialled.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whose permit this is.
    pub fn component(&self) -> &ComponentId {
        &self.grants.component
    }

    /// The rule that allowed it.
    pub fn rule(&self) -> Option<&AllowedHost> {
        Some(&self.rule)
    }

    pub(crate) fn grants(&self) -> &Grants {
        &self.grants
    }

    /// The second decision, by address: global ones, and those that the component's own rules write out.
    pub(crate) fn covers(&self, address: IpAddr) -> bool {
        may_dial(address, &self.opens)
    }
}
