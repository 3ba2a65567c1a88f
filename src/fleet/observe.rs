//! Pruning: a real Kubernetes or Istio object → the few fields that decide something.
//!
//! Both backends hand every object through here, so that a manifest in a directory and the same
//! object in a live cluster mean the same. Decides what is kept and what each field means (reference
//! behaviour §2, §4); never whether an object matters to a service.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        core::v1 as core,
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{observe_rollout, observe_slice, users_route};
use crate::{
    api::{Dependency, DependencySpec, GlobalTrafficPolicy, GlobalTrafficPolicySpec},
    config::Settings,
    fleet::observe_policy::{configs_of, recalled},
    istio::{self, Owner, keys},
    model::{
        Declared, GatewayAddress, GatewayService, Kind, Labels, LocalService, Locality, Namespace, Node, ObjectId,
        Observed, PublishedEndpoint, Route, ServiceKey, ServicePort, SidecarHosts, TargetPort, Variant, Workload,
        Written,
    },
};

/// Hides an object when `true` (reference behaviour §2).
pub(super) const IGNORE: &str = "admiral.io/ignore";
/// Namespace of Istio's control plane.
const GATEWAY_NAMESPACE: &str = "istio-system";
/// Port of the AUTO_PASSTHROUGH server of a gateway (reference behaviour §4).
const GATEWAY_PORT: u16 = 15443;
/// Region of a Node: today's label, then the one that Kubernetes deprecated in 1.17.
const REGION_LABELS: [&str; 2] = ["topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"];
/// Zone of a Node, in the same order.
const ZONE_LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"];

/// Prunes objects by the rules of one set of settings.
#[derive(Debug, Clone)]
pub struct Observer {
    settings: Arc<Settings>,
    owned: istio::OwnedKeys,
    keep_content: bool,
}

impl Observer {
    /// `keep_content` keeps written objects whole, for commands that show differences; it costs memory.
    #[must_use]
    pub fn new(settings: Arc<Settings>, keep_content: bool) -> Self {
        Self { owned: settings.owned_keys(), settings, keep_content }
    }

    /// The settings it prunes by.
    #[must_use]
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Prunes an object that is still JSON.
    ///
    /// # Errors
    /// When a field has another type than its API says, or the object has no name; names the field's path.
    pub fn observe_value(&self, kind: Kind, value: &Value) -> Result<Observed, String> {
        if metadata_text(value, "name").is_empty() {
            return Err("metadata.name: is missing".to_owned());
        }
        Ok(match kind {
            Kind::Deployment => self.deployment(&read(value)?),
            Kind::StatefulSet => self.stateful_set(&read(value)?),
            Kind::DaemonSet => self.daemon_set(&read(value)?),
            Kind::Service => self.service(&read(value)?),
            Kind::EndpointSlice => observe_slice::read(&read(value)?),
            Kind::Node => self.node(&read(value)?),
            Kind::Namespace => self.namespace(&read(value)?),
            Kind::GlobalTrafficPolicy => self.policy(&read_metadata(value)?, read_spec(value)?),
            Kind::TradewindConfig => Observed::TradewindConfig(self.configured(kind, value)?),
            Kind::Dependency => self.declared(&read_metadata(value)?, read_spec(value)?),
            Kind::ServiceEntry => self.service_entry(value)?,
            Kind::WorkloadEntry => self.workload_entry(value)?,
            Kind::Sidecar | Kind::EnvoyFilter => self.written(kind, value)?,
            Kind::DestinationRule | Kind::VirtualService => self.route(kind, value)?,
            Kind::Rollout => self.rollout(value)?,
            Kind::Job => self.of_template(kind, value, "/spec/template/metadata")?,
            Kind::CronJob => self.of_template(kind, value, "/spec/jobTemplate/spec/template/metadata")?,
            Kind::Vertex | Kind::MonoVertex => self.of_template(kind, value, "/spec/metadata")?,
            Kind::OutlierDetection => Observed::OutlierDetection(self.configured(kind, value)?),
            Kind::ClientConnectionConfig => Observed::ClientConnectionConfig(self.configured(kind, value)?),
            Kind::RoutingPolicy => Observed::RoutingPolicy(self.configured(kind, value)?),
            Kind::TrafficConfig => Observed::TrafficConfig(self.configured(kind, value)?),
            Kind::DependencyProxy => Observed::DependencyProxy(self.configured(kind, value)?),
        })
    }

    /// Prunes a Deployment.
    #[must_use]
    pub fn deployment(&self, object: &Deployment) -> Observed {
        let template = object.spec.as_ref().map(|spec| &spec.template);
        let account = template.and_then(|template| template.spec.as_ref()?.service_account_name.as_deref());
        let template = template.and_then(|template| template.metadata.as_ref());
        self.workload(Kind::Deployment, &object.metadata, template, account)
    }

    /// Prunes a StatefulSet.
    #[must_use]
    pub fn stateful_set(&self, object: &StatefulSet) -> Observed {
        let template = object.spec.as_ref().map(|spec| &spec.template);
        let account = template.and_then(|template| template.spec.as_ref()?.service_account_name.as_deref());
        let template = template.and_then(|template| template.metadata.as_ref());
        self.workload(Kind::StatefulSet, &object.metadata, template, account)
    }

