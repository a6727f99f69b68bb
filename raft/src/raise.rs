//! Raising the cluster's version: looked at first, like a change of the members, and then written into the log.
//!
//! A version is raised only when every member, voter or learner, answers now and runs a build that knows it: whoever comes later
//! with an older one is refused. There is no way back, so nothing is raised by itself.

use holdfast_ledger::version::Version;
use serde::{Deserialize, Serialize};

use crate::plan::{Refusal, Standing, View};
use crate::version::Build;

/// What raising the version would do; without a wish, how the members stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaisePlan {
    /// What the cluster is at.
    pub version: Version,
    /// What it is to be at.
    pub to: Version,
    /// The leader's build.
    pub build: Build,
    /// All members, as the leader sees them, each with its build.
    pub members: Vec<Standing>,
    pub refusal: Option<Refusal>,
}

/// Asks for a [`RaisePlan`], or for the raise itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaiseMessage {
    /// `None`: as high as the leader's build knows.
    pub to: Option<Version>,
    pub make: bool,
    /// SHA-256 of the certificate that the operator has shown, for the audit.
    pub certificate: Option<[u8; 32]>,
}

/// What raising the version to `to` would do. `view.live` is who answers now.
pub fn plan(view: &View, own: Build, to: Option<Version>) -> RaisePlan {
    let to = to.unwrap_or(own.versions.max);
    let members = view.plan(None, u64::MAX).members;
    let refusal = refusal(view, &own, to, &members);
    RaisePlan { version: view.version, to, build: own, members, refusal }
}

fn refusal(view: &View, own: &Build, to: Version, members: &[Standing]) -> Option<Refusal> {
    if to <= view.version {
        return Some(Refusal::VersionReached { version: view.version });
    }
    let too_old = |node_id, build: &Build| Refusal::TooOld {
        node_id,
        build: build.name.clone(),
        knows: build.versions,
        version: to,
    };
    if !own.versions.contains(to) {
        return Some(too_old(view.leader, own));
    }
    let others = members.iter().filter(|member| member.node_id != view.leader);
    others.into_iter().find_map(|member| match &member.build {
        _ if !member.live => Some(Refusal::NotLive { node_id: member.node_id }),
        None => Some(Refusal::BuildNotKnown { node_id: member.node_id }),
        Some(build) if !build.versions.contains(to) => Some(too_old(member.node_id, build)),
        Some(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use holdfast_ledger::version::Versions;

    use super::*;
    use crate::types::NodeRecord;

    fn knows(max: Version) -> Build {
        Build { name: format!("0.{max}"), versions: Versions { min: 1, max } }
    }

    fn refused(change: impl FnOnce(&mut View), to: Option<Version>) -> Option<String> {
        let mut view = View { leader: 1, version: 1, ..View::default() };
        view.configs = vec![[1, 2].into()];
        view.nodes = (1..=3).map(|id| (id, NodeRecord::default())).collect();
        view.live = (1..=3).collect();
        view.builds = (2..=3).map(|id| (id, knows(2))).collect();
        change(&mut view);
        plan(&view, knows(2), to).refusal.map(|refusal| refusal.to_string())
    }

    #[test]
    fn a_version_is_raised_when_every_member_answers_and_knows_it() {
        assert_eq!(refused(|_| {}, None), None);
        assert_eq!(refused(|_| {}, Some(2)), None);
        let said = |refusal: Option<String>, words: &str| {
            assert!(refusal.as_ref().is_some_and(|line| line.contains(words)), "{refusal:?}, not {words}");
        };
        said(refused(|_| {}, Some(1)), "at version 1 already");
        said(refused(|_| {}, Some(3)), "node 1 runs 0.2");
        said(refused(|view| _ = view.live.remove(&3), None), "node 3 does not answer");
        said(refused(|view| _ = view.builds.remove(&3), None), "node 3");
        said(refused(|view| _ = view.builds.insert(2, knows(1)), None), "node 2 runs 0.1");
        said(refused(|view| view.version = 2, None), "at version 2 already");
    }
}
