//! Whom a certificate stands for: the URI among its names, `holdfast://<cluster>/<who>`.
//!
//! The cluster is its id in 32 hex digits. `who` is a node's id; or `instance-` and the id of a data folder in 32 hex digits,
//! for a node that has no id yet; or `any`, for nodes that share one certificate; or `operator`, who is no node at all. A node's
//! id and its folder belong together by the membership, so either of them is as good.

use std::fmt;

use crate::session::Hello;
use crate::types::NodeId;

const SCHEME: &str = "holdfast://";
const INSTANCE: &str = "instance-";

/// The holder of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    pub cluster_id: u128,
    pub who: Who,
}

/// The holder's part in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Node(NodeId),
    /// The node with this data folder.
    Instance(u128),
    AnyNode,
    Operator,
}

impl Principal {
    /// Reads the URI.
    pub fn parse(uri: &str) -> Option<Principal> {
        let (cluster, who) = uri.strip_prefix(SCHEME)?.split_once('/')?;
        let who = match who {
            "any" => Who::AnyNode,
            "operator" => Who::Operator,
            who => match who.strip_prefix(INSTANCE) {
                Some(instance) => Who::Instance(id_of(instance)?),
                None if who.bytes().all(|byte| byte.is_ascii_digit()) => Who::Node(who.parse().ok()?),
                None => return None,
            },
        };
        Some(Principal { cluster_id: id_of(cluster)?, who })
    }

    /// Whether the holder may speak as this node.
    pub fn may_be(&self, node_id: NodeId, instance: u128) -> bool {
        match self.who {
            Who::Node(id) => id == node_id,
            Who::Instance(id) => id == instance,
            Who::AnyNode => true,
            Who::Operator => false,
        }
    }

    /// Whether the holder is who it says it is.
    pub fn may_say(&self, hello: &Hello) -> bool {
        self.cluster_id == hello.cluster_id && self.may_be(hello.node_id, hello.instance)
    }

    /// Whether the holder is whom the one who said this wants to reach.
    pub fn may_hear(&self, hello: &Hello) -> bool {
        self.cluster_id == hello.cluster_id && self.may_be(hello.expected_node_id, hello.expected_instance)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{:032x}/", self.cluster_id)?;
        match self.who {
            Who::Node(id) => write!(f, "{id}"),
            Who::Instance(id) => write!(f, "{INSTANCE}{id:032x}"),
            Who::AnyNode => f.write_str("any"),
            Who::Operator => f.write_str("operator"),
        }
    }
}

/// An id of 128 bits from its 32 hex digits.
fn id_of(text: &str) -> Option<u128> {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex { u128::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_read_as_it_is_written() {
        for who in [Who::Node(7), Who::Instance(0xab), Who::AnyNode, Who::Operator] {
            let principal = Principal { cluster_id: 0xc1, who };
            assert_eq!(Principal::parse(&principal.to_string()), Some(principal));
        }
        let cluster = format!("{:032x}", 0xc1);
        for bad in ["", "https://x/1", "holdfast://c1/1", "holdfast://"] {
            assert_eq!(Principal::parse(bad), None, "{bad}");
        }
        for who in ["", "-1", "+1", "1/2", "instance-1", "somebody", "99999999999999999999"] {
            assert_eq!(Principal::parse(&format!("holdfast://{cluster}/{who}")), None, "{who}");
        }
    }

    #[test]
    fn nobody_speaks_as_another() {
        let may_be = |who| Principal { cluster_id: 1, who }.may_be(7, 70);
        assert!(may_be(Who::Node(7)) && may_be(Who::Instance(70)) && may_be(Who::AnyNode));
        assert!(!may_be(Who::Node(8)) && !may_be(Who::Instance(7)) && !may_be(Who::Operator));
    }
}
