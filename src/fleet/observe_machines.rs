//! Pruning of virtual machines: WorkloadEntries, and the ServiceEntries that users labelled with an identity.
//!
//! Decides what of them can be an endpoint at all; never whether one matters to a service.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Deserialize;
use serde_json::Value;

use super::{
    observe::{Observer, created_seconds, filled, id, is_true, metadata_text, read_at, read_metadata},
    observe_availability,
};
use crate::{
    istio::{Metadata, Owner, keys},
    model::{
        HostOverride, Kind, Labels, Locality, MachineAddress, Machines, MalformedObject, Observed, ServicePort,
        TargetPort, Workload,
    },
};

/// Hides an object when `true` (Admiral, docs/admiral-behaviour.md#ignored-objects).
const IGNORE: &str = "admiral.io/ignore";
/// Protocols that make a port the main one of a WorkloadEntry, whose ports have no order.
const MAIN_PROTOCOLS: [&str; 2] = ["http", "grpc"];
/// `location` of a ServiceEntry in the mesh. Any other value, and none, means outside of it: `MESH_EXTERNAL` is the zero value
/// (Istio API, `networking/v1alpha3/service_entry.proto`, `ServiceEntry.Location`).
const IN_MESH: &str = "MESH_INTERNAL";

/// Istio's `WorkloadEntry`: a resource, or an endpoint of a ServiceEntry.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WorkloadEntrySpec {
    address: String,
    ports: BTreeMap<String, u16>,
    labels: Labels,
    locality: String,
    network: String,
    weight: u32,
    service_account: String,
}

