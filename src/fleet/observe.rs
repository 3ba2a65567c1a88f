//! Pruning: a real Kubernetes or Istio object → the few fields that decide something.
//!
//! Both backends hand every object through here, so that a manifest in a directory and the same
//! object in a live cluster mean the same. Decides what is kept and what each field means (Admiral,
//! docs/admiral-behaviour.md#workloads and docs/admiral-behaviour.md#clusters); never whether an object matters to a
//! service.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        core::v1 as core,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    observe_availability, observe_gateway,
    observe_ports::{addressing, named_ports, named_ports_of, service_port},
    observe_rollout, observe_slice, users_route,
};
use crate::{
    api::DependencySpec,
    config::Settings,
    istio::{self, Owner, keys},
    manifest::words,
    model::{
        Availability, DependencyDecl, Kind, Labels, LocalService, Locality, MalformedObject, Namespace, Node, ObjectId,
        Observed, Route, Workload, is_dns_label, is_dns_subdomain, printable,
    },
};

/// Hides an object when `true` (Admiral, docs/admiral-behaviour.md#ignored-objects).
pub(super) const IGNORE: &str = "admiral.io/ignore";
/// Region of a Node: today's label, then the one that Kubernetes deprecated in 1.17.
const REGION_LABELS: [&str; 2] = ["topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"];
/// Zone of a Node, in the same order.
const ZONE_LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"];
/// Longest part of a name that is shown: no name of an object is longer.
const MAX_SHOWN_NAME_CHARS: usize = 253;
/// Labels of a Namespace that decide whether its pods have a sidecar.
const MESH_LABELS: [&str; 3] = [keys::NAMESPACE_INJECTION, keys::REVISION, keys::DATAPLANE_MODE];

/// What is read of a pod's spec.
#[derive(Debug, Clone, Copy, Default)]
struct PodSpecFields<'a> {
    service_account: Option<&'a str>,
    host_network: bool,
}

impl<'a> PodSpecFields<'a> {
    fn of(template: Option<&'a core::PodTemplateSpec>) -> Self {
        let spec = template.and_then(|template| template.spec.as_ref());
        Self {
            service_account: spec.and_then(|spec| spec.service_account_name.as_deref()),
            host_network: spec.and_then(|spec| spec.host_network).unwrap_or(false),
        }
    }
}

/// Prunes objects by the rules of one set of settings.
#[derive(Debug, Clone)]
pub struct Observer {
    settings: Arc<Settings>,
    istio_namespace: Arc<str>,
    pub(super) owned: istio::OwnedKeys,
    pub(super) keep_content: bool,
}

impl Observer {
    /// `keep_content` keeps written objects whole, for commands that show differences; it costs memory.
    #[must_use]
    pub fn new(settings: Arc<Settings>, keep_content: bool) -> Self {
        let istio_namespace = settings.istio_namespace.as_str().into();
        Self { owned: settings.owned_keys(), settings, istio_namespace, keep_content }
    }

    /// The same rules for a cluster with this Istio namespace.
    #[must_use]
    pub fn for_istio_namespace(&self, istio_namespace: Arc<str>) -> Self {
        Self { istio_namespace, ..self.clone() }
    }

    /// The only namespace in which a kind is watched; none where it is watched in all, or has none.
    #[must_use]
    pub fn watched_namespace(&self, kind: Kind) -> Option<&str> {
        self.settings.watched_namespace(kind, &self.istio_namespace)
    }

    /// The settings it prunes by.
    #[must_use]
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Prunes an object that is still JSON.
    ///
    /// # Errors
    /// When a field does not have the type of its API, or the object has no name; names the field's path.
    pub fn observe_value(&self, kind: Kind, value: &Value) -> Result<Observed, MalformedObject> {
        check_names(value)?;
        Ok(match kind {
            Kind::Deployment => self.deployment(&read(value)?),
            Kind::StatefulSet => self.stateful_set(&read(value)?),
            Kind::DaemonSet => self.daemon_set(&read(value)?),
            Kind::Service => self.service(&read(value)?),
            Kind::EndpointSlice => observe_slice::read(&read(value)?),
            Kind::Node => node(&read(value)?),
            Kind::Namespace => namespace(&read(value)?),
            Kind::GlobalTrafficPolicy => Observed::Policy(self.configured(kind, value)?),
            Kind::TradewindConfig => Observed::TradewindConfig(self.configured(kind, value)?),
            Kind::IdentityClaim => Observed::IdentityClaim(self.configured(kind, value)?),
            Kind::Dependency => dependency(&read_metadata(value)?, read_spec(value)?),
            Kind::ServiceEntry => self.service_entry(value)?,
            Kind::WorkloadEntry => self.workload_entry(value)?,
            Kind::Sidecar | Kind::EnvoyFilter => self.written(kind, value)?,
            Kind::DestinationRule | Kind::VirtualService => self.route(kind, value)?,
            Kind::Rollout => self.rollout(value)?,
            Kind::Job => Observed::Workload(self.of_template(kind, value, "/spec/template/metadata")?),
            Kind::CronJob => {
                Observed::Workload(self.of_template(kind, value, "/spec/jobTemplate/spec/template/metadata")?)
            }
            Kind::Vertex | Kind::MonoVertex => Observed::Workload(self.of_template(kind, value, "/spec/metadata")?),
            Kind::OutlierDetection => Observed::OutlierDetection(self.configured(kind, value)?),
            Kind::ClientConnectionConfig => Observed::ClientConnectionConfig(self.configured(kind, value)?),
            Kind::RoutingPolicy => Observed::RoutingPolicy(self.configured(kind, value)?),
            Kind::TrafficConfig => Observed::TrafficConfig(self.configured(kind, value)?),
            Kind::DependencyProxy => Observed::DependencyProxy(self.configured(kind, value)?),
        })
    }

