//! Our own JSON: clusters, services, the plan of each with its reasons, and notes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, get},
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::Views;
use crate::{
    istio::{Port, keys},
    model::{ClusterName, Host, Note, ReadCause, ServiceKey},
    plan::{
        HostPlan, PlannedHost,
        decide::{EndpointView, ServiceDecision},
        input::ServiceInput,
    },
    registry::{ClusterStatus, KindState},
};

pub(super) fn routes() -> Router<Arc<Views>> {
    [
        ("/api/clusters", get(clusters)),
        ("/api/services", get(services)),
        ("/api/services/{identity}/{environment}", get(service)),
        ("/api/notes", get(notes)),
    ]
    .into_iter()
    .fold(Router::new(), |router, (path, method)| both(router, path, method))
}

/// A route with and without a slash at the end, as Admiral's clients are used to.
pub(super) fn both(router: Router<Arc<Views>>, path: &str, method: MethodRouter<Arc<Views>>) -> Router<Arc<Views>> {
    router.route(path, method.clone()).route(&format!("{path}/"), method)
}

/// An error in the shape of all our errors, and of Admiral's.
pub(super) fn error(status: StatusCode, message: String) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}

pub(super) async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "there is no such route".into())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterResponse {
    name: ClusterName,
    kinds: BTreeMap<&'static str, KindView>,
    regions: Vec<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Arc<str>>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    control_planes: BTreeSet<ClusterName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
    workloads: usize,
    services: usize,
    written: usize,
}

impl From<ClusterStatus> for ClusterResponse {
    fn from(status: ClusterStatus) -> Self {
        let ClusterStatus { name, kinds, regions, network, control_planes, gateway, workloads, services, written } =
            status;
        let control_planes = control_planes.into_iter().collect();
        let kinds = kinds.into_iter().map(|(kind, state)| (kind.as_str(), state.into())).collect();
        let gateway = gateway.map(|gateway| gateway.to_string());
        Self { name, kinds, regions, network, control_planes, gateway, workloads, services, written }
    }
}

/// How fresh the objects of one kind are.
#[derive(Serialize)]
struct KindView {
    state: &'static str,
    #[serde(flatten)]
    failure: Option<FailureView>,
}

#[derive(Serialize)]
struct FailureView {
    /// Time of the first failure, in RFC 3339 as times in Kubernetes objects are.
    since: Timestamp,
    cause: ReadCause,
    reason: String,
}

impl From<KindState> for KindView {
    fn from(state: KindState) -> Self {
        let failure = |since_seconds, cause, reason| {
            let since = Timestamp::from_second(since_seconds).unwrap_or_default();
            Some(FailureView { since, cause, reason })
        };
        let (state, failure) = match state {
            KindState::Loading => ("loading", None),
            KindState::Synced => ("synced", None),
            KindState::Absent => ("absent", None),
            KindState::Stale { since_seconds, cause, reason } => ("stale", failure(since_seconds, cause, reason)),
            KindState::Unreadable { since_seconds, cause, reason } => {
                ("unreadable", failure(since_seconds, cause, reason))
            }
        };
        Self { state, failure }
    }
}