    /// Prunes a DaemonSet.
    #[must_use]
    pub fn daemon_set(&self, object: &DaemonSet) -> Observed {
        let template = object.spec.as_ref().map(|spec| &spec.template);
        let account = template.and_then(|template| template.spec.as_ref()?.service_account_name.as_deref());
        let template = template.and_then(|template| template.metadata.as_ref());
        self.workload(Kind::DaemonSet, &object.metadata, template, account)
    }

    /// Prunes a workload of a custom kind, whose pod template's metadata stand at `template`.
    fn of_template(&self, kind: Kind, value: &Value, template: &str) -> Result<Observed, String> {
        let metadata = read_metadata(value)?;
        // A pod template has a spec of its own; a vertex is its own template.
        let of_pods = template.strip_suffix("/metadata").filter(|template| *template != "/spec");
        let account = of_pods.map_or("/spec".to_owned(), |template| format!("{template}/spec"));
        let account = value.pointer(&format!("{account}/serviceAccountName")).and_then(Value::as_str);
        let template = value.pointer(template).map(read::<ObjectMeta>).transpose()?;
        let mut observed = self.workload(kind, &metadata, template.as_ref(), account);
        if let Observed::Workload(client) = &mut observed
            && Kind::CLIENTS.contains(&kind)
        {
            // Of clients the mark counts in the template, too (reference behaviour §2).
            client.ignored |= is_true(template.as_ref().and_then(|template| template.annotations.as_ref()), IGNORE);
        }
        Ok(observed)
    }

    fn rollout(&self, value: &Value) -> Result<Observed, String> {
        let observed = self.of_template(Kind::Rollout, value, "/spec/template/metadata")?;
        let Observed::Workload(mut workload) = observed else { unreachable!("what has a template is a workload") };
        workload.rollout = Some(Box::new(observe_rollout::read(value)?));
        Ok(Observed::Workload(workload))
    }

    /// Prunes a VirtualService or DestinationRule: a user's, unless it is ours or stands where ours stand.
    fn route(&self, kind: Kind, value: &Value) -> Result<Observed, String> {
        let metadata = read_metadata(value)?;
        let marks = istio::Metadata {
            labels: metadata.labels.clone().unwrap_or_default(),
            annotations: metadata.annotations.clone().unwrap_or_default(),
            ..istio::Metadata::default()
        };
        let id = id(kind, &metadata);
        let ours = [&*self.settings.sync_namespace, GATEWAY_NAMESPACE].contains(&&*id.namespace);
        let merged = self.is_merged_route(&id, &marks);
        if ours && !merged {
            return self.written(kind, value);
        }
        let ignored = is_true(metadata.annotations.as_ref(), IGNORE);
        let created = created_seconds(&metadata);
        let mut route = users_route::route(id, created, ignored, &metadata, value, &self.settings);
        if merged {
            // Whoever made it for another host says it by its labels alone.
            (route.labels, route.annotations) = (marks.labels.clone(), marks.annotations.clone());
            route.spec = Arc::new(value.get("spec").cloned().unwrap_or_default());
        }
        if marks.owner() != Owner::Foreign {
            // Another installation's, with a sync namespace of its own: neither ours nor what a user says.
            route = Route { labels: Labels::new(), hosts: Vec::new(), spec: Arc::default(), ..route };
        }
        Ok(Observed::Route(Box::new(route)))
    }

    /// Whether an object carries our mark and belongs to a controller with another sync namespace: such a one may run beside
    /// this, and neither touches what the other wrote.
    fn is_anothers(&self, kind: Kind, namespace: Option<&str>, marks: &istio::Metadata) -> bool {
        let sync_namespace = self.settings.sync_namespace.as_str();
        kind != Kind::Sidecar
            && namespace != Some(sync_namespace)
            && marks.annotations.get(keys::SYNC_NAMESPACE).map(String::as_str) != Some(sync_namespace)
            && marks.owner() == Owner::Tradewind
    }

    /// Whether a VirtualService beside ours was made to be merged into ours (reference behaviour §13.1).
    fn is_merged_route(&self, id: &ObjectId, marks: &istio::Metadata) -> bool {
        let by = marks.labels.get("createdBy").map(String::as_str);
        self.settings.enable_custom_vs_merge
            && id.kind == Kind::VirtualService
            && *id.namespace == *self.settings.sync_namespace
            && marks.owner() == Owner::Foreign
            && by == Some(self.settings.process_vs_created_by.as_str())
    }

