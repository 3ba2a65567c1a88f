//! The spec of an Argo Rollout apart from its pod template, and the hosts of its strategy.

use std::{fmt, sync::Arc};

/// The fields of a Rollout that other workloads do not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// Name of the Deployment in its namespace that holds the pod template (`spec.workloadRef`).
    pub template_of: Option<Arc<str>>,
    /// Kind and name behind `spec.workloadRef`, where that is no Deployment: then the template is not read.
    pub unread_template: Option<String>,
    /// How it brings out new versions.
    pub strategy: RolloutStrategy,
}

/// `spec.strategy` of a Rollout, as far as it decides which Services count (Admiral,
/// docs/admiral-behaviour.md#services-of-a-rollout).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolloutStrategy {
    /// Neither `blueGreen` nor `canary`.
    Nothing,
    /// `blueGreen`.
    BlueGreen {
        /// `activeService`; empty where none is named.
        active: Arc<str>,
        /// `previewService`; empty where none is named.
        preview: Arc<str>,
    },
    /// `canary`.
    Canary(Box<Canary>),
}

/// A canary strategy: which Services it names, and which VirtualServices hold their weights.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Canary {
    /// The Service of the stable version; empty where none is named. With `pingPong` the one of the two that
    /// `status.canary.stablePingPong` has it (Argo Rollouts, `GetStableAndCanaryServices`).
    pub stable: Arc<str>,
    /// The Service of the version under trial; empty where none is named.
    pub canary: Arc<str>,
    /// Whether the two are those of `pingPong`.
    pub ping_pong: bool,
    /// Every Service that it names for one version only, sorted: `stableService`, `canaryService`, those of `pingPong`.
    pub versions: Vec<Arc<str>>,
    /// The Services that it names for all versions: `rootService` of ALB and SMI.
    pub roots: Vec<Arc<str>>,
    /// `trafficRouting.istio`; absent without Istio.
    pub istio: Option<IstioRouting>,
}

/// How Istio splits the traffic of a canary Rollout.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IstioRouting {
    /// The VirtualServices that hold the weights.
    pub routes: Vec<RouteRef>,
    /// `trafficRouting.managedRoutes`: names of the HTTP routes that Argo itself puts before those with the weights.
    pub managed: Vec<Arc<str>>,
    /// Names of the stable and of the canary subset of `destinationRule`.
    pub subsets: Option<[Arc<str>; 2]>,
}

/// A VirtualService that a Rollout names, and the routes in it that hold the weights. Where it names none of a protocol, the
/// VirtualService has one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteRef {
    /// Its name, or `name.namespace` where it is in another namespace.
    pub name: Arc<str>,
    /// `routes`: names of HTTP routes.
    pub routes: Vec<Arc<str>>,
    /// `tlsRoutes`: port and SNI hosts, sorted. Port 0 is that of a match without a port.
    pub tls: Vec<(u64, Vec<Arc<str>>)>,
    /// `tcpRoutes`: ports.
    pub tcp: Vec<u64>,
}

impl Rollout {
    /// The VirtualServices that hold its weights.
    #[must_use]
    pub fn routes(&self) -> &[RouteRef] {
        match &self.strategy {
            RolloutStrategy::Canary(canary) => canary.istio.as_ref().map_or(&[], |istio| &istio.routes),
            _ => &[],
        }
    }
}

impl RouteRef {
    /// Namespace and name of the VirtualService, for a Rollout in `namespace`: the text behind the last dot is the
    /// VirtualService's namespace (Argo Rollouts, `utils/istio/istio.go`, `GetVirtualServiceNamespaceName`). Older versions
    /// of Argo read what follows the first dot, so `.svc` at the end, which is no namespace of anybody, is dropped.
    #[must_use]
    pub fn at<'a>(&'a self, namespace: &'a str) -> (&'a str, &'a str) {
        let whole = self.name.strip_suffix(".cluster.local").unwrap_or(&self.name);
        let whole = whole.strip_suffix(".svc").unwrap_or(whole);
        whole.rsplit_once('.').map_or((namespace, whole), |(name, namespace)| (namespace, name))
    }
}

/// Which of the hosts of a service an object is for (Admiral, docs/admiral-behaviour.md#rollout-hosts).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variant {
    /// The service's own host.
    #[default]
    Default,
    /// `preview.` before it: the version that a blue/green Rollout is about to bring out.
    Preview,
    /// `canary.` before it: the version that a canary Rollout tries out.
    Canary,
}

impl Variant {
    /// The variants other than the default one.
    pub const OTHERS: [Self; 2] = [Self::Preview, Self::Canary];

    /// First part of the host; empty for the default one.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Default => "",
            Self::Preview => "preview",
            Self::Canary => "canary",
        }
    }

    /// The variant with that first part of the host.
    #[must_use]
    pub fn of_prefix(text: &str) -> Option<Self> {
        Self::OTHERS.into_iter().find(|variant| variant.prefix() == text)
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.prefix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_in_the_namespace_of_its_rollout_or_of_its_name() {
        let at = |name: &str| {
            let route = RouteRef { name: name.into(), ..RouteRef::default() };
            let (namespace, name) = route.at("team");
            format!("{namespace}/{name}")
        };
        assert_eq!(at("payments"), "team/payments");
        assert_eq!(at("payments.routes"), "routes/payments");
        assert_eq!(at("payments.routes.svc"), "routes/payments");
        assert_eq!(at("payments.routes.svc.cluster.local"), "routes/payments");
        assert_eq!(at("payments.v2.routes.cluster.local"), "routes/payments.v2");
    }
}
