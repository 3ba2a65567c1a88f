//! Which workloads of one cluster count for the services that they name, by the claims and by who was there first.
//!
//! Asks [`IdentityOwners`] and decides nothing itself.

use std::{collections::BTreeMap, sync::Arc};

use super::{Effects, Record, Workloads};
use crate::{
    config::Settings,
    model::{Identity, ObjectId, ServiceKey, Workload},
    registry::{
        identity::Classified,
        identity_owners::{ChangedClaims, Eligibility, IdentityOwners, IdentityUse, Remark},
        injection::NamespaceMarks,
        partition::DisplayKey,
    },
};

/// The namespaces that run each identity, with when its oldest workload there came.
pub(in crate::registry) type RunningSince = BTreeMap<Identity, BTreeMap<Arc<str>, i64>>;

/// The workloads of one cluster, as they count for the services that they name.
pub(in crate::registry) struct WorkloadEligibility<'a>(pub(in crate::registry) &'a Workloads);

impl WorkloadEligibility<'_> {
    /// What a workload is that is classified by its own marks and those of its namespace, and what there is to say.
    pub(super) fn judge(&self, workload: &Workload, classified: Classified) -> (Classified, Option<Remark>) {
        match classified {
            Classified::Service(key) => match self.of(workload, &key) {
                Eligibility::Counts(remark) => (Classified::Service(key), remark),
                Eligibility::Excluded(why) => (Classified::Excluded { key, why }, None),
            },
            other => (other, None),
        }
    }

    fn plain(&self, workload: &Workload, key: &ServiceKey) -> Identity {
        DisplayKey::new(workload, key, &self.0.identity_key).plain
    }

    fn of(&self, workload: &Workload, key: &ServiceKey) -> Eligibility {
        let key = ServiceKey { identity: self.plain(workload, key), environment: key.environment.clone() };
        let identity_use = IdentityUse { key: &key, cluster: &self.0.cluster, namespace: &workload.id.namespace };
        self.0.owners.of_workload(identity_use, &workload.service_accounts)
    }

    fn is_another(&self, record: &Record, changed: &ChangedClaims) -> bool {
        let Record { workload, classified, remark } = record;
        let (key, before) = match classified {
            Classified::Service(key) => (key, Eligibility::Counts(remark.clone())),
            Classified::Excluded { key, why } => (key, Eligibility::Excluded(why.clone())),
            _ => return false,
        };
        changed.concerns(&self.plain(workload, key)) && self.of(workload, key) != before
    }

    /// The workloads whose eligibility changed with the claims.
    pub(in crate::registry) fn that_changed(&self, changed: &ChangedClaims) -> Vec<ObjectId> {
        let others = self.0.records.iter().filter(|(_, record)| self.is_another(record, changed));
        others.map(|(id, _)| id.clone()).collect()
    }

    /// Adds where each identity runs that a workload names, and since when.
    pub(in crate::registry) fn add_running(&self, running: &mut RunningSince) {
        for Record { workload, classified, .. } in self.0.records.values() {
            let (Classified::Service(key) | Classified::Excluded { key, .. }) = classified else { continue };
            let of = running.entry(self.plain(workload, key)).or_default();
            let since = of.entry(workload.id.namespace.clone()).or_insert(workload.created_seconds);
            *since = workload.created_seconds.min(*since);
        }
    }
}

/// Lets a cluster share who counts for which identity with the others. To be called before anything is put in.
pub(in crate::registry) fn share_owners(workloads: &mut Workloads, owners: Arc<IdentityOwners>) {
    workloads.owners = owners;
}

/// Classifies one workload again.
pub(in crate::registry) fn classify_again(
    workloads: &mut Workloads,
    id: &ObjectId,
    marks: Option<NamespaceMarks>,
    settings: &Settings,
    effects: &mut Effects,
) {
    if let Some(workload) = workloads.take(id, effects) {
        workloads.classify(workload, marks, settings, effects);
        effects.noted.insert(id.clone());
    }
}
