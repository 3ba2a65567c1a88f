//! To which namespaces of a cluster an object is visible (Admiral, docs/admiral-behaviour.md#exportto, without its
//! leaks).

use std::collections::BTreeSet;

use crate::{
    config::Settings,
    plan::input::{ServiceInput, Target},
};

/// The `exportTo` list; empty for every namespace.
pub(super) fn namespaces(service: &ServiceInput, target: &Target, settings: &Settings) -> Vec<String> {
    let key = &service.key;
    let host = format!("{}.{}.{}", key.environment, service.identity, settings.hostname_suffix).to_ascii_lowercase();
    let narrowed =
        settings.exportto_identity_list.iter().any(|part| part == "*" || host.contains(&part.to_ascii_lowercase()));
    // Who calls an undeclared service is not known: narrowing would cut its callers off.
    if !settings.enable_sw_aware_ns_caches || !narrowed || !service.declared {
        return Vec::new();
    }
    let is_source = service.sources.iter().any(|source| target.is_read_in(&source.cluster));
    let mut namespaces: BTreeSet<String> = target.dependent_namespaces.iter().map(ToString::to_string).collect();
    if is_source {
        let gateways =
            target.served_clusters.iter().map(|reader| service.istio_namespaces.of(&reader.cluster).to_string());
        namespaces.extend(gateways);
        namespaces.extend(target.identity_namespaces.iter().map(ToString::to_string));
    }
    if namespaces.len() > settings.exportto_max_namespaces {
        return vec!["*".into()];
    }
    namespaces.into_iter().collect()
}
