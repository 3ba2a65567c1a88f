//! Which Services count for an Argo Rollout, and which part of its traffic each gets (Admiral,
//! docs/admiral-behaviour.md#services-of-a-rollout, with its zero weights and host names repaired).
//!
//! Decides by the Rollout's strategy, the Services that select its pods and the VirtualService that holds its weights
//! (`rollout_weights`). A Service for a version under trial never gets all traffic, unless the weights say so. It never decides
//! what the weights mean together with a traffic policy.

use std::sync::Arc;

use super::{candidates::Candidate, purpose::Purpose, rollout_weights, selector::POD_HASH};
use crate::{
    model::{Canary, ObjectId, Rollout, RolloutStrategy, Route},
    plan::input::RelativeWeight,
};

/// Part of a Service's name by which the active one is found where none is named.
const ACTIVE: &str = "active-service";
/// Part of a Service's name by which the one for all versions of a canary is found.
const ROOT: &str = "root-service";
/// Part of a Service's name by which the one for the stable version is found where none is named.
const STABLE: &str = "stable-service";
/// Parts of a Service's name that say that it is for a version under trial, although the Rollout does not name it.
const TRIAL: [&str; 2] = ["canary", "preview"];

/// The Services that count.
#[derive(Debug, Default)]
pub(crate) struct Chosen<'a> {
    /// Those behind the default host, each with its part of the Rollout's traffic.
    pub(crate) default: Vec<(&'a Candidate<'a>, RelativeWeight)>,
    /// Whether the Rollout itself says which they are, or that they have the ports of one that it names.
    pub(crate) is_named: bool,
    /// The one behind the preview host.
    pub(crate) preview: Option<&'a Candidate<'a>>,
    /// The one behind the canary host.
    pub(crate) canary: Option<&'a Candidate<'a>>,
    /// Why the default host has none.
    pub(crate) missing: Option<String>,
    /// What is questionable about the Rollout or the VirtualService with its weights.
    pub(crate) questions: Vec<(ObjectId, String)>,
}

impl<'a> Chosen<'a> {
    fn only(candidate: Option<&'a Candidate<'a>>, otherwise: impl FnOnce() -> String) -> Self {
        Chosen {
            missing: candidate.is_none().then(otherwise),
            default: candidate.map(|candidate| (candidate, RelativeWeight::WHOLE)).into_iter().collect(),
            ..Chosen::default()
        }
    }
}

/// The VirtualServices of the cluster, as far as they can be read.
pub(crate) struct KnownRoutes<'a> {
    /// Finds one by namespace and name.
    pub(crate) find: &'a dyn Fn(&str, &str) -> Option<Arc<Route>>,
    /// Whether they were listed: what is missing then does not exist.
    pub(crate) listed: bool,
    /// What the cluster's own names end with.
    pub(crate) domain: &'a str,
}

/// The Services of a Rollout. `candidates` are those that select its pods, the newest first.
pub(crate) fn choose<'a>(
    id: &ObjectId,
    rollout: &Rollout,
    candidates: &'a [Candidate<'a>],
    routes: &KnownRoutes<'_>,
) -> Chosen<'a> {
    let named = |name: &str| candidates.iter().find(|candidate| candidate.name() == name);
    let stable = match &rollout.strategy {
        RolloutStrategy::Nothing => "",
        RolloutStrategy::BlueGreen { active, .. } => active,
        RolloutStrategy::Canary(canary) => &canary.stable,
    };
    Chosen { is_named: named(stable).is_some(), ..by_strategy(id, rollout, candidates, routes) }
}

fn by_strategy<'a>(
    id: &ObjectId,
    rollout: &Rollout,
    candidates: &'a [Candidate<'a>],
    routes: &KnownRoutes<'_>,
) -> Chosen<'a> {
    let named = |name: &str| candidates.iter().find(|candidate| candidate.name() == name);
    match &rollout.strategy {
        RolloutStrategy::Nothing => {
            Chosen::only(None, || "it has neither the strategy blueGreen nor the strategy canary".to_owned())
        }
        RolloutStrategy::BlueGreen { active, preview } => {
            let mut chosen = if active.is_empty() {
                // A previewService may have such a name, too: `inactive-service`.
                let mut others = candidates.iter().filter(|candidate| candidate.name() != &**preview);
                Chosen::only(others.find(|candidate| candidate.name().contains(ACTIVE)), || {
                    format!("it names no activeService, and no Service that selects its pods is named like {ACTIVE}")
                })
            } else {
                Chosen::only(named(active), || unfit("activeService", active))
            };
            if !preview.is_empty() {
                chosen.preview = named(preview);
                if chosen.preview.is_none() {
                    let message = format!("{}; it has no preview host", unfit("previewService", preview));
                    chosen.questions.push((id.clone(), message));
                }
            }
            chosen
        }
        RolloutStrategy::Canary(canary) => of_canary(id, canary, candidates, routes),
    }
}

