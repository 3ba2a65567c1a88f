//! Labels and annotations that Tradewind sets and reads.

/// Label of managed objects: the only ones that are ever changed or deleted.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`] and of [`CREATED_BY`] on managed objects, and the field manager of writes.
pub const TRADEWIND: &str = "tradewind";
/// Annotation of a VirtualService that is merged: for which environments, joined by `_`.
pub const CREATED_FOR_ENV: &str = "createdForEnv";
/// Annotation by which Admiral marks its objects, and Tradewind its own.
pub const CREATED_BY: &str = "app.kubernetes.io/created-by";
/// Value of [`CREATED_BY`] on Admiral's objects.
pub const ADMIRAL: &str = "admiral";
/// Annotation with the prefix of a prefixed host (Admiral, docs/admiral-behaviour.md#serviceentry-fields).
pub const DNS_PREFIX: &str = "dns-prefix";
/// Annotation with the name of the policy in force (Admiral, docs/admiral-behaviour.md#serviceentry-fields).
pub const ASSOCIATED_GTP: &str = "associated-gtp";
/// Annotation with the service's environment (the label of the same meaning is named by a setting).
pub const ENVIRONMENT: &str = "tradewind.io/environment";
/// Annotation with the service's identity (the annotation of the same meaning is named by a setting).
pub const IDENTITY: &str = "tradewind.io/identity";
/// Annotation `cluster/namespace/name` of the policy in force.
pub const POLICY: &str = "tradewind.io/policy";
/// Annotation of a ServiceEntry: the clusters whose proxies read it, where they are others than its own.
pub const READ_IN: &str = "tradewind.io/read-in";
/// Annotation with the region that stays primary while no policy governs the host.
pub const PRIMARY_REGION: &str = "tradewind.io/primary-region";
/// Annotation of a ServiceEntry with the region to which the policy sends all traffic of the host.
pub const POLICY_REGION: &str = "tradewind.io/policy-region";
/// Annotation of a ServiceEntry that keeps a host for the service that lost it: when it did, in milliseconds since the Unix epoch.
pub const HOST_LOST_AT: &str = "tradewind.io/host-lost-at-millis";
/// Annotation of a DestinationRule: `cluster/namespace/name` of the OutlierDetection in force.
pub const OUTLIER_DETECTION: &str = "tradewind.io/outlier-detection";
/// Annotation of a DestinationRule: `cluster/namespace/name` of the ClientConnectionConfig in force.
pub const CLIENT_CONNECTION_CONFIG: &str = "tradewind.io/client-connection-config";
/// Annotation of a DestinationRule: `cluster/namespace/name` of the TrafficConfig in force.
pub const TRAFFIC_CONFIG: &str = "tradewind.io/traffic-config";
/// Annotation `cluster/namespace/name` of the user's object that a managed object is a copy of.
pub const ORIGIN: &str = "tradewind.io/origin";
/// Annotation of a copy: the labels that it has from the user's object, separated by commas.
pub const COPIED_LABELS: &str = "tradewind.io/copied-labels";
/// Annotation of a copy: the annotations that it has from the user's object, separated by commas.
pub const COPIED_ANNOTATIONS: &str = "tradewind.io/copied-annotations";
/// Label by which a user asks that a VirtualService or DestinationRule be copied into the other clusters (`true`), or not
/// (`false`).
pub const PROPAGATE: &str = "tradewind.io/propagate";
/// Annotation by which the owner of a hand-written ServiceEntry or DestinationRule hands it over (`true`) or keeps it
/// (`false`). It stays its owner's: Tradewind neither compares nor applies it.
pub const ADOPT: &str = "tradewind.io/adopt";
/// Annotation of an object that Tradewind took over from its owner: the host.
pub const ADOPTED: &str = "tradewind.io/adopted";
/// Annotation of the ServiceEntry of a host that a Rollout's strategy brings: `preview` or `canary`.
pub const VARIANT: &str = "tradewind.io/variant";
/// Annotation of an EnvoyFilter: `cluster/namespace/name` of its RoutingPolicy.
pub const ROUTING_POLICY: &str = "tradewind.io/routing-policy";
/// Annotation of an EnvoyFilter: name of its RoutingPolicy (Admiral, docs/admiral-behaviour.md#envoyfilters).
pub const ROUTING_POLICY_NAME: &str = "associated-routing-policy-name";
/// Annotation of an EnvoyFilter: identity of its RoutingPolicy (Admiral, docs/admiral-behaviour.md#envoyfilters).
pub const ROUTING_POLICY_IDENTITY: &str = "associated-routing-policy-identity";
/// Annotation of a managed object outside the sync namespace: the sync namespace of the controller that wrote it.
pub const SYNC_NAMESPACE: &str = "tradewind.io/sync-namespace";
/// Label of objects that route inside a cluster (Admiral, docs/admiral-behaviour.md#in-cluster-virtualservice).
pub const VS_ROUTING: &str = "admiral.io/vs-routing";
/// Label of objects that route inside a cluster for its own clients (Admiral,
/// docs/admiral-behaviour.md#in-cluster-virtualservice).
pub const VS_ROUTING_TYPE: &str = "admiral.io/vs-routing-type";
/// Annotation of a merged Sidecar: the hosts of its catch-all egress listener that are Tradewind's, as a JSON array.
pub const EGRESS_HOSTS: &str = "tradewind.io/egress-hosts";
/// The same of its egress listener for port 80.
pub const EGRESS_HOSTS_OF_MAIN_PORT: &str = "tradewind.io/egress-hosts-of-port-80";
/// The same of its egress listeners for other ports, as a JSON object by port.
pub const EGRESS_HOSTS_OF_PORTS: &str = "tradewind.io/egress-hosts-of-ports";
/// Endpoint label with the cluster an endpoint leads to.
pub const ENDPOINT_CLUSTER: &str = "tradewind.io/cluster";
/// Endpoint label with an endpoint's true region.
pub const ENDPOINT_REGION: &str = "tradewind.io/region";
/// Endpoint label with an endpoint's true zone.
pub const ENDPOINT_ZONE: &str = "tradewind.io/zone";
/// Endpoint label `true` of a pod or machine of another cluster that is reached without a gateway.
pub const ENDPOINT_DIRECT: &str = "tradewind.io/direct";
/// Endpoint label with the kind of workload (Admiral, docs/admiral-behaviour.md#endpoints-in-other-clusters).
pub const ENDPOINT_TYPE: &str = "type";
/// Endpoint label that makes Istio use mutual TLS (Istio documentation, `WorkloadEntry`).
pub const TLS_MODE: &str = "security.istio.io/tlsMode";
/// Label of the Istio namespace that names the cluster's network (Istio documentation, "Install Multi-Primary on different
/// networks").
pub const NETWORK: &str = "topology.istio.io/network";
/// Annotation of the Istio namespace in a remote cluster: the clusters whose istiods serve it, separated by commas (Istio
/// documentation, "Install Primary-Remote").
pub const CONTROL_PLANE_CLUSTERS: &str = "topology.istio.io/controlPlaneClusters";
/// Label or annotation of pods: whether they get a sidecar (Istio documentation, "Installing the Sidecar").
pub const INJECT: &str = "sidecar.istio.io/inject";
/// Annotation of pods that have a sidecar.
pub const INJECTION_STATUS: &str = "sidecar.istio.io/status";
/// Label of a Namespace: whether its pods get a sidecar.
pub const NAMESPACE_INJECTION: &str = "istio-injection";
/// Label of a Namespace or of pods: the revision of Istio that gives them a sidecar.
pub const REVISION: &str = "istio.io/rev";
/// Label of a Namespace or of pods: whether they are in the ambient mesh.
pub const DATAPLANE_MODE: &str = "istio.io/dataplane-mode";