/// The fields of a user's ServiceEntry that make endpoints.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServiceEntryFields {
    hosts: Vec<String>,
    ports: Vec<EntryPort>,
    location: String,
    resolution: String,
    endpoints: Vec<WorkloadEntrySpec>,
    workload_selector: Selector,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Selector {
    labels: Labels,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EntryPort {
    number: u16,
    name: String,
    protocol: String,
    target_port: u16,
}

impl Observer {
    /// Prunes a WorkloadEntry.
    pub(super) fn workload_entry(&self, value: &Value) -> Result<Observed, MalformedObject> {
        let metadata = read_metadata(value)?;
        let mut entry: WorkloadEntrySpec =
            read_at("spec", value.get("spec").unwrap_or(&Value::Null)).or_else(or_default(value))?;
        // As in Istio, which selects machines by both (ConvertWorkloadEntry).
        let mut labels = std::mem::take(&mut entry.labels);
        labels.extend(metadata.labels.clone().unwrap_or_default());
        entry.labels.clone_from(&labels);
        let mut ports: Vec<ServicePort> = entry.ports.iter().map(|(name, number)| port(name, *number)).collect();
        ports.sort_by_key(|port| !MAIN_PROTOCOLS.iter().any(|main| port.name.starts_with(main)));
        let mut machines = Machines { ports, ..Machines::default() };
        let account = filled(Some(&entry.service_account)).map(Into::into);
        take(entry, &self.settings().hostname_suffix, &mut machines);
        let availability = observe_availability::of_workload_entry(metadata.annotations.as_ref(), value);
        let machine = self.machine(Kind::WorkloadEntry, &metadata, labels, machines, account.into_iter().collect());
        Ok(Observed::Workload(Workload { availability, ..machine }))
    }

    /// Prunes a ServiceEntry: what was written, in the sync namespace; elsewhere what was taken over or may be, machines, where a user labelled it with an
    /// identity, and otherwise the hosts that may be published.
    pub(super) fn service_entry(&self, value: &Value) -> Result<Observed, MalformedObject> {
        let settings = self.settings();
        if metadata_text(value, "namespace") == settings.sync_namespace {
            return self.written(Kind::ServiceEntry, value);
        }
        let metadata = read_metadata(value)?;
        let labels = metadata.labels.clone().unwrap_or_default();
        let marks = Metadata {
            labels: labels.clone(),
            annotations: metadata.annotations.clone().unwrap_or_default(),
            ..Metadata::default()
        };
        let is_machine = settings.reads_machines()
            && labels.get(&settings.workload_identity_key).is_some_and(|identity| !identity.trim().is_empty());
        let id = id(Kind::ServiceEntry, &metadata);
        if self.concerns_adoption(&id, &marks) {
            return self.written(Kind::ServiceEntry, value);
        }
        let spec = value.get("spec").unwrap_or(&Value::Null);
        // Entries of another global traffic controller are not a user's: as sources they would form a loop, and every host would
        // count as contested.
        if marks.owner() != Owner::Foreign {
            return Ok(Observed::Other(id));
        }
        let host_override = HostOverride::of_entry(id.clone(), spec, &settings.hostname_suffix);
        if !is_machine {
            return Ok(host_override.map_or(Observed::Other(id), Observed::HostOverride));
        }
        let spec: ServiceEntryFields = read_at("spec", spec).or_else(or_default(value))?;
        let accounts = spec.endpoints.iter().filter_map(|entry| filled(Some(&entry.service_account)));
        let accounts = accounts.map(Into::into).collect();
        let machines =
            Machines { host_override: host_override.map(Box::new), ..machines(spec, &settings.hostname_suffix) };
        Ok(Observed::Workload(self.machine(Kind::ServiceEntry, &metadata, labels, machines, accounts)))
    }

    fn machine(
        &self,
        kind: Kind,
        metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
        labels: Labels,
        machines: Machines,
        service_accounts: BTreeSet<Arc<str>>,
    ) -> Workload {
        Workload {
            created_seconds: created_seconds(metadata),
            ignored: is_true(metadata.annotations.as_ref(), IGNORE),
            additional_hosts: self.has_additional_hosts(Some(&labels)),
            template_labels: labels,
            template_annotations: self.observed_annotations(metadata.annotations.as_ref()),
            service_accounts: service_accounts.into_iter().collect(),
            machines: Some(Box::new(machines)),
            ..Workload::new(id(kind, metadata))
        }
    }
}

/// The machines of a ServiceEntry, for a mesh whose hosts end with `suffix`.
fn machines(spec: ServiceEntryFields, suffix: &str) -> Machines {
    if spec.location != IN_MESH {
        // A workloadSelector applies to services in the mesh only, so the ports do not count for others either.
        return Machines { external: true, ..Machines::default() };
    }
    let tcp = spec.ports.iter().filter(|port| !port.protocol.eq_ignore_ascii_case("udp"));
    let mut machines = Machines {
        ports: tcp
            .map(|port| ServicePort {
                name: port.name.clone(),
                number: port.number,
                target: TargetPort::Number(if port.target_port == 0 { port.number } else { port.target_port }),
                app_protocol: filled(Some(&port.protocol)).map(str::to_ascii_lowercase),
            })
            .collect(),
        selector: spec.workload_selector.labels,
        ..Machines::default()
    };
    if !machines.selector.is_empty() {
        return machines;
    }
    let by_name = ["DNS", "DNS_ROUND_ROBIN"].contains(&spec.resolution.as_str());
    match spec.hosts.into_iter().next() {
        _ if !spec.endpoints.is_empty() => {
            spec.endpoints.into_iter().for_each(|endpoint| take(endpoint, suffix, &mut machines));
        }
        Some(host) if by_name && host.contains('*') => {
            machines.problems.push(format!("has no endpoints, and its host {host} is not one name"));
        }
        Some(host) if by_name => {
            take(WorkloadEntrySpec { address: host, ..WorkloadEntrySpec::default() }, suffix, &mut machines)
        }
        _ => {
            let resolution = filled(Some(&spec.resolution)).unwrap_or("NONE");
            machines.problems.push(format!("has no endpoints, and its resolution {resolution} finds none"));
        }
    }
    machines
}

/// Adds one machine, or why it cannot be an endpoint.
fn take(entry: WorkloadEntrySpec, suffix: &str, into: &mut Machines) {
    let address = entry.address.trim();
    let in_mesh = entry.labels.get(keys::TLS_MODE).is_none_or(|mode| mode == "istio");
    let problem = if address.is_empty() {
        Some("has no address".to_owned())
    } else if address.starts_with("unix:") {
        Some(format!("its address {address} is a socket that no other proxy reaches"))
    } else if is_published(address, suffix) {
        Some(format!("its address {address} is the host of a service of the mesh, which would lead back to it"))
    } else if !in_mesh {
        Some(format!(
            "its label {} says that it has no sidecar, and endpoints are called with mutual TLS",
            keys::TLS_MODE
        ))
    } else {
        None
    };
    match problem {
        Some(problem) => into.problems.push(problem),
        None => into.addresses.push(MachineAddress {
            address: address.into(),
            ports: entry.ports,
            locality: Locality::parse(&entry.locality),
            network: filled(Some(&entry.network)).map(Into::into),
            weight: entry.weight,
        }),
    }
}

fn is_published(address: &str, suffix: &str) -> bool {
    let address = address.trim_end_matches('.').to_ascii_lowercase();
    address.strip_suffix(suffix).is_some_and(|name| name.ends_with('.'))
}

/// An object without a spec is empty, not malformed.
fn or_default<T: Default>(value: &Value) -> impl FnOnce(MalformedObject) -> Result<T, MalformedObject> {
    let is_missing = value.get("spec").is_none_or(Value::is_null);
    move |error| if is_missing { Ok(T::default()) } else { Err(error) }
}

fn port(name: &str, number: u16) -> ServicePort {
    ServicePort { name: name.to_owned(), number, target: TargetPort::Number(number), app_protocol: None }
}
