//! How many files and sockets this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More connections than this are no machine's work; some systems have no limit at all.
const MOST: u64 = 1_048_576;

/// Raises the limit in force to the hard one, as any process may, and gives what is in force then. The low usual one is
/// for programs that use `select`.
pub(crate) fn raise() -> usize {
    let limits = getrlimit(Resource::Nofile);
    let current = limits.current.unwrap_or(MOST);
    let wanted = limits.maximum.unwrap_or(MOST).min(MOST);
    let in_force = if wanted <= current {
        current
    } else {
        raise_to(wanted, current, limits)
    };
    usize::try_from(in_force).unwrap_or(usize::MAX)
}

fn raise_to(wanted: u64, current: u64, limits: Rlimit) -> u64 {
    let raised = Rlimit {
        current: Some(wanted),
        ..limits
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::info!(%error, current, wanted, "the limit of open files stays as it is");
            current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d22_all_descriptors_there_may_be_are_there() {
        let raised = raise() as u64;
        let limits = getrlimit(Resource::Nofile);
        assert_eq!(limits.current.unwrap_or(raised), raised);
        assert!(limits.maximum.unwrap_or(MOST).min(MOST) <= raised);
        assert_eq!(raise() as u64, raised);
    }
}