    /// Prunes a Deployment.
    fn deployment(&self, object: &Deployment) -> Observed {
        let template = object.spec.as_ref().map(|spec| &spec.template);
        let availability = observe_availability::of_deployment(object);
        self.of_pods(Kind::Deployment, &object.metadata, template, availability)
    }

    /// Prunes a StatefulSet.
    fn stateful_set(&self, object: &StatefulSet) -> Observed {
        let template = object.spec.as_ref().map(|spec| &spec.template);
        let availability = observe_availability::of_stateful_set(object);
        self.of_pods(Kind::StatefulSet, &object.metadata, template, availability)
    }

    /// Prunes a DaemonSet.
    fn daemon_set(&self, object: &DaemonSet) -> Observed {
        let template = object.spec.as_ref().map(|spec| &spec.template);
        let availability = observe_availability::of_daemon_set(object);
        self.of_pods(Kind::DaemonSet, &object.metadata, template, availability)
    }

    /// Prunes a workload of a kind of Kubernetes' own.
    fn of_pods(
        &self,
        kind: Kind,
        metadata: &ObjectMeta,
        template: Option<&core::PodTemplateSpec>,
        availability: Availability,
    ) -> Observed {
        let spec = template.and_then(|template| template.spec.as_ref());
        let pods = PodSpecFields::of(template);
        let template = template.and_then(|template| template.metadata.as_ref());
        Observed::Workload(Workload {
            availability,
            named_ports: spec.and_then(named_ports),
            ..self.workload(kind, metadata, template, pods)
        })
    }

    /// Prunes a workload of a custom kind, whose pod template's metadata are at `template`.
    fn of_template(&self, kind: Kind, value: &Value, template: &str) -> Result<Workload, MalformedObject> {
        let metadata = read_metadata(value)?;
        // A pod template has a spec of its own; a vertex is its own template.
        let of_pods = template.strip_suffix("/metadata").filter(|template| *template != "/spec");
        let spec = value.pointer(&of_pods.map_or("/spec".to_owned(), |template| format!("{template}/spec")));
        let field = |name: &str| spec.and_then(|spec| spec.get(name));
        let pods = PodSpecFields {
            service_account: field("serviceAccountName").and_then(Value::as_str),
            host_network: field("hostNetwork").and_then(Value::as_bool).unwrap_or(false),
        };
        let template = value.pointer(template).map(read::<ObjectMeta>).transpose()?;
        let mut workload = self.workload(kind, &metadata, template.as_ref(), pods);
        if Kind::CLIENTS.contains(&kind) {
            // A client's pod template may carry the mark, too (Admiral, docs/admiral-behaviour.md#ignored-objects).
            workload.ignored |= is_true(template.as_ref().and_then(|template| template.annotations.as_ref()), IGNORE);
        }
        Ok(workload)
    }

    fn rollout(&self, value: &Value) -> Result<Observed, MalformedObject> {
        let mut workload = self.of_template(Kind::Rollout, value, "/spec/template/metadata")?;
        workload.named_ports = named_ports_of(value.pointer("/spec/template/spec"));
        workload.rollout = Some(Box::new(observe_rollout::read(value)?));
        workload.availability = observe_availability::of_rollout(value);
        Ok(Observed::Workload(workload))
    }

