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

use super::{
    Views,
    pages::{Page, PageMetadata, PageQuery},
};
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

async fn clusters(State(views): State<Arc<Views>>, query: PageQuery) -> Response {
    let page = views.off_the_runtime(move |views| {
        let page = query.page(views.registry.queries().clusters(), |cluster| cluster.name.clone());
        page.view(ClusterResponse::from)
    });
    page.await.answer("clusters")
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

async fn services(State(views): State<Arc<Views>>, query: PageQuery) -> Response {
    if let Err(missing) = views.registry.ready() {
        return not_ready(&missing.to_string());
    }
    let page = views.off_the_runtime(move |views| {
        let view = |snapshot: ServiceInput| ServiceView {
            service: name(views, &snapshot.key, snapshot.keep_case),
            runs_in: snapshot.sources.into_iter().map(|source| source.cluster).collect(),
            seen_from: snapshot.targets.into_iter().map(|target| target.cluster).collect(),
            declared: snapshot.declared,
        };
        let Page { items, metadata } = query.page(views.registry.queries().services(), Clone::clone);
        let items = items.iter().filter_map(|key| views.registry.inputs().service(key)).map(view).collect();
        Page::<ServiceView> { items, metadata }
    });
    page.await.answer("services")
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
    /// Where there are more clusters.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<PageMetadata>,
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

async fn service(
    State(views): State<Arc<Views>>,
    Path((identity, environment)): Path<(String, String)>,
    query: PageQuery,
) -> Response {
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
            let clusters = plan.clusters.iter().map(|planned| planned.cluster.clone()).collect();
            let Page { items, metadata } = query.page(clusters, Clone::clone);
            let clusters = items
                .into_iter()
                .map(|cluster| ClusterPlanView { hosts: plan.hosts_in(&cluster).map(Into::into).collect(), cluster });
            Some(PlanView {
                service: name(views, key, snapshot.keep_case),
                held: *frozen,
                clusters: clusters.collect(),
                notes: notes.iter().cloned().map(Into::into).collect(),
                metadata,
            })
        })
        .await;
    match view {
        Some(view) => Json(view).into_response(),
        None => error(StatusCode::NOT_FOUND, format!("no cluster runs {identity} in the environment {environment}")),
    }
}

async fn notes(State(views): State<Arc<Views>>, query: PageQuery) -> Response {
    let page = views.off_the_runtime(move |views| {
        query.page(views.registry.queries().notes_with_hints(), Clone::clone).view(NoteView::from)
    });
    page.await.answer("notes")
}

fn not_ready(missing: &str) -> Response {
    error(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {missing}"))
}