    /// Prunes a Service; a gateway's address is read by reference behaviour §4.
    #[must_use]
    pub fn service(&self, object: &core::Service) -> Observed {
        let metadata = &object.metadata;
        let spec = object.spec.as_ref();
        let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
        // Which of them are gateways is for the registry to say: it may differ from cluster to cluster.
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let app = filled(text(metadata.labels.as_ref(), "app"))
            .filter(|_| self.settings.gateway_namespaces.iter().any(|known| known == namespace));
        Observed::Service(LocalService {
            id: id(Kind::Service, metadata),
            created_seconds: created_seconds(metadata),
            ignored: is_true(metadata.annotations.as_ref(), IGNORE) || is_true(metadata.labels.as_ref(), IGNORE),
            selector: spec.and_then(|spec| spec.selector.clone()).unwrap_or_default(),
            external_name: spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName"),
            ports: ports.iter().filter_map(service_port).collect(),
            gateway: app.map(|app| GatewayService { app: app.into(), address: self.gateway_address(object) }),
        })
    }

    /// Prunes a Node.
    #[must_use]
    pub fn node(&self, object: &core::Node) -> Observed {
        let first =
            |keys: [&str; 2]| keys.into_iter().find_map(|key| filled(text(object.metadata.labels.as_ref(), key)));
        let locality = first(REGION_LABELS).map(|region| match first(ZONE_LABELS) {
            Some(zone) => Locality::zone(region, zone),
            None => Locality::region(region),
        });
        Observed::Node(Node { id: id(Kind::Node, &object.metadata), locality })
    }

    /// Prunes a Namespace.
    #[must_use]
    pub fn namespace(&self, object: &core::Namespace) -> Observed {
        let metadata = &object.metadata;
        Observed::Namespace(Namespace {
            id: id(Kind::Namespace, metadata),
            ignored: is_true(metadata.annotations.as_ref(), IGNORE),
            facts: facts(metadata),
        })
    }

    /// Prunes a GlobalTrafficPolicy.
    #[must_use]
    pub fn global_traffic_policy(&self, object: GlobalTrafficPolicy) -> Observed {
        self.policy(&object.metadata, object.spec)
    }

    /// Prunes a Dependency.
    #[must_use]
    pub fn dependency(&self, object: Dependency) -> Observed {
        self.declared(&object.metadata, object.spec)
    }

    /// Prunes a ServiceEntry, DestinationRule or Sidecar.
    ///
    /// # Errors
    /// When its metadata is not Kubernetes metadata. Specs that do not parse are no errors: somebody
    /// else's is none of our business, and one of ours gets the digest 0 and so is written again.
    pub fn written(&self, kind: Kind, value: &Value) -> Result<Observed, String> {
        let metadata = read_metadata(value)?;
        let labels = metadata.labels.unwrap_or_default();
        let annotations = metadata.annotations.unwrap_or_default();
        // A copy has the labels and annotations of the user's object: they say nothing of whom it was written for.
        let is_copy = annotations.contains_key(keys::ORIGIN);
        let service = if is_copy { None } else { self.service_key(&labels, &annotations) };
        let marks = istio::Metadata { labels, annotations, ..istio::Metadata::default() };
        let owner =
            if self.is_anothers(kind, metadata.namespace.as_deref(), &marks) { Owner::Foreign } else { marks.owner() };
        let object = istio::Object::read(kind, value, &self.owned).ok();
        let spec = value.get("spec").unwrap_or(&Value::Null);
        let (ports, endpoints) = match &object {
            Some(istio::Object::ServiceEntry(entry)) if owner == Owner::Tradewind => {
                (entry.spec.ports.iter().map(|p| (p.name.clone(), p.number, p.protocol.clone())).collect(), {
                    let variant = variant_of(&marks.annotations);
                    entry.spec.endpoints.iter().filter_map(|endpoint| published_endpoint(endpoint, variant)).collect()
                })
            }
            _ => (Vec::new(), Vec::new()),
        };
        Ok(Observed::Written(Box::new(Written {
            id: ObjectId::new(
                kind,
                metadata.namespace.as_deref().unwrap_or_default(),
                &metadata.name.unwrap_or_default(),
            ),
            uid: metadata.uid.unwrap_or_default().into(),
            resource_version: metadata.resource_version.unwrap_or_default().into(),
            owner,
            service,
            identity: marks.annotations.get(&self.settings.workload_identity_key).map(|text| text.as_str().into()),
            digest: object.as_ref().map_or(0, istio::Object::digest),
            host: spec.get("host").or_else(|| spec.get("hosts")?.get(0)).and_then(Value::as_str).map(Into::into),
            address: first_ipv4(spec),
            policy: marks.annotations.get(keys::POLICY).map(|policy| policy.as_str().into()),
            configs: configs_of(&marks.annotations),
            recalled: recalled(kind, owner, &marks.annotations, object.as_ref(), &self.settings),
            ports,
            endpoints,
            sidecar: (kind == Kind::Sidecar).then(|| sidecar_hosts(spec, &marks.annotations)),
            origin: marks.annotations.get(keys::ORIGIN).map(|origin| origin.as_str().into()),
            content: if self.keep_content { object.map(Arc::new) } else { None },
        })))
    }

