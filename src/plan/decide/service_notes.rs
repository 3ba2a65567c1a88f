//! What the owners of a service should know about its hosts, ports and policy.

use super::{Context, HostContext, Problems, VariantView, pods, regions, shares};
use crate::{
    model::{Kind, Note, NoteKind, ObjectPath, ServiceKey, Variant},
    plan::input::{AdditionalHosts, ServiceInput, Source, Target},
};

impl Context<'_> {
    /// What its owners should know, by whom can mend it: of the policy, or of the service.
    pub(super) fn notes(&self, problems: Problems) -> Vec<Note> {
        let mut notes = Vec::new();
        // Without a host at all, no policy is to blame.
        let has_host = !self.hosts.is_empty();
        self.too_many_pods(&mut notes);
        self.unreached_by_readers(&mut notes);
        notes.extend(regions::without_pods(self.service));
        notes.extend(problems.hosts.into_iter().map(|(kind, message)| self.note(has_host, kind, message)));
        notes.extend(problems.ports.into_iter().map(|message| self.note(false, NoteKind::PortsDiffer, message)));
        for host_context @ HostContext { wanted, shares, claim, .. } in &self.hosts {
            let (host, key) = (&wanted.host, &self.service.key);
            if let Some(holder) = claim.and_then(|claim| claim.taken_by.as_ref()) {
                let reserved = claim.and_then(|claim| claim.reserved.as_ref());
                let message = match reserved {
                    None => format!("the host {host} belongs to the service {holder}; {key} is not published under it"),
                    Some(reservation) => format!(
                        "the host {host} belonged to the service {holder}, which runs nowhere or asks for it no more, and is kept for \
                         it until {}; {key} is not published under it before that",
                        reservation.until
                    ),
                };
                notes.push(self.note(!wanted.is_default, NoteKind::HostTaken, message));
            }
            if host_context.is_of_variant() {
                continue;
            }
            let questions =
                shares::problems(wanted.entry.as_ref(), shares, &self.views[&wanted.variant].service, self.settings);
            let about_host = |(kind, message)| self.note(true, kind, format!("for the host {host}: {message}"));
            notes.extend(questions.into_iter().map(about_host));
            if self.service.additional == AdditionalHosts::Yes
                && let Some(Err(problem)) = self.aliases(host)
            {
                let message = format!("{problem}; {host} has no additional hosts");
                notes.push(self.note(!wanted.is_default, NoteKind::HostInvalid, message));
            }
        }
        if let (true, AdditionalHosts::Taken(rival)) = (has_host, &self.service.additional) {
            let message = format!(
                "the additional hosts of {} belong to the service {rival}; {} has none",
                self.service.key, self.service.key
            );
            notes.push(self.note(false, NoteKind::HostTaken, message));
        }
        notes
    }

    /// Where pods would be endpoints themselves, were there fewer.
    fn too_many_pods(&self, notes: &mut Vec<Note>) {
        let VariantView { service, ports } = &self.views[&Variant::Default];
        for source in &service.sources {
            let is_seen = service.targets.iter().any(|target| pods::reaches_pods(source, target));
            let Some(count) = pods::too_many(source, ports, self.settings).filter(|_| is_seen) else { continue };
            let most = self.settings.direct_endpoints_max_pods;
            let instead = if source.gateway.is_known() {
                "clusters of the same network reach them through the gateway"
            } else {
                "all of them are endpoints, because the cluster has no gateway"
            };
            let mut note =
                self.note(false, NoteKind::PodsTooMany, format!("has {count} pods, more than {most}; {instead}"));
            note.object = service_of(source);
            notes.push(note);
        }
    }

    /// Where one istiod serves several clusters, and a Service's own name is read in others than its own.
    fn unreached_by_readers(&self, notes: &mut Vec<Note>) {
        let VariantView { service, ports } = &self.views[&Variant::Default];
        for source in &service.sources {
            let is_missed = |target: &&Target| {
                target.is_read_in(&source.cluster)
                    && target.served_clusters.len() > 1
                    && pods::pods_for_all(&service.sources, source, target, ports, self.settings).is_err()
            };
            let Some(target) = service.targets.iter().find(is_missed) else { continue };
            let others = target.served_clusters.iter().filter(|reader| reader.cluster != source.cluster);
            let others: Vec<&str> = others.map(|reader| reader.cluster.as_str()).collect();
            let message = format!(
                "clients in {} read its own name from the istiod of {}, too: they do not reach it, or reach a Service of that name of \
                 their own",
                others.join(", "),
                target.cluster
            );
            let mut note = self.note(false, NoteKind::NameShared, message);
            note.object = service_of(source);
            notes.push(note);
        }
    }

    pub(super) fn note(&self, about_policy: bool, kind: NoteKind, message: String) -> Note {
        let object = match self.chosen.filter(|_| about_policy) {
            Some((cluster, policy)) => policy.id.in_cluster(cluster),
            None => first_service(self.service),
        };
        Note { kind, object, service: Some(self.service.key.clone()), message }
    }
}

pub(super) fn unreadable(policy: &ObjectPath, key: &ServiceKey) -> Note {
    if policy.kind == Kind::IdentityClaim {
        let message = format!("decides {key} and cannot be used; the objects of {key} stay as they are");
        return Note { kind: NoteKind::ClaimHeld, object: policy.clone(), service: Some(key.clone()), message };
    }
    Note {
        kind: NoteKind::PolicyUnreadable,
        object: policy.clone(),
        service: Some(key.clone()),
        message: format!("was in force for {key} and cannot be read now; the objects of {key} stay as they are"),
    }
}

fn first_service(service: &ServiceInput) -> ObjectPath {
    service_of(&service.sources[0])
}

fn service_of(source: &Source) -> ObjectPath {
    let (namespace, name) =
        source.services.first().map_or(("", ""), |backend| (&*backend.namespace, &*backend.service));
    ObjectPath::new(&source.cluster, Kind::Service, namespace, name)
}
