//! Which namespaces may route which hosts in all clusters besides those of the hosts' own services: `namespace=suffix`, with
//! `*` for all of either.

use super::value::{Form, Refusal, Value};
use crate::model::is_dns_label;

/// Stands for every namespace, or every host.
const ANY: &str = "*";

/// What an operator allows namespaces to route. Written as a list of `namespace=suffix`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteGrants(Vec<(String, String)>);

impl RouteGrants {
    /// Every namespace may route every host.
    #[must_use]
    pub fn all() -> Self {
        Self(vec![(ANY.to_owned(), ANY.to_owned())])
    }

    /// Whether a namespace may route a host, which may be a wildcard.
    #[must_use]
    pub fn allow(&self, namespace: &str, host: &str) -> bool {
        let mut of_namespace = self.0.iter().filter(|(of, _)| of == ANY || of == namespace);
        of_namespace.any(|(_, suffix)| suffix == ANY || is_within(host, suffix))
    }
}

/// Whether a host is a suffix or below it, in any spelling. A wildcard is where all that it covers is.
fn is_within(host: &str, suffix: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == suffix || host.strip_suffix(suffix).is_some_and(|before| before.ends_with('.'))
}

impl Value for RouteGrants {
    const FORM: Form = Form::Many;
    const PLACEHOLDER: &'static str = "NAMESPACE=SUFFIX,...";

    fn read(items: &[&str]) -> Result<Self, Refusal> {
        let grant = |(item, text): (usize, &&str)| {
            let refused = |why| Refusal { item: Some(item), why: Some(why) };
            let Some((namespace, suffix)) = text.split_once('=') else {
                return Err(refused(
                    "a namespace, or *, stands before a =, and the end of host names, or *, behind it",
                ));
            };
            let (namespace, suffix) = (namespace.trim(), suffix.trim().trim_end_matches('.').to_ascii_lowercase());
            if namespace != ANY && !is_dns_label(namespace) {
                return Err(refused("a namespace, or *, stands before the ="));
            }
            if suffix != ANY && !suffix.split('.').all(is_dns_label) {
                return Err(refused("the end of host names, such as example.com, or *, stands behind the ="));
            }
            Ok((namespace.to_owned(), suffix))
        };
        Ok(Self(items.iter().enumerate().map(grant).collect::<Result<_, _>>()?))
    }

    fn show(&self) -> String {
        let grants = self.0.iter().map(|(namespace, suffix)| format!("{namespace}={suffix}"));
        grants.collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_may_route_what_is_at_or_below_its_suffix() {
        let grants = RouteGrants::read(&["pay=bank.example", "edge=*", "*=open.example."]).unwrap();
        let shown = grants.show();
        assert_eq!(RouteGrants::read(&shown.split(',').collect::<Vec<_>>()).unwrap(), grants);
        for host in ["bank.example", "a.Bank.Example.", "*.bank.example", "*-x.bank.example"] {
            assert!(grants.allow("pay", host) && grants.allow("edge", host) && !grants.allow("evil", host), "{host}");
        }
        for host in ["xbank.example", "*bank.example", "*.example", "*", "example", ""] {
            assert!(!grants.allow("pay", host), "{host}");
        }
        assert!(grants.allow("evil", "a.open.example"));
        assert!(!RouteGrants::default().allow("pay", "bank.example"));
    }

    #[test]
    fn what_names_no_namespace_or_no_suffix_is_refused() {
        for bad in ["pay", "=bank.example", "pay=", "Pay=bank.example", "pay=*.example", "pay=a..b", "pay=a b"] {
            assert!(RouteGrants::read(&[bad]).is_err(), "{bad}");
        }
    }
}
