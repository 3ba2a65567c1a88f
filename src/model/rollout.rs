//! What an Argo Rollout says beside its pod template, and the hosts that its strategy brings.

use std::{fmt, sync::Arc};

/// What is kept of a Rollout beside what every workload has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// Name of the Deployment in its namespace that holds the pod template (`spec.workloadRef`).
    pub template_of: Option<Arc<str>>,
    /// Kind and name behind `spec.workloadRef`, where that is no Deployment: then the template is not read.
    pub unread_template: Option<String>,
    /// How it brings out new versions.
    pub strategy: RolloutStrategy,
}

/// `spec.strategy` of a Rollout, as far as it decides which Services count (reference behaviour §5).
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
    Canary {
        /// `stableService`; empty where none is named.
        stable: Arc<str>,
        /// `canaryService`; empty where none is named.
        canary: Arc<str>,
        /// `trafficRouting.istio`: the VirtualServices that hold the weights; absent without Istio.
        istio: Option<Vec<RouteRef>>,
    },
}

/// A VirtualService that a Rollout names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRef {
    /// Its name, or `name.namespace` where it stands in another namespace.
    pub name: Arc<str>,
    /// Names of the HTTP routes in it that hold the weights; none where it has only one.
    pub routes: Vec<Arc<str>>,
}

impl Rollout {
    /// The VirtualServices that hold its weights.
    #[must_use]
    pub fn routes(&self) -> &[RouteRef] {
        match &self.strategy {
            RolloutStrategy::Canary { istio: Some(routes), .. } => routes,
            _ => &[],
        }
    }
}

impl RouteRef {
    /// Namespace and name of the VirtualService, for a Rollout in `namespace`: what stands behind a dot in the name is the
    /// VirtualService's namespace, up to the next one (Argo Rollouts, `GetVirtualServiceNamespaceName`).
    #[must_use]
    pub fn at<'a>(&'a self, namespace: &'a str) -> (&'a str, &'a str) {
        let mut parts = self.name.split('.');
        let name = parts.next().unwrap_or_default();
        (parts.next().unwrap_or(namespace), name)
    }
}

/// Which of the hosts of a service is meant (reference behaviour §7).
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
    /// The variants beside the default one.
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
    fn a_route_stands_beside_its_rollout_or_where_its_name_says() {
        let at = |name: &str| {
            let route = RouteRef { name: name.into(), routes: Vec::new() };
            let (namespace, name) = route.at("team");
            format!("{namespace}/{name}")
        };
        assert_eq!(at("payments"), "team/payments");
        assert_eq!(at("payments.routes"), "routes/payments");
        assert_eq!(at("payments.routes.svc"), "routes/payments");
    }
}