    /// Prunes a VirtualService or DestinationRule: a user's, unless it is managed or in a namespace of managed objects.
    fn route(&self, kind: Kind, value: &Value) -> Result<Observed, MalformedObject> {
        let metadata = read_metadata(value)?;
        let marks = istio::Metadata {
            labels: metadata.labels.clone().unwrap_or_default(),
            annotations: metadata.annotations.clone().unwrap_or_default(),
            ..istio::Metadata::default()
        };
        let id = id(kind, &metadata);
        // What was written into an Istio namespace that is none any more is still to be removed.
        let may_be_managed = [&*self.settings.sync_namespace, &*self.istio_namespace].contains(&&*id.namespace)
            || self.is_marked_as_ours(&marks);
        let merged = self.is_merged_route(&id, &marks);
        let adopted = kind == Kind::DestinationRule && self.concerns_adoption(&id, &marks);
        if may_be_managed && !merged || adopted {
            return self.written(kind, value);
        }
        let ignored = is_true(metadata.annotations.as_ref(), IGNORE);
        let created = created_seconds(&metadata);
        let mut route = users_route::route(id, created, ignored, &metadata, value, &self.settings);
        if merged {
            // Its labels alone show for which host it was made.
            (route.labels, route.annotations) = (marks.labels.clone(), marks.annotations.clone());
            route.spec = Arc::new(value.get("spec").cloned().unwrap_or_default());
        }
        if marks.owner() != Owner::Foreign {
            // It belongs to another installation, with a sync namespace of its own, and is not a user's.
            route = Route { labels: Labels::new(), hosts: Vec::new(), spec: Arc::default(), ..route };
        }
        Ok(Observed::Route(Box::new(route)))
    }

    /// Whether a user's VirtualService in the sync namespace is merged into a managed one (Admiral,
    /// docs/admiral-behaviour.md#custom-virtualservices).
    fn is_merged_route(&self, id: &ObjectId, marks: &istio::Metadata) -> bool {
        let by = marks.labels.get("createdBy").map(String::as_str);
        self.settings.enable_custom_vs_merge
            && id.kind == Kind::VirtualService
            && *id.namespace == *self.settings.sync_namespace
            && marks.owner() == Owner::Foreign
            && by == Some(self.settings.process_vs_created_by.as_str())
    }

    /// Prunes a Service and reads a gateway's address (Admiral, docs/admiral-behaviour.md#gateway-discovery).
    fn service(&self, object: &core::Service) -> Observed {
        let metadata = &object.metadata;
        let spec = object.spec.as_ref();
        let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
        // Which of them are gateways is for the registry to say: it may differ from cluster to cluster.
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let app = filled(text(metadata.labels.as_ref(), "app")).filter(|_| self.may_hold_gateways(namespace));
        Observed::Service(LocalService {
            id: id(Kind::Service, metadata),
            created_seconds: created_seconds(metadata),
            ignored: is_true(metadata.annotations.as_ref(), IGNORE) || is_true(metadata.labels.as_ref(), IGNORE),
            selector: spec.and_then(|spec| spec.selector.clone()).unwrap_or_default(),
            external_name: spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName"),
            addressing: addressing(spec),
            ports: ports.iter().filter_map(service_port).collect(),
            gateway: app.map(|app| observe_gateway::read(object, app, self.settings.enable_absolute_fqdn)),
        })
    }

    fn may_hold_gateways(&self, namespace: &str) -> bool {
        match self.settings.gateway_namespaces.as_slice() {
            [] => namespace == &*self.istio_namespace,
            known => known.iter().any(|known| known == namespace),
        }
    }

    fn workload(
        &self,
        kind: Kind,
        metadata: &ObjectMeta,
        template: Option<&ObjectMeta>,
        pods: PodSpecFields<'_>,
    ) -> Workload {
        Workload {
            created_seconds: created_seconds(metadata),
            ignored: is_true(metadata.annotations.as_ref(), IGNORE),
            template_labels: template.and_then(|template| template.labels.clone()).unwrap_or_default(),
            template_annotations: self.observed_annotations(template.and_then(|t| t.annotations.as_ref())),
            additional_hosts: self.has_additional_hosts(metadata.labels.as_ref()),
            service_accounts: vec![filled(pods.service_account).unwrap_or("default").into()],
            host_network: pods.host_network,
            ..Workload::new(id(kind, metadata))
        }
    }

    /// By the labels of the workload itself (Admiral, docs/admiral-behaviour.md#additional-endpoints).
    pub(super) fn has_additional_hosts(&self, labels: Option<&Labels>) -> bool {
        let filters = &self.settings.additional_endpoint_label_filters;
        filters.iter().any(|key| key == "*" || labels.is_some_and(|labels| labels.contains_key(key)))
    }

    pub(super) fn observed_annotations(&self, annotations: Option<&Labels>) -> Labels {
        let Some(annotations) = annotations else { return Labels::new() };
        self.settings
            .observed_annotations()
            .into_iter()
            .filter_map(|key| Some((key.to_owned(), annotations.get(key)?.clone())))
            .collect()
    }
}

