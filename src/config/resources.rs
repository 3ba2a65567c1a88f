//! Which services of which clusters a setting names: `cluster=identity,identity`, with `*` for all of either.

use super::value::{Form, Refusal, Value};
use crate::model::{ClusterName, Identity};

/// Services by cluster. Written as a list of `cluster=identity`; what follows without `=` is of the same cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resources(Vec<(String, Vec<String>)>);

impl Resources {
    /// Whether a service of that identity is named in that cluster.
    #[must_use]
    pub fn name(&self, cluster: &ClusterName, identity: &Identity) -> bool {
        let of_cluster = self.0.iter().filter(|(name, _)| name == "*" || name == cluster.as_str());
        of_cluster
            .flat_map(|(_, identities)| identities)
            .any(|name| name == "*" || name.eq_ignore_ascii_case(identity.as_str()))
    }
}

impl Value for Resources {
    const FORM: Form = Form::Many;
    const PLACEHOLDER: &'static str = "CLUSTER=IDENTITY,...";

    fn read(items: &[&str]) -> Result<Self, Refusal> {
        let mut resources: Vec<(String, Vec<String>)> = Vec::new();
        for (item, text) in items.iter().enumerate() {
            let refused = |why| Refusal { item: Some(item), why: Some(why) };
            for part in text.split(',').map(str::trim) {
                let identity = match part.split_once('=') {
                    Some((cluster, identity)) => {
                        if cluster.trim().is_empty() {
                            return Err(refused("a cluster's name, or *, stands before the ="));
                        }
                        resources.push((cluster.trim().to_owned(), Vec::new()));
                        identity.trim()
                    }
                    None => part,
                };
                let Some((_, identities)) = resources.last_mut() else {
                    return Err(refused("the first entry begins with a cluster's name, or *, and ="));
                };
                if identity.is_empty() {
                    return Err(refused("an identity, or *, stands after the ="));
                }
                identities.push(identity.to_owned());
            }
        }
        Ok(Self(resources))
    }

    fn show(&self) -> String {
        let entries = self.0.iter().map(|(cluster, identities)| format!("{cluster}={}", identities.join(",")));
        entries.collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(items: &[&str], cluster: &str, identity: &str) -> bool {
        let resources = Resources::read(items).unwrap();
        assert_eq!(
            Resources::read(&resources.show().split(',').filter(|s| !s.is_empty()).collect::<Vec<_>>()).unwrap(),
            resources
        );
        resources.name(&ClusterName::parse(cluster).unwrap(), &Identity::parse(identity).unwrap())
    }

    #[test]
    fn a_service_is_named_by_cluster_and_identity_in_any_case() {
        let items = ["east=Payments,orders", "*=greeting", "west=*"];
        assert!(names(&items, "east", "payments") && names(&items, "east", "orders"));
        assert!(names(&items, "east", "greeting") && names(&items, "west", "anything"));
        assert!(!names(&items, "east", "reports") && !names(&items, "north", "payments"));
        assert!(names(&["east=payments", "orders"], "east", "orders"), "as a flag splits it");
        assert!(!names(&[], "east", "payments"));
    }

    #[test]
    fn what_names_no_cluster_or_no_identity_is_refused() {
        for bad in ["payments", "=payments", "east=", "east=a,,b"] {
            assert!(Resources::read(&[bad]).is_err(), "{bad}");
        }
    }
}