    fn workload(
        &self,
        kind: Kind,
        metadata: &ObjectMeta,
        template: Option<&ObjectMeta>,
        service_account: Option<&str>,
    ) -> Observed {
        Observed::Workload(Workload {
            id: id(kind, metadata),
            created_seconds: created_seconds(metadata),
            ignored: is_true(metadata.annotations.as_ref(), IGNORE),
            template_labels: template.and_then(|template| template.labels.clone()).unwrap_or_default(),
            template_annotations: self.observed_annotations(template.and_then(|t| t.annotations.as_ref())),
            machines: None,
            additional_hosts: self.has_additional_hosts(metadata.labels.as_ref()),
            service_accounts: vec![filled(service_account).unwrap_or("default").into()],
            rollout: None,
        })
    }

    /// By the labels of the workload itself (reference behaviour §13.5).
    pub(super) fn has_additional_hosts(&self, labels: Option<&Labels>) -> bool {
        let filters = &self.settings.additional_endpoint_label_filters;
        filters.iter().any(|key| key == "*" || labels.is_some_and(|labels| labels.contains_key(key)))
    }

    fn policy(&self, metadata: &ObjectMeta, spec: GlobalTrafficPolicySpec) -> Observed {
        Observed::Policy(self.with_spec(Kind::GlobalTrafficPolicy, metadata, spec))
    }

    fn declared(&self, metadata: &ObjectMeta, spec: DependencySpec) -> Observed {
        Observed::Dependency(Declared {
            id: id(Kind::Dependency, metadata),
            source: spec.source,
            destinations: spec.destinations,
        })
    }

    pub(super) fn observed_annotations(&self, annotations: Option<&Labels>) -> Labels {
        let Some(annotations) = annotations else { return Labels::new() };
        self.settings
            .observed_annotations()
            .into_iter()
            .filter_map(|key| Some((key.to_owned(), annotations.get(key)?.clone())))
            .collect()
    }

    /// The service that an object was written for: by our annotations, else by the reference's marks (§6.2).
    fn service_key(&self, labels: &Labels, annotations: &Labels) -> Option<ServiceKey> {
        let ours = annotations.get(keys::IDENTITY).zip(annotations.get(keys::ENVIRONMENT));
        let references =
            || annotations.get(&self.settings.workload_identity_key).zip(labels.get(&self.settings.env_key));
        let (identity, environment) = ours.or_else(references)?;
        ServiceKey::parse(identity, environment).ok()
    }

    fn gateway_address(&self, object: &core::Service) -> Option<GatewayAddress> {
        let balancer = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let ingress = balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
        // The reference takes ingress[0] even when it is empty, and then publishes an empty address.
        let balanced = ingress.iter().find_map(|ingress| match filled(ingress.hostname.as_deref()) {
            Some(host) if self.settings.enable_absolute_fqdn => Some(format!("{}.", host.trim_end_matches('.'))),
            Some(host) => Some(host.to_owned()),
            None => filled(ingress.ip.as_deref()).map(str::to_owned),
        });
        if let Some(address) = balanced {
            return Some(GatewayAddress { address: address.into(), port: GATEWAY_PORT });
        }
        let spec = object.spec.as_ref()?;
        let address = filled(spec.external_ips.as_ref()?.first().map(String::as_str))?;
        let port = spec.ports.as_ref()?.iter().find(|port| port.port == i32::from(GATEWAY_PORT))?;
        // Without a node port only the Service port itself answers on an external IP.
        let number = port.node_port.and_then(|number| u16::try_from(number).ok()).filter(|number| *number != 0);
        Some(GatewayAddress { address: address.into(), port: number.unwrap_or(GATEWAY_PORT) })
    }
}