/// Prunes a Node.
fn node(object: &core::Node) -> Observed {
    let first = |keys: [&str; 2]| keys.into_iter().find_map(|key| filled(text(object.metadata.labels.as_ref(), key)));
    let locality = first(REGION_LABELS).map(|region| match first(ZONE_LABELS) {
        Some(zone) => Locality::zone(region, zone),
        None => Locality::region(region),
    });
    Observed::Node(Node { id: id(Kind::Node, &object.metadata), locality })
}

/// Prunes a Namespace.
fn namespace(object: &core::Namespace) -> Observed {
    let metadata = &object.metadata;
    Observed::Namespace(Namespace {
        id: id(Kind::Namespace, metadata),
        ignored: is_true(metadata.annotations.as_ref(), IGNORE),
        cluster_metadata: cluster_metadata(metadata),
        mesh_labels: MESH_LABELS
            .into_iter()
            .filter_map(|key| Some((key.to_owned(), metadata.labels.as_ref()?.get(key)?.clone())))
            .collect(),
    })
}

/// Prunes a Dependency.
fn dependency(metadata: &ObjectMeta, spec: DependencySpec) -> Observed {
    Observed::Dependency(DependencyDecl {
        id: id(Kind::Dependency, metadata),
        source: spec.source,
        destinations: spec.destinations,
    })
}

fn cluster_metadata(metadata: &ObjectMeta) -> Labels {
    let own = metadata.annotations.iter().flatten().filter(|(key, _)| key.starts_with("tradewind.io/"));
    let planes = metadata.annotations.iter().flatten().filter(|(key, _)| *key == keys::CONTROL_PLANE_CLUSTERS);
    let network = metadata.labels.iter().flatten().filter(|(key, _)| *key == keys::NETWORK);
    let facts = own.chain(planes).chain(network);
    facts.map(|(key, value)| (key.clone(), value.clone())).collect()
}

pub(super) fn id(kind: Kind, metadata: &ObjectMeta) -> ObjectId {
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    ObjectId::new(kind, namespace, metadata.name.as_deref().unwrap_or_default())
}

pub(super) fn created_seconds(metadata: &ObjectMeta) -> i64 {
    metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second())
}

fn text<'a>(map: Option<&'a BTreeMap<String, String>>, key: &str) -> Option<&'a str> {
    map?.get(key).map(String::as_str)
}

pub(super) fn is_true(map: Option<&BTreeMap<String, String>>, key: &str) -> bool {
    text(map, key) == Some("true")
}

pub(super) fn filled(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// A text of the metadata, or an empty one.
pub(super) fn metadata_text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_str).unwrap_or_default()
}

/// Names an object that may not parse otherwise. A text that can name none is shown as what it is.
#[must_use]
pub fn identify(kind: Kind, value: &Value) -> ObjectId {
    let shown = |field| printable(metadata_text(value, field), MAX_SHOWN_NAME_CHARS);
    ObjectId::new(kind, &shown("namespace"), &shown("name"))
}

/// Refuses what no API server takes for a name: it might become part of a path.
fn check_names(value: &Value) -> Result<(), MalformedObject> {
    let (namespace, name) = (metadata_text(value, "namespace"), metadata_text(value, "name"));
    if name.is_empty() {
        return Err(MalformedObject::missing("metadata.name"));
    }
    let wrong = match (is_dns_subdomain(name), namespace.is_empty() || is_dns_label(namespace)) {
        (true, true) => return Ok(()),
        (false, _) => "name",
        (true, false) => "namespace",
    };
    let reason = "is no name that an API server takes (DNS-1123)".to_owned();
    Err(MalformedObject { path: format!("metadata.{wrong}"), reason })
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T, MalformedObject> {
    read_at("", value)
}

pub(super) fn read_metadata(value: &Value) -> Result<ObjectMeta, MalformedObject> {
    read_at("metadata", value.get("metadata").unwrap_or(&Value::Null))
}

pub(super) fn read_spec<T: DeserializeOwned>(value: &Value) -> Result<T, MalformedObject> {
    match value.get("spec") {
        None | Some(Value::Null) => Err(MalformedObject::missing("spec")),
        Some(spec) => read_at("spec", spec),
    }
}

/// Deserializes and puts the path of an offending field before the reason.
pub(super) fn read_at<'de, T: Deserialize<'de>>(at: &str, value: &'de Value) -> Result<T, MalformedObject> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let path = match (at, path.as_str()) {
            ("", path) => path.to_owned(),
            (at, "." | "") => at.to_owned(),
            (at, path) => format!("{at}.{path}"),
        };
        MalformedObject { path, reason: words::of_decoder(&error.into_inner().to_string()) }
    })
}

#[cfg(test)]
mod tests;