/// The Services of a canary Rollout.
fn of_canary<'a>(
    id: &ObjectId,
    canary: &Canary,
    candidates: &'a [Candidate<'a>],
    routes: &KnownRoutes<'_>,
) -> Chosen<'a> {
    let named = |name: &str| candidates.iter().find(|candidate| candidate.name() == name);
    let [stable_field, canary_field] = rollout_weights::fields(canary);
    let Some(istio) = &canary.istio else { return without_weights(id, canary, candidates, Vec::new()) };
    let mut chosen = if canary.stable.is_empty() || canary.canary.is_empty() {
        let mut chosen = without_weights(id, canary, candidates, Vec::new());
        if let (Some([stable, trial]), Some((candidate, _))) = (&istio.subsets, chosen.default.first()) {
            let message = format!(
                "splits its traffic between the subsets {stable} and {trial} of a DestinationRule, and its host reaches the one \
                 Service {}: all pods share the requests equally, whatever the weights. Services for both versions \
                 (stableService, canaryService) beside the subsets would have them followed",
                candidate.name()
            );
            chosen.questions.push((id.clone(), message));
        }
        chosen
    } else {
        let (weights, mut questions) = rollout_weights::weights(id, canary, istio, routes);
        let kept = [(stable_field, &*canary.stable), (canary_field, &*canary.canary)].into_iter().zip(weights);
        let kept: Vec<_> = kept.filter(|(_, weight)| *weight > 0).collect();
        let found: Vec<_> = kept.iter().filter_map(|((_, name), weight)| Some((named(name)?, *weight))).collect();
        let is_stable_lost = weights[0] > 0 && named(&canary.stable).is_none();
        if found.is_empty() || is_stable_lost {
            let lost = kept.iter().filter(|((_, name), _)| named(name).is_none());
            questions.extend(lost.map(|((field, name), _)| (id.clone(), unfit(field, name))));
            without_weights(id, canary, candidates, questions)
        } else {
            let relative_weights = RelativeWeight::of_weights(found.iter().map(|(_, weight)| *weight));
            let default = found.iter().map(|(candidate, _)| *candidate).zip(relative_weights).collect();
            Chosen { default, questions, ..Chosen::default() }
        }
    };
    if !canary.canary.is_empty() {
        chosen.canary = named(&canary.canary);
        if chosen.canary.is_none() {
            let message = format!("{}; it has no canary host", unfit(canary_field, &canary.canary));
            chosen.questions.push((id.clone(), message));
        }
    }
    chosen
}

/// The one Service for all traffic of a canary Rollout. `questions` are why its weights have no effect: what happens instead is
/// added to them.
fn without_weights<'a>(
    id: &ObjectId,
    canary: &Canary,
    candidates: &'a [Candidate<'a>],
    mut questions: Vec<(ObjectId, String)>,
) -> Chosen<'a> {
    let whole = for_all_traffic(&id.name, canary, candidates);
    let Some(candidate) = whole else {
        let [stable_field, canary_field] = rollout_weights::fields(canary);
        let mut reasons: Vec<String> = questions.into_iter().map(|(_, message)| message).collect();
        if reasons.is_empty() && !canary.stable.is_empty() {
            reasons.push(unfit(stable_field, &canary.stable));
        }
        let trial = candidates.iter().find(|candidate| *candidate.name() == *canary.canary);
        reasons.push(trial.map_or_else(
            || "no Service selects all of its pods".to_owned(),
            |trial| format!("only its {canary_field} {} selects its pods, which never gets all traffic", trial.name()),
        ));
        return Chosen::only(None, || reasons.join(", and "));
    };
    for (_, message) in &mut questions {
        message.push_str(&format!("; all traffic goes to the Service {}", candidate.name()));
    }
    Chosen { questions, ..Chosen::only(Some(candidate), String::new) }
}

/// A Service that selects the pods of all versions: the named root, or one that the Rollout names for no version and whose selector
/// Argo did not narrow to one. Otherwise that of the stable version. Argo needs no Service: without weights the share of a version
/// is that of its pods behind any Service that selects all of them (Argo Rollouts documentation, "Canary Deployment Strategy"). One
/// for operators, or without the port of the stable version's, leads to something else, such as metrics, and not to the service.
fn for_all_traffic<'a>(rollout: &str, canary: &Canary, candidates: &'a [Candidate<'a>]) -> Option<&'a Candidate<'a>> {
    let is_version = |candidate: &Candidate<'_>| canary.versions.iter().any(|name| **name == *candidate.name());
    let unnamed = || candidates.iter().filter(|candidate| !is_version(candidate));
    let roots: Vec<&Candidate<'_>> =
        unnamed().filter(|candidate| !candidate.service.selector.contains_key(POD_HASH)).collect();
    let named_root = || {
        let mut names = canary.roots.iter();
        names.find_map(|name| roots.iter().find(|candidate| candidate.name() == &**name))
    };
    let stable = candidates.iter().find(|candidate| *candidate.name() == *canary.stable);
    let stable_port = stable.filter(|stable| stable.purpose != Purpose::Operators).and_then(Candidate::main);
    let is_for_clients = |candidate: &Candidate<'_>| stable_port.is_none() || candidate.purpose != Purpose::Operators;
    let has_its_port = |candidate: &Candidate<'_>| {
        let mut ports = candidate.published.ports.iter();
        stable_port.is_none_or(|port| ports.any(|own| own.number == port.number || own.target == port.target))
    };
    let like_root = || roots.iter().find(|candidate| candidate.name().contains(ROOT) && is_for_clients(candidate));
    let like_stable = || unnamed().find(|candidate| canary.stable.is_empty() && candidate.name().contains(STABLE));
    // What the name of the Rollout has of these words says nothing of a Service.
    let is_trial = |name: &str| {
        let rest = name.strip_prefix(rollout).unwrap_or(name);
        TRIAL.iter().any(|part| rest.contains(part))
    };
    let root = || {
        let leads_to_service = |candidate: &Candidate<'_>| is_for_clients(candidate) && has_its_port(candidate);
        roots.iter().find(|candidate| !is_trial(candidate.name()) && leads_to_service(candidate))
    };
    let found = named_root().or_else(like_root).copied();
    found.or_else(like_stable).or_else(|| root().copied()).or(stable).or_else(|| roots.first().copied())
}

/// Why a Service that a Rollout names does not count.
fn unfit(field: &str, name: &str) -> String {
    format!("its {field} {name} is no Service that selects its pods")
}
