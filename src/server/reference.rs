//! Admiral's REST routes with its shapes and status codes (Admiral, docs/admiral-behaviour.md#http-routes), from
//! live plans.
//!
//! One difference: `serviceentries` shows what each cluster should hold by now, not the answer of its API server.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use axum::{
    Extension, Json, Router,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde_json::{Value, json};

use super::{
    Views, array,
    connections::Connection,
    views::{both, error},
};
use crate::{
    istio::{Object, keys},
    model::{ClusterName, Policy, ServiceKey},
};

pub(super) fn routes() -> Router<Arc<Views>> {
    [
        ("/clusters", get(clusters)),
        ("/cluster/{clustername}/serviceentries", get(service_entries_of_cluster)),
        ("/identity/{identity}/serviceentries", get(service_entries_of_identity)),
        ("/identity/{identity}/globaltrafficpolicy", get(global_traffic_policy)),
    ]
    .into_iter()
    .fold(Router::new(), |router, (path, method)| both(router, path, method))
}

async fn clusters(State(views): State<Arc<Views>>) -> Response {
    let names: Vec<ClusterName> = views.registry.queries().clusters().into_iter().map(|cluster| cluster.name).collect();
    if names.is_empty() {
        // A JSON string, and yet not said to be JSON: as Admiral does.
        return (text_header(), "\"No cluster is monitored by admiral\"").into_response();
    }
    Json(names).into_response()
}

async fn service_entries_of_cluster(
    State(views): State<Arc<Views>>,
    connection: Option<Extension<Connection>>,
    Path(name): Path<String>,
) -> Response {
    let name = name.trim_matches(' ').to_owned();
    if name.is_empty() {
        let message = "cluster name not provided as part of the request\n";
        return (StatusCode::BAD_REQUEST, message).into_response();
    }
    let known = ClusterName::parse(&name).ok().filter(|cluster| is_monitored(&views, cluster));
    let Some(cluster) = known else {
        return (StatusCode::NOT_FOUND, format!("admiral is not monitoring cluster {name}\n")).into_response();
    };
    let entries = array::answer(views, connection.map(|Extension(connection)| connection), move |views, key| {
        let plan = (views.plan)(key).into_iter();
        let of_cluster = plan.flat_map(|plan| plan.clusters).filter(|planned| planned.cluster == cluster);
        let hosts = of_cluster.flat_map(|planned| planned.hosts);
        hosts.map(|host| Object::ServiceEntry(host.service_entry).manifest()).collect()
    });
    match entries.await {
        Some(response) => response,
        None => (text_header(), format!("no service entries configured for cluster - {name}")).into_response(),
    }
}

fn is_monitored(views: &Views, name: &ClusterName) -> bool {
    views.registry.queries().clusters().iter().any(|cluster| cluster.name == *name)
}

async fn service_entries_of_identity(
    State(views): State<Arc<Views>>,
    connection: Option<Extension<Connection>>,
    Path(identity): Path<String>,
) -> Response {
    let identity = identity.trim_matches(' ').to_owned();
    if identity.is_empty() {
        return (StatusCode::BAD_REQUEST, "Identity not provided as part of the request\n").into_response();
    }
    let entries = array::answer(views, connection.map(|Extension(connection)| connection), move |views, key| {
        let mut found: BTreeMap<String, BTreeSet<ClusterName>> = BTreeMap::new();
        for planned in (views.plan)(key).into_iter().flat_map(|plan| plan.clusters) {
            for host in planned.hosts.iter().filter(|host| host.host.as_str().contains(&identity)) {
                found.entry(host.host.to_string()).or_default().insert(planned.cluster.clone());
            }
        }
        found.into_iter().map(|(cname, clusters)| json!({ "Cname": cname, "Clusters": clusters })).collect()
    });
    entries.await.unwrap_or_else(|| Json(json!([])).into_response())
}

async fn global_traffic_policy(
    State(views): State<Arc<Views>>,
    Path(identity): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let env = query.get("env").filter(|env| !env.is_empty()).cloned().unwrap_or_else(|| "default".into());
    if identity.is_empty() {
        return error(StatusCode::BAD_REQUEST, "identity not provided as part of the path param".into());
    }
    let in_force = match ServiceKey::parse(&identity, &env) {
        Ok(key) => views.off_the_runtime(move |views| policy_in_force(views, &key)).await,
        Err(_) => None,
    };
    match in_force {
        Some(policy) => Json(policy).into_response(),
        None => {
            let message = format!("globaltraffic policy with identity: {identity} and env: {env} was not found");
            error(StatusCode::NOT_FOUND, message)
        }
    }
}

/// The policy that the planned objects name.
fn policy_in_force(views: &Views, key: &ServiceKey) -> Option<Value> {
    let plan = (views.plan)(key)?;
    let planned = plan.clusters.first()?.hosts.first()?;
    let path = planned.service_entry.metadata.annotations.get(keys::POLICY)?;
    let snapshot = views.registry.inputs().service(key)?;
    let of_path = |(cluster, policy): &&(ClusterName, Arc<Policy>)| policy.id.in_cluster(cluster).text() == *path;
    snapshot.policies.iter().find(of_path).map(|(_, policy)| manifest(policy))
}

/// The policy as far as it is kept: annotations that decide nothing are not.
fn manifest(policy: &Policy) -> Value {
    let created = jiff::Timestamp::from_second(policy.created_seconds).unwrap_or_default();
    json!({
        "apiVersion": "admiral.io/v1alpha1",
        "kind": "GlobalTrafficPolicy",
        "metadata": {
            "name": policy.id.name,
            "namespace": policy.id.namespace,
            "creationTimestamp": created.to_string(),
            "labels": policy.labels,
            "annotations": policy.annotations,
        },
        "spec": *policy.spec,
        "status": { "clustersSynced": 0, "state": "" },
    })
}

fn text_header() -> [(header::HeaderName, &'static str); 1] {
    [(header::CONTENT_TYPE, "text/plain; charset=utf-8")]
}
