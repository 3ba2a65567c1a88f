//! Labels and annotations by which deployment tools know the objects they own.
//!
//! A copy of a user's object is Tradewind's: with such a mark a tool in another cluster would count it among its own, and change
//! or prune it (Argo CD documentation, "Resource Tracking"; Flux documentation, "Garbage collection").

/// A tool and the domains of its keys, with all their subdomains. Each line cites their documentation.
const TOOLS: &[(&str, &[&str])] = &[
    // Argo CD, "Resource Tracking": `argocd.argoproj.io/instance`, `…/tracking-id`; "Sync Options", "Resource Hooks". Argo Rollouts,
    // `ManagedByRolloutsKey`.
    ("Argo", &["argoproj.io"]),
    // Flux, "Kustomization" and "HelmRelease" API: `kustomize.toolkit.fluxcd.io/name`, `helm.toolkit.fluxcd.io/name`. Flux 1,
    // "Garbage collection": `fluxcd.io/sync-gc-mark`, before that `flux.weave.works/…`. Flux Operator, "ResourceSet":
    // `resourceset.fluxcd.controlplane.io/name`.
    ("Flux", &["fluxcd.io", "flux.weave.works", "fluxcd.controlplane.io"]),
    // Helm, "Labels and Annotations" and `pkg/action/validate.go`: `helm.sh/chart`, `meta.helm.sh/release-name`.
    ("Helm", &["helm.sh"]),
    // Rancher Wrangler, `pkg/apply`: `objectset.rio.cattle.io/hash`, `…/applied`, also of k3s addons; Fleet: `fleet.cattle.io/…`.
    ("Rancher", &["cattle.io"]),
    // kapp, "App overview": `kapp.k14s.io/app`, `kapp.k14s.io/association`; kbld and kapp-controller.
    ("Carvel", &["k14s.io", "carvel.dev"]),
    // KEP-3659, "ApplySet": `applyset.kubernetes.io/part-of`. kro, `pkg/metadata`: `kro.run/owned`.
    ("kubectl apply --prune, kro", &["applyset.kubernetes.io", "kro.run"]),
    // `kubectl.kubernetes.io/last-applied-configuration`.
    ("kubectl", &["kubectl.kubernetes.io"]),
    // cli-utils, `pkg/common/common.go`: `config.k8s.io/owning-inventory`, `cli-utils.sigs.k8s.io/inventory-id`; kpt.
    ("cli-utils, kpt", &["config.k8s.io", "cli-utils.sigs.k8s.io", "kpt.dev"]),
    // kustomize, `api/internal/utils/annotations.go`: `config.kubernetes.io/origin`, `internal.config.kubernetes.io/…`.
    ("kustomize", &["config.kubernetes.io"]),
    // Config Sync, `pkg/metadata`: `configmanagement.gke.io/managed`, `configsync.gke.io/declared-version`.
    ("Config Sync", &["configmanagement.gke.io", "configsync.gke.io"]),
    // Operator Lifecycle Manager, `ownerutil`: `operators.coreos.com/…`; version 1: `olm.operatorframework.io/owner-name`.
    ("OLM", &["operators.coreos.com", "operatorframework.io"]),
    // Crossplane, `xcrd`: `crossplane.io/composite`, `crossplane.io/claim-name`.
    ("Crossplane", &["crossplane.io"]),
    // kluctl, "Deployments", `discriminator`: `kluctl.io/discriminator`.
    ("kluctl", &["kluctl.io"]),
    // Karmada, `pkg/util/constants.go`; KubeFed, `pkg/controller/util/managedlabel.go`; Open Cluster Management; Sveltos.
    ("multicluster", &["karmada.io", "kubefed.io", "open-cluster-management.io", "projectsveltos.io"]),
    // Hierarchical Namespace Controller, "Concepts": an object with `hnc.x-k8s.io/inherited-from` goes with its source.
    ("HNC", &["hnc.x-k8s.io"]),
    // Kubernetes addon manager, README: `addonmanager.kubernetes.io/mode`, objects with it are pruned.
    ("addon manager", &["addonmanager.kubernetes.io"]),
    // istioctl and the Istio operator, `operator/pkg/…/labels`: `install.operator.istio.io/owning-resource`.
    ("Istio operator", &["operator.istio.io"]),
    // Spinnaker, "Kubernetes manifest annotations"; Google Cloud Deploy, "Labels"; Harness, "Release name"; werf, "Annotations".
    ("pipelines", &["spinnaker.io", "deploy.cloud.google.com", "harness.io", "werf.io"]),
    // Skaffold, "Labels"; Tilt.
    ("inner loop", &["skaffold.dev", "tilt.dev"]),
];

/// Beginnings of keys without a domain: Operator Lifecycle Manager, `ownerutil.OwnerKey` (`olm.owner`, `olm.owner.namespace`).
const BEGINNINGS: &[&str] = &["olm."];

/// Keys that several tools share: Kubernetes documentation, "Recommended Labels"; Argo CD tracks by the first unless told
/// otherwise, and the addon manager pruned by the last.
const SHARED: &[&str] =
    &["app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "kubernetes.io/cluster-service"];

/// Whether a label or annotation is a tool's mark of what it owns.
#[must_use]
pub fn is_tracking(key: &str) -> bool {
    let is_below = |domain: &str, of: &str| {
        domain.strip_suffix(of).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    match key.split_once('/') {
        Some((domain, _)) => {
            SHARED.contains(&key) || TOOLS.iter().flat_map(|(_, domains)| *domains).any(|of| is_below(domain, of))
        }
        None => BEGINNINGS.iter().any(|beginning| key.starts_with(beginning)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_tools_are_known_by_their_domain_and_users_keys_stay() {
        for key in [
            "argocd.argoproj.io/instance",
            "argocd.argoproj.io/tracking-id",
            "applications.argoproj.io/app-name",
            "kustomize.toolkit.fluxcd.io/name",
            "fluxcd.io/sync-gc-mark",
            "meta.helm.sh/release-name",
            "helm.sh/chart",
            "objectset.rio.cattle.io/hash",
            "kapp.k14s.io/app",
            "applyset.kubernetes.io/part-of",
            "config.k8s.io/owning-inventory",
            "internal.config.kubernetes.io/index",
            "configsync.gke.io/declared-version",
            "olm.owner",
            "operators.coreos.com/istio.operators",
            "crossplane.io/composite",
            "app.kubernetes.io/instance",
        ] {
            assert!(is_tracking(key), "{key}");
        }
        for key in [
            "team",
            "app.kubernetes.io/name",
            "app.kubernetes.io/part-of",
            "istio.io/rev",
            "notargoproj.io/instance",
            "example.com/argoproj.io",
            "helm.sh.example.com/chart",
            "olmec",
            "",
            "/",
        ] {
            assert!(!is_tracking(key), "{key}");
        }
    }
}
