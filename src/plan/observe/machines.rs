//! Virtual machines as endpoints: what a WorkloadEntry or ServiceEntry offers where no Service leads to it.
//!
//! Decides which of its ports and addresses are published; never which service it belongs to.

use std::sync::Arc;

use super::{ports, selector::selects};
use crate::{
    model::{Kind, MachineAddress, Machines, ObjectId, ServicePort, TargetPort, Workload},
    plan::input::{Backend, Machine, RelativeWeight},
};

/// Why a machine that may well be a client only makes no endpoint.
pub(crate) const NO_PORT: &str = "names no port";

/// Namespace and name of a Service or, with its kind and a number, of the object of a machine.
pub(crate) type At = (Arc<str>, Arc<str>, Option<(Kind, usize)>);

/// The machines of an object, each with its weight (0 for none), and why others do not count. `entries` are the ServiceEntries of the same service and namespace:
/// one that selects the machine says its ports.
pub(crate) fn backends<'a>(
    workload: &Workload,
    machines: &Machines,
    entries: impl Iterator<Item = &'a Workload>,
    hint: Option<&str>,
) -> (Vec<(At, Backend, u32)>, Vec<String>) {
    let mut problems = machines.problems.clone();
    if machines.addresses.is_empty() {
        return (Vec::new(), problems);
    }
    let selecting = entries.filter(|entry| entry.id != workload.id && entry.id.namespace == workload.id.namespace);
    let mut selecting: Vec<_> = selecting
        .filter_map(|entry| Some((&entry.id, entry.machines.as_deref()?)))
        .filter(|(_, entry)| selects(&entry.selector, &workload.template_labels, false) && !entry.ports.is_empty())
        .collect();
    selecting.sort_by_key(|(id, _)| *id);
    let offered = selecting.first().map_or(&machines.ports, |(_, entry)| &entry.ports);
    if offered.is_empty() {
        problems.push(NO_PORT.into());
        return (Vec::new(), problems);
    }
    let published = match ports::main_first(offered, hint) {
        Ok(published) => published,
        Err(reason) => {
            problems.push(reason.to_string());
            return (Vec::new(), problems);
        }
    };
    let backend = |at: &MachineAddress| Backend {
        namespace: workload.id.namespace.clone(),
        service: workload.id.name.clone(),
        workload: workload.id.kind,
        ports: published.iter().map(|(_, port)| port.clone()).collect(),
        relative_weight: RelativeWeight::WHOLE,
        pods: Vec::new(),
        machine: Some(Machine {
            address: at.address.clone(),
            ports: published.iter().map(|(index, _)| number_at(&offered[*index], at)).collect(),
            locality: at.locality.clone(),
            network: at.network.clone(),
        }),
    };
    let id = &workload.id;
    let at = |number| (id.namespace.clone(), id.name.clone(), Some((id.kind, number)));
    let numbered = machines.addresses.iter().enumerate();
    (numbered.map(|(number, machine)| (at(number), backend(machine), machine.weight)).collect(), problems)
}

fn number_at(port: &ServicePort, at: &MachineAddress) -> u16 {
    let own = match &port.target {
        TargetPort::Number(number) => *number,
        TargetPort::Name(_) => port.number,
    };
    at.ports.get(&port.name).copied().unwrap_or(own)
}

/// Why an object that represents machines by a selector only contributes nothing.
pub(crate) fn selects_nothing(workload: &Workload) -> Option<(ObjectId, String)> {
    let by_selector = workload.id.kind == Kind::ServiceEntry
        && workload.machines.as_deref().is_some_and(|machines| !machines.selector.is_empty());
    let reason = "selects workloads, and none of them offers an endpoint: they need the identity label too";
    by_selector.then(|| (workload.id.clone(), reason.to_owned()))
}
