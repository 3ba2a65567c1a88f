//! Which unit an object is written for: as what is written on it says, and by its name only where nothing does.
//!
//! Managed objects say their service, host and origin themselves. Names decide for objects of others that take the place of one
//! that is wanted, and for those that say nothing because an earlier version or Admiral wrote them.

use crate::{
    istio::{NAMESPACE_RULE_SUFFIXES, Owner},
    model::{ClusterName, Host, Kind, ObjectId, WorkKey, Written},
};

/// Endings of the names of ServiceEntries and DestinationRules, behind their host (Admiral,
/// docs/admiral-behaviour.md#serviceentry-fields).
const NAME_SUFFIXES: [&str; 3] = ["-se", "-default-dr", "-dr"];

/// The host that a ServiceEntry or DestinationRule is written for, or whose place it takes.
pub(super) fn host(written: &Written) -> Option<Host> {
    if !matches!(written.id.kind, Kind::ServiceEntry | Kind::DestinationRule) || written.origin.is_some() {
        return None;
    }
    let says = written.host.as_deref().filter(|_| written.owner != Owner::Foreign);
    says.and_then(|host| Host::parse(host).ok()).or_else(|| host_in_name(&written.id))
}

/// The host for which an object of this name is wanted.
fn host_in_name(id: &ObjectId) -> Option<Host> {
    NAME_SUFFIXES.iter().find_map(|suffix| Host::parse(id.name.strip_suffix(suffix)?).ok())
}

/// The namespace for whose Services a rule is written: of a managed one as its host says, `*.<namespace>.svc.<domain>`. It may be in
/// what was the Istio namespace before.
pub(super) fn rule_namespace(written: &Written) -> Option<&str> {
    if written.id.kind != Kind::DestinationRule {
        return None;
    }
    let is_rule = written.owner == Owner::Tradewind && written.service.is_none() && written.origin.is_none();
    let says = written.host.as_deref().filter(|_| is_rule).and_then(namespace_in_host);
    says.or_else(|| NAMESPACE_RULE_SUFFIXES.iter().find_map(|suffix| written.id.name.strip_suffix(suffix)))
}

fn namespace_in_host(host: &str) -> Option<&str> {
    let (namespace, rest) = host.strip_prefix("*.")?.split_once('.')?;
    rest.starts_with("svc.").then_some(namespace)
}

/// The unit of a namespace that an object is written for: its Sidecar, or its rules.
pub(super) fn unit_of_namespace(cluster: &ClusterName, written: &Written) -> Option<WorkKey> {
    if written.id.kind == Kind::Sidecar {
        return Some(WorkKey::Sidecar(cluster.clone(), written.id.namespace.clone()));
    }
    rule_namespace(written).map(|namespace| WorkKey::Namespace(cluster.clone(), namespace.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServiceKey;

    fn written(kind: Kind, name: &str, owner: Owner, host: Option<&str>) -> Written {
        Written {
            id: ObjectId::new(kind, "admiral-sync", name),
            uid: "u".into(),
            resource_version: "1".into(),
            owner,
            service: None,
            identity: None,
            digest: 0,
            host: host.map(Into::into),
            further_hosts: Vec::new(),
            address: None,
            adoption: None,
            policies: Vec::new(),
            recalled: Default::default(),
            ports: Vec::new(),
            endpoints: Vec::new(),
            sidecar: None,
            origin: None,
            shape: Default::default(),
            content: None,
        }
    }

    fn host_of(kind: Kind, name: &str, owner: Owner, says: Option<&str>) -> Option<String> {
        host(&written(kind, name, owner, says)).map(|host| host.to_string())
    }

    #[test]
    fn a_managed_object_is_for_the_host_in_its_spec() {
        for kind in [Kind::ServiceEntry, Kind::DestinationRule] {
            let found = host_of(kind, "other.cart.global-se", Owner::Tradewind, Some("stage.pay.global"));
            assert_eq!(found.as_deref(), Some("stage.pay.global"));
        }
        assert_eq!(host_of(Kind::EnvoyFilter, "x-se", Owner::Tradewind, Some("stage.pay.global")), None);
    }

    #[test]
    fn the_object_name_decides_if_the_content_does_not_or_is_foreign() {
        for name in ["stage.pay.global-se", "stage.pay.global-default-dr", "stage.pay.global-dr"] {
            let kind = if name.ends_with("se") { Kind::ServiceEntry } else { Kind::DestinationRule };
            for (owner, says) in [(Owner::Tradewind, None), (Owner::Admiral, None), (Owner::Foreign, Some("a.example"))]
            {
                assert_eq!(host_of(kind, name, owner, says).as_deref(), Some("stage.pay.global"), "{name}");
            }
        }
        assert_eq!(host_of(Kind::ServiceEntry, "own", Owner::Foreign, Some("stage.pay.global")), None);
    }

    #[test]
    fn a_rule_is_for_the_namespace_of_its_host_or_its_name() {
        let rule = |name: &str, owner, host| written(Kind::DestinationRule, name, owner, host);
        let managed = rule("x", Owner::Tradewind, Some("*.shop.svc.cluster.example"));
        assert_eq!(rule_namespace(&managed), Some("shop"));
        let of_service = Written { service: ServiceKey::parse("pay", "stage").ok(), ..managed.clone() };
        assert_eq!(rule_namespace(&of_service), None);
        let foreign = Written { owner: Owner::Foreign, ..managed.clone() };
        assert_eq!(rule_namespace(&foreign), None);
        let [in_cluster, _] = NAMESPACE_RULE_SUFFIXES;
        for owner in [Owner::Tradewind, Owner::Foreign] {
            assert_eq!(rule_namespace(&rule(&format!("shop{in_cluster}"), owner, None)), Some("shop"));
        }
        let east = ClusterName::parse("east").unwrap();
        assert_eq!(unit_of_namespace(&east, &managed), Some(WorkKey::Namespace(east.clone(), "shop".into())));
        let sidecar = written(Kind::Sidecar, "default", Owner::Foreign, None);
        assert_eq!(unit_of_namespace(&east, &sidecar), Some(WorkKey::Sidecar(east, "admiral-sync".into())));
    }
}
