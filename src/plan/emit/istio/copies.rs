//! Copies of users' VirtualServices and DestinationRules (Admiral,
//! docs/admiral-behaviour.md#user-virtualservices-and-destinationrules, without its leaks).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    config::Settings,
    istio::{Metadata, Object, Opaque, keys},
    model::Kind,
    plan::{decide::RouteCopy, input::HostRoute},
};

/// Longest name of an object, in characters (Kubernetes).
const MAX_NAME_CHARS: usize = 253;

pub(super) fn object(copy: &RouteCopy, settings: &Settings) -> Object {
    let mut spec = (*copy.spec).clone();
    if !copy.visible_in.is_empty() {
        spec["exportTo"] = Value::from(copy.visible_in.clone());
    }
    let object = Opaque { metadata: metadata(&copy.origin, settings), spec };
    match copy.origin.route.id.kind {
        Kind::DestinationRule => Object::RuleCopy(object),
        _ => Object::VirtualService(object),
    }
}

fn metadata(origin: &HostRoute, settings: &Settings) -> Metadata {
    let route = &origin.route;
    let left_out = &settings.ignore_labels_annotations_vs_copy_list;
    let fixed = [keys::MANAGED_BY, keys::CREATED_BY];
    let is_copied =
        |key: &&String| !left_out.contains(key) && !fixed.contains(&key.as_str()) && !key.starts_with("tradewind.io/");
    let copied = |from: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        from.iter().filter(|(key, _)| is_copied(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let (mut labels, mut annotations) = (copied(&route.labels), copied(&route.annotations));
    let listed = |map: &BTreeMap<String, String>| map.keys().cloned().collect::<Vec<_>>().join(",");
    let lists = [(keys::COPIED_LABELS, listed(&labels)), (keys::COPIED_ANNOTATIONS, listed(&annotations))];
    labels.insert(keys::MANAGED_BY.into(), keys::TRADEWIND.into());
    annotations.insert(keys::CREATED_BY.into(), keys::TRADEWIND.into());
    annotations.insert(keys::ORIGIN.into(), origin.route.id.in_cluster(&origin.cluster).text());
    for (key, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        annotations.insert(key.into(), list);
    }
    let namespace = settings.sync_namespace.clone();
    Metadata { name: name_of(origin), namespace, labels, annotations }
}

/// Name of a copy: it begins with the name of its origin and ends with a hash that differs for every origin.
fn name_of(one: &HostRoute) -> String {
    let id = &one.route.id;
    let whole = format!("{}/{}/{}/{}", one.cluster, id.kind.as_str(), id.namespace, id.name);
    // FNV-1a: the same in every version of Tradewind, which no hasher of the standard library promises.
    let hash = whole
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let end = format!("-{hash:016x}");
    let begin: String = format!("{}-{}", id.namespace, id.name).chars().take(MAX_NAME_CHARS - end.len()).collect();
    format!("{}{end}", begin.trim_end_matches(['-', '.']))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use super::*;
    use crate::{
        model::{ClusterName, ObjectId, Route},
        plan::input::RouteOwner,
    };

    fn one(cluster: &str, namespace: &str, name: &str) -> HostRoute {
        let route = Route {
            id: ObjectId::new(Kind::VirtualService, namespace, name),
            created_seconds: 0,
            ignored: false,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            hosts: Vec::new(),
            export_to: Vec::new(),
            spec: Arc::new(Value::Null),
        };
        HostRoute {
            cluster: ClusterName::parse(cluster).unwrap(),
            domain: "cluster.local".into(),
            route: Arc::new(route),
            of_rollout: false,
            owner: RouteOwner::LastKnown,
        }
    }

    #[test]
    fn names_never_collide_and_fit() {
        let names: BTreeSet<String> = [("east", "a-b", "c"), ("east", "a", "b-c"), ("west", "a", "b-c")]
            .map(|(x, y, z)| name_of(&one(x, y, z)))
            .into();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(names.iter().all(|name| name.starts_with("a-b-c-")), "{names:?}");
        let long = name_of(&one("east", &"n".repeat(63), &format!("{}.{}", "x".repeat(171), "y".repeat(80))));
        assert!(long.len() <= MAX_NAME_CHARS && !long.contains(".-"), "{long}");
    }
}