fn facts(metadata: &ObjectMeta) -> Labels {
    let told = metadata.annotations.iter().flatten().filter(|(key, _)| key.starts_with("tradewind.io/"));
    let planes = metadata.annotations.iter().flatten().filter(|(key, _)| *key == keys::CONTROL_PLANE_CLUSTERS);
    let network = metadata.labels.iter().flatten().filter(|(key, _)| *key == keys::NETWORK);
    let facts = told.chain(planes).chain(network);
    facts.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn service_port(port: &core::ServicePort) -> Option<ServicePort> {
    if port.protocol.as_deref().is_some_and(|protocol| protocol != "TCP") {
        return None;
    }
    let number = u16::try_from(port.port).ok()?;
    let target = match &port.target_port {
        Some(IntOrString::Int(target)) => TargetPort::Number(u16::try_from(*target).unwrap_or(number)),
        Some(IntOrString::String(name)) => TargetPort::Name(name.clone()),
        None => TargetPort::Number(number),
    };
    let name = port.name.clone().unwrap_or_default();
    Some(ServicePort { name, number, target, app_protocol: port.app_protocol.clone() })
}

fn variant_of(annotations: &Labels) -> Variant {
    annotations.get(keys::VARIANT).and_then(|text| Variant::of_prefix(text)).unwrap_or_default()
}

fn published_endpoint(endpoint: &istio::Endpoint, variant: Variant) -> Option<PublishedEndpoint> {
    let label = |key| filled(endpoint.labels.get(key).map(String::as_str));
    let locality = match (label(keys::ENDPOINT_REGION), label(keys::ENDPOINT_ZONE)) {
        (Some(region), Some(zone)) => Some(Locality::zone(region, zone)),
        (Some(region), None) => Some(Locality::region(region)),
        (None, _) => Locality::parse(&endpoint.locality),
    };
    Some(PublishedEndpoint {
        cluster_label: label(keys::ENDPOINT_CLUSTER)?.to_owned(),
        address: endpoint.address.as_str().into(),
        locality,
        network: filled(Some(endpoint.network.as_str())).map(Into::into),
        direct: label(keys::ENDPOINT_DIRECT).is_some(),
        workload: label(keys::ENDPOINT_TYPE).and_then(Kind::of_endpoint_type),
        ports: endpoint.ports.clone(),
        weight: endpoint.weight,
        variant,
    })
}

fn sidecar_hosts(spec: &Value, annotations: &Labels) -> SidecarHosts {
    let hosts_of = |egress: &Value| -> Vec<String> {
        let hosts = egress.get("hosts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        hosts.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let selector = spec.get("workloadSelector").and_then(|selector| selector.get("labels")).and_then(Value::as_object);
    SidecarHosts {
        has_selector: selector.is_some_and(|labels| !labels.is_empty()),
        egress_hosts: spec.get("egress").and_then(|egress| egress.get(0)).map(hosts_of),
        ours: annotations
            .get(keys::EGRESS_HOSTS)
            .and_then(|hosts| serde_json::from_str(hosts).ok())
            .unwrap_or_default(),
    }
}

fn first_ipv4(spec: &Value) -> Option<Ipv4Addr> {
    spec.get("addresses")?.as_array()?.iter().filter_map(Value::as_str).find_map(|address| address.parse().ok())
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

/// Names an object that may not parse otherwise.
#[must_use]
pub fn identify(kind: Kind, value: &Value) -> ObjectId {
    ObjectId::new(kind, metadata_text(value, "namespace"), metadata_text(value, "name"))
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    read_at("", value)
}

pub(super) fn read_metadata(value: &Value) -> Result<ObjectMeta, String> {
    read_at("metadata", value.get("metadata").unwrap_or(&Value::Null))
}

pub(super) fn read_spec<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    match value.get("spec") {
        None | Some(Value::Null) => Err("spec: is missing".to_owned()),
        Some(spec) => read_at("spec", spec),
    }
}

/// Deserializes and puts the path of an offending field before the reason.
pub(super) fn read_at<'de, T: Deserialize<'de>>(at: &str, value: &'de Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let path = match (at, path.as_str()) {
            ("", path) => path.to_owned(),
            (at, "." | "") => at.to_owned(),
            (at, path) => format!("{at}.{path}"),
        };
        format!("{path}: {}", error.into_inner())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn observer() -> Observer {
        Observer::new(Arc::new(Settings::default()), false)
    }

    fn observe(kind: Kind, value: &Value) -> Observed {
        observer().observe_value(kind, value).unwrap()
    }

    fn service(value: &Value) -> LocalService {
        match observe(Kind::Service, value) {
            Observed::Service(service) => service,
            other => panic!("{other:?}"),
        }
    }

    fn written(kind: Kind, value: &Value) -> Written {
        match observe(kind, value) {
            Observed::Written(written) => *written,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn workloads_keep_all_template_labels_and_only_deciding_annotations() {
        for kind in Kind::WORKLOADS.iter().filter(|kind| **kind != Kind::WorkloadEntry) {
            let object = json!({
                "apiVersion": "apps/v1", "kind": kind.as_str(),
                "metadata": {"name": "greeting", "namespace": "team", "creationTimestamp": "2026-01-01T00:00:10Z",
                             "annotations": {"admiral.io/ignore": "true"}},
                "spec": {"selector": {}, "template": {"metadata": {
                    "labels": {"identity": "greeting", "app": "g"},
                    "annotations": {"sidecar.istio.io/inject": "true", "team.example/contact": "x"}}}}
            });
            let Observed::Workload(workload) = observe(*kind, &object) else { panic!("{kind:?}") };
            assert_eq!(workload.id, ObjectId::new(*kind, "team", "greeting"));
            assert_eq!(workload.created_seconds, 1_767_225_610);
            assert!(workload.ignored);
            assert_eq!(workload.template_labels.len(), 2);
            assert_eq!(workload.template_annotations.keys().collect::<Vec<_>>(), ["sidecar.istio.io/inject"]);
        }
    }

    #[test]
    fn services_keep_tcp_ports_with_their_targets() {
        let service = service(&json!({
            "metadata": {"name": "greeting", "namespace": "team", "labels": {"admiral.io/ignore": "true"}},
            "spec": {"selector": {"app": "g"}, "ports": [
                {"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"},
                {"name": "dns", "port": 53, "protocol": "UDP"},
                {"name": "grpc", "port": 81, "targetPort": "grpc", "appProtocol": "grpc"},
                {"port": 82}]}
        }));
        assert!(service.ignored, "a label hides a Service too");
        let ports: Vec<_> = service.ports.iter().map(|port| (port.number, port.target.clone())).collect();
        assert_eq!(
            ports,
            [(80, TargetPort::Number(8080)), (81, TargetPort::Name("grpc".into())), (82, TargetPort::Number(82))]
        );
        assert_eq!(service.gateway, None);
        assert!(!service.external_name);
    }

    fn gateway(spec: Value, ingress: Value) -> Option<Option<(String, u16)>> {
        let service = service(&json!({
            "metadata": {"name": "gw", "namespace": "istio-system", "labels": {"app": "istio-ingressgateway"}},
            "spec": spec, "status": {"loadBalancer": {"ingress": ingress}}
        }));
        service.gateway.map(|gateway| gateway.address.map(|address| (address.address.to_string(), address.port)))
    }

    #[test]
    fn gateway_addresses_follow_the_table_of_the_reference() {
        let address = |text: &str, port| Some(Some((text.to_owned(), port)));
        assert_eq!(gateway(json!({}), json!([{"hostname": "lb.example"}])), address("lb.example.", 15443));
        assert_eq!(gateway(json!({}), json!([{"hostname": "lb.example."}])), address("lb.example.", 15443));
        assert_eq!(gateway(json!({}), json!([{"ip": "10.0.0.1"}])), address("10.0.0.1", 15443));
        assert_eq!(gateway(json!({}), json!([{}, {"ip": "10.0.0.2"}])), address("10.0.0.2", 15443));
        assert_eq!(gateway(json!({}), json!([{}])), Some(None), "an empty entry is no address");
        let external = |port: Value| json!({"externalIPs": ["192.0.2.1", "192.0.2.2"], "ports": [port]});
        assert_eq!(
            gateway(external(json!({"port": 15443, "nodePort": 31443})), json!([])),
            address("192.0.2.1", 31443)
        );
        assert_eq!(gateway(external(json!({"port": 15443})), json!([])), address("192.0.2.1", 15443));
        assert_eq!(gateway(external(json!({"port": 443})), json!([])), Some(None));
    }

    #[test]
    fn gateway_host_names_stay_relative_on_request() {
        let observer = Observer::new(Arc::new(Settings { enable_absolute_fqdn: false, ..Settings::default() }), false);
        let object = json!({
            "metadata": {"name": "gw", "namespace": "istio-system", "labels": {"app": "istio-ingressgateway"}},
            "status": {"loadBalancer": {"ingress": [{"hostname": "lb.example"}]}}
        });
        let Ok(Observed::Service(service)) = observer.observe_value(Kind::Service, &object) else { panic!() };
        assert_eq!(&*service.gateway.unwrap().address.unwrap().address, "lb.example");
    }

    #[test]
    fn only_a_service_of_a_gateway_namespace_with_an_app_may_be_a_gateway() {
        let app = |namespace: &str, labels: Value| {
            let object = json!({"metadata": {"name": "x", "namespace": namespace, "labels": labels}});
            service(&object).gateway.map(|gateway| gateway.app.to_string())
        };
        assert_eq!(app("istio-system", json!({"app": "istiod"})).as_deref(), Some("istiod"));
        assert_eq!(app("istio-system", json!({"app": "", "istio": "ingressgateway"})), None);
        assert_eq!(app("team", json!({"app": "istio-ingressgateway"})), None);
    }

    #[test]
    fn nodes_prefer_todays_labels() {
        let locality = |labels: Value| match observe(Kind::Node, &json!({"metadata": {"name": "n", "labels": labels}}))
        {
            Observed::Node(node) => node.locality.map(|locality| locality.to_string()),
            other => panic!("{other:?}"),
        };
        let both = json!({"topology.kubernetes.io/region": "new", "failure-domain.beta.kubernetes.io/region": "old",
                          "failure-domain.beta.kubernetes.io/zone": "new-a"});
        assert_eq!(locality(both).as_deref(), Some("new/new-a"));
        assert_eq!(locality(json!({"failure-domain.beta.kubernetes.io/region": "old"})).as_deref(), Some("old"));
        assert_eq!(locality(json!({"topology.kubernetes.io/zone": "a"})), None);
    }

    #[test]
    fn namespaces_carry_network_and_ignore_annotation() {
        let object = json!({"metadata": {"name": "istio-system", "labels": {"topology.istio.io/network": "net1"},
                                         "annotations": {"admiral.io/ignore": "true", "a.example/b": "c",
                                                         "tradewind.io/cluster-domain": "east.example"}}});
        let Observed::Namespace(namespace) = observe(Kind::Namespace, &object) else { panic!() };
        assert!(namespace.ignored);
        assert_eq!(
            namespace.facts,
            [("tradewind.io/cluster-domain".into(), "east.example".into()), (keys::NETWORK.into(), "net1".into()),]
                .into()
        );
    }

    #[test]
    fn policies_keep_labels_and_a_malformed_one_names_the_field() {
        let mut object = json!({
            "metadata": {"name": "gtp", "namespace": "team", "labels": {"identity": "greeting"},
                         "annotations": {"lastUpdatedAt": "2026-01-01T00:00:00Z", "other": "x"}},
            "spec": {"policy": [{"dnsPrefix": "default", "lbType": 1, "target": [{"region": "west", "weight": 100}]}]},
            "status": {"clustersSynced": "not a number: nobody's business"}
        });
        let Observed::Policy(policy) = observe(Kind::GlobalTrafficPolicy, &object) else { panic!() };
        assert_eq!(policy.labels["identity"], "greeting");
        assert_eq!(policy.annotations.keys().collect::<Vec<_>>(), ["lastUpdatedAt"]);
        assert_eq!(policy.spec.policy[0].target[0].weight, 100);

        object["spec"]["policy"][0]["target"][0]["weight"] = json!("all");
        let error = observer().observe_value(Kind::GlobalTrafficPolicy, &object).unwrap_err();
        assert!(error.starts_with("spec.policy[0].target[0].weight: "), "{error}");
        object["spec"] = Value::Null;
        assert_eq!(observer().observe_value(Kind::GlobalTrafficPolicy, &object).unwrap_err(), "spec: is missing");
    }

    #[test]
    fn objects_without_a_name_or_with_wrong_types_are_refused_with_the_path() {
        let error = observer().observe_value(Kind::Node, &json!({"metadata": {}})).unwrap_err();
        assert_eq!(error, "metadata.name: is missing");
        let object = json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": "eighty"}]}});
        let error = observer().observe_value(Kind::Service, &object).unwrap_err();
        assert!(error.starts_with("spec.ports[0].port: "), "{error}");
        let object = json!({"metadata": {"name": "a", "labels": {"x": 1}}, "spec": {}});
        let error = observer().observe_value(Kind::ServiceEntry, &object).unwrap_err();
        assert!(error.starts_with("metadata.labels"), "{error}");
    }

    #[test]
    fn dependencies_are_taken_as_written() {
        let object = json!({"metadata": {"name": "d", "namespace": "admiral"},
                            "spec": {"source": "Web", "identityLabel": "x", "destinations": ["Pay"]}});
        let Observed::Dependency(declared) = observe(Kind::Dependency, &object) else { panic!() };
        assert_eq!((declared.source.as_str(), declared.destinations.as_slice()), ("Web", &["Pay".to_owned()][..]));
    }

    fn entry() -> Value {
        json!({
            "metadata": {"name": "stage.pay.global-se", "namespace": "admiral-sync", "uid": "u", "resourceVersion": "7",
                         "labels": {"app.kubernetes.io/managed-by": "tradewind", "admiral.io/env": "stage"},
                         "annotations": {"identity": "Pay", "tradewind.io/identity": "pay",
                                         "tradewind.io/environment": "prod", "tradewind.io/policy": "east/team/gtp"}},
            "spec": {"hosts": ["stage.pay.global"], "addresses": ["2001:db8::1", "240.0.0.9"],
                     "location": "MESH_INTERNAL", "resolution": "DNS",
                     "ports": [{"number": 80, "name": "http", "protocol": "http"}],
                     "endpoints": [
                        {"address": "lb.example.", "ports": {"http": 15443}, "locality": "west/tier0-east",
                         "labels": {"type": "statefulset", "tradewind.io/cluster": "east",
                                    "tradewind.io/region": "us-east-2"}},
                        {"address": "other", "locality": "us-west-2"}]}
        })
    }

    #[test]
    fn our_entries_remember_service_policy_ports_and_endpoints() {
        let written = written(Kind::ServiceEntry, &entry());
        assert_eq!(written.owner, Owner::Tradewind);
        assert_eq!(written.service, ServiceKey::parse("pay", "prod").ok());
        assert_eq!(written.host.as_deref(), Some("stage.pay.global"));
        assert_eq!(written.address, Some(Ipv4Addr::new(240, 0, 0, 9)));
        assert_eq!(written.policy.as_deref(), Some("east/team/gtp"));
        assert_eq!(written.ports, [("http".to_owned(), 80, "http".to_owned())]);
        assert_eq!((&*written.uid, &*written.resource_version), ("u", "7"));
        assert_ne!(written.digest, 0);
        let [endpoint] = &written.endpoints[..] else { panic!("{:?}", written.endpoints) };
        assert_eq!(endpoint.cluster_label, "east");
        assert_eq!(endpoint.locality, Some(Locality::region("us-east-2")), "the true locality, not the tier's");
        assert_eq!(endpoint.workload, Some(Kind::StatefulSet));
        assert!(written.content.is_none());
    }

    #[test]
    fn the_references_entries_name_their_service_by_annotation_and_label() {
        let mut object = entry();
        object["metadata"]["labels"] = json!({"admiral.io/env": "stage"});
        object["metadata"]["annotations"] = json!({"identity": "Pay", "app.kubernetes.io/created-by": "admiral"});
        let written = written(Kind::ServiceEntry, &object);
        assert_eq!(written.owner, Owner::Reference);
        assert_eq!(written.service, ServiceKey::parse("Pay", "stage").ok());
        assert!(written.endpoints.is_empty() && written.ports.is_empty(), "only ours are memory");
    }

    #[test]
    fn specs_that_do_not_parse_get_the_digest_zero() {
        let mut object = entry();
        object["spec"]["ports"][0]["number"] = json!(70_000);
        let written = written(Kind::ServiceEntry, &object);
        assert_eq!((written.digest, written.owner), (0, Owner::Tradewind));
        assert_eq!(written.host.as_deref(), Some("stage.pay.global"), "its host is known all the same");
        assert_eq!(written.address, Some(Ipv4Addr::new(240, 0, 0, 9)));
    }

    fn route(kind: Kind, value: &Value) -> Route {
        match observe(kind, value) {
            Observed::Route(route) => *route,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn routes_of_users_are_kept_whole_only_where_they_can_matter() {
        let object = |host: &str, labels: Value, http: Value| {
            json!({"metadata": {"name": "r", "namespace": "team", "labels": labels, "annotations": {"a": "b"}},
                   "spec": {"hosts": [host], "gateways": ["mesh"], "http": http}})
        };
        let one = json!([{"route": [{"destination": {"host": "a"}}]}]);
        let two = json!([{"route": [{"destination": {"host": "a"}}, {"destination": {"host": "b"}}]}]);
        let whole = [
            object("stage.pay.global", json!({}), one.clone()),
            object("reviews", json!({"tradewind.io/propagate": "true"}), one.clone()),
            object("reviews", json!({}), two),
        ];
        for object in whole {
            let route = route(Kind::VirtualService, &object);
            assert_eq!(*route.spec, object["spec"]);
            assert_eq!(route.annotations["a"], "b");
        }
        let other = json!([{"timeout": "5s", "name": "main", "route": [{"destination": {"host": "a", "subset": "x"}}]},
                           {"redirect": {"uri": "/"}}]);
        let other = route(Kind::VirtualService, &object("reviews", json!({"team": "x"}), other));
        // A Rollout may name it for the weights of its destinations.
        let kept = json!({"gateways": ["mesh"],
                          "http": [{"name": "main", "route": [{"destination": {"host": "a"}}]}, {}]});
        assert_eq!((&*other.spec, other.hosts), (&kept, vec!["reviews".to_owned()]));
        assert!(other.labels.is_empty() && other.annotations.is_empty());
        let rule = json!({"metadata": {"name": "r", "namespace": "team"}, "spec": {"host": "nobody.example"}});
        assert_eq!(*route(Kind::DestinationRule, &rule).spec, Value::Null);
    }

    #[test]
    fn what_another_installation_made_is_neither_ours_nor_a_users() {
        let made = json!({"metadata": {"name": "r", "namespace": "other-sync",
                                       "labels": {"app.kubernetes.io/managed-by": "tradewind"}},
                          "spec": {"host": "stage.pay.global"}});
        assert_eq!(route(Kind::DestinationRule, &made).hosts, Vec::<String>::new());
        let mut ours = made;
        ours["metadata"]["namespace"] = json!("admiral-sync");
        assert_eq!(written(Kind::DestinationRule, &ours).owner, Owner::Tradewind);
    }

    #[test]
    fn a_copy_belongs_to_no_service_whatever_its_origin_carried() {
        let copy = json!({"metadata": {"name": "r", "namespace": "admiral-sync",
            "labels": {"app.kubernetes.io/managed-by": "tradewind", "admiral.io/env": "stage"},
            "annotations": {"identity": "pay", "tradewind.io/origin": "east/team/r"}},
            "spec": {"hosts": ["stage.pay.global"]}});
        let written = written(Kind::VirtualService, &copy);
        assert_eq!((written.service, written.origin.as_deref()), (None, Some("east/team/r")));
    }

    #[test]
    fn content_is_kept_on_request() {
        let observer = Observer::new(Arc::new(Settings::default()), true);
        let Ok(Observed::Written(written)) = observer.observe_value(Kind::ServiceEntry, &entry()) else { panic!() };
        assert_eq!(written.content.unwrap().digest(), written.digest);
    }

    #[test]
    fn sidecars_tell_selector_hosts_and_which_are_ours() {
        let sidecar = |spec: Value| {
            let annotations = json!({"tradewind.io/egress-hosts": "[\"*/stage.pay.global\"]"});
            let metadata = json!({"name": "default", "namespace": "web", "annotations": annotations});
            written(Kind::Sidecar, &json!({"metadata": metadata, "spec": spec})).sidecar.unwrap()
        };
        let plain = sidecar(json!({"egress": [{"hosts": ["./*", "*/stage.pay.global"]}, {"hosts": ["x/y"]}]}));
        assert!(!plain.has_selector);
        assert_eq!(plain.egress_hosts.unwrap(), ["./*", "*/stage.pay.global"]);
        assert_eq!(plain.ours, ["*/stage.pay.global"]);
        assert!(sidecar(json!({"workloadSelector": {"labels": {"app": "x"}}})).has_selector);
        assert_eq!(sidecar(json!({})).egress_hosts, None);
    }
}
