//! Ends of the names of written objects, by which they are found again.

/// End of the names of VirtualServices that route inside a cluster (Admiral,
/// docs/admiral-behaviour.md#in-cluster-virtualservice).
pub const IN_CLUSTER_SUFFIX: &str = "-incluster-vs";
/// End of the names of the rules of a namespace, behind the namespace (Admiral,
/// docs/admiral-behaviour.md#in-cluster-destinationrule and docs/admiral-behaviour.md#ingress-routing).
pub const NAMESPACE_RULE_SUFFIXES: [&str; 2] = [".svc.cluster.local-incluster-dr", ".svc.cluster.local-routing-dr"];