async fn clusters(State(views): State<Arc<Views>>) -> Response {
    let clusters: Vec<ClusterResponse> = views.registry.queries().clusters().into_iter().map(Into::into).collect();
    Json(json!({ "clusters": clusters })).into_response()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceView {
    #[serde(flatten)]
    service: ServiceSummary,
    /// Clusters that run it.
    runs_in: Vec<ClusterName>,
    /// Clusters that should hold its objects.
    seen_from: Vec<ClusterName>,
    /// Whether some Dependency names it.
    declared: bool,
}

#[derive(Serialize)]
struct ServiceSummary {
    identity: String,
    environment: String,
    host: Option<String>,
}

fn name(views: &Views, key: &ServiceKey, keep_case: bool) -> ServiceSummary {
    let suffix = &views.registry.settings().hostname_suffix;
    ServiceSummary {
        identity: key.identity.to_string(),
        environment: key.environment.to_string(),
        host: Host::of_service(key, suffix, keep_case).ok().map(|host| host.to_string()),
    }
}

async fn services(State(views): State<Arc<Views>>) -> Response {
    if let Err(missing) = views.registry.ready() {
        return not_ready(&missing.to_string());
    }
    let services: Vec<ServiceView> = views
        .off_the_runtime(|views| {
            let snapshots =
                views.registry.queries().services().into_iter().filter_map(|key| views.registry.inputs().service(&key));
            let view = |snapshot: ServiceInput| ServiceView {
                service: name(views, &snapshot.key, snapshot.keep_case),
                runs_in: snapshot.sources.into_iter().map(|source| source.cluster).collect(),
                seen_from: snapshot.targets.into_iter().map(|target| target.cluster).collect(),
                declared: snapshot.declared,
            };
            snapshots.map(view).collect()
        })
        .await;
    Json(json!({ "services": services })).into_response()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlanView {
    #[serde(flatten)]
    service: ServiceSummary,
    /// Whether its objects are left exactly as they stand.
    held: bool,
    clusters: Vec<ClusterPlanView>,
    notes: Vec<NoteView>,
}

#[derive(Serialize)]
struct ClusterPlanView {
    cluster: ClusterName,
    hosts: Vec<HostResponse>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HostResponse {
    host: String,
    addresses: Vec<String>,
    ports: Vec<Port>,
    /// `cluster/namespace/name` of the policy in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    /// `cluster/namespace/name` of the OutlierDetection in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    outlier_detection: Option<String>,
    /// `cluster/namespace/name` of the ClientConnectionConfig in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_connection_config: Option<String>,
    /// `cluster/namespace/name` of the TrafficConfig in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic_config: Option<String>,
    /// Whether the localities of its endpoints stand for tiers of weight and fallback.
    tiered: bool,
    service_entry: String,
    destination_rule: String,
    endpoints: Vec<EndpointView>,
}

impl From<PlannedHost<'_>> for HostResponse {
    fn from(planned: PlannedHost<'_>) -> Self {
        let endpoints = planned.endpoints().collect();
        let HostPlan { host, service_entry, destination_rule, tiered } = planned.objects.clone();
        let in_force = |key: &str| destination_rule.metadata.annotations.get(key).cloned();
        Self {
            host: host.to_string(),
            addresses: service_entry.spec.addresses,
            ports: service_entry.spec.ports,
            policy: service_entry.metadata.annotations.get(keys::POLICY).cloned(),
            outlier_detection: in_force(keys::OUTLIER_DETECTION),
            client_connection_config: in_force(keys::CLIENT_CONNECTION_CONFIG),
            traffic_config: in_force(keys::TRAFFIC_CONFIG),
            tiered,
            service_entry: service_entry.metadata.name,
            destination_rule: destination_rule.metadata.name,
            endpoints,
        }
    }
}

#[derive(Serialize)]
struct NoteView {
    #[serde(flatten)]
    note: Note,
    /// What its owner can do.
    remedy: &'static str,
}

impl From<Note> for NoteView {
    fn from(note: Note) -> Self {
        Self { remedy: note.kind.remedy(), note }
    }
}

async fn service(State(views): State<Arc<Views>>, Path((identity, environment)): Path<(String, String)>) -> Response {
    if let Err(missing) = views.registry.ready() {
        return not_ready(&missing.to_string());
    }
    let key = match ServiceKey::parse(&identity, &environment) {
        Ok(key) => key,
        Err(reason) => return error(StatusCode::BAD_REQUEST, format!("the identity or environment {reason}")),
    };
    let view = views
        .off_the_runtime(move |views| {
            let snapshot = views.registry.inputs().service(&key)?;
            let plan = (views.plan)(&key)?;
            let ServiceDecision { key, notes, frozen, .. } = &plan.decision;
            if snapshot.sources.is_empty() && plan.clusters.is_empty() && notes.is_empty() && !frozen {
                return None;
            }
            let clusters = plan.clusters.iter().map(|planned| ClusterPlanView {
                cluster: planned.cluster.clone(),
                hosts: plan.hosts_in(&planned.cluster).map(Into::into).collect(),
            });
            Some(PlanView {
                service: name(views, key, snapshot.keep_case),
                held: *frozen,
                clusters: clusters.collect(),
                notes: notes.iter().cloned().map(Into::into).collect(),
            })
        })
        .await;
    match view {
        Some(view) => Json(view).into_response(),
        None => error(StatusCode::NOT_FOUND, format!("no cluster runs {identity} in the environment {environment}")),
    }
}

async fn notes(State(views): State<Arc<Views>>) -> Response {
    let notes: Vec<NoteView> = views.registry.queries().notes_with_hints().into_iter().map(Into::into).collect();
    Json(json!({ "notes": notes })).into_response()
}

fn not_ready(missing: &str) -> Response {
    error(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {missing}"))
}
