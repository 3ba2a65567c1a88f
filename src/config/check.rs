//! What one value must be beyond its type. What two settings must be together is in `rules`.

use std::net::{Ipv4Addr, SocketAddr};

use ipnet::Ipv4Net;

use super::{resources::Resources, route_grants::RouteGrants, value::Refusal};
use crate::{
    istio::keys,
    model::{is_dns_label, is_dns_subdomain},
};

/// Longest label value or key name Kubernetes accepts, in characters.
const MAX_PART_CHARS: usize = 63;
/// Longest suffix, in characters: leaves room for `<prefix>.<env>.<identity>.` in a host whose objects must have names too.
const MAX_SUFFIX_CHARS: usize = 120;
/// Narrowest address range: fewer than 256 hosts is no fleet, and a range that runs full refuses new hosts.
const MAX_RANGE_PREFIX_BITS: u8 = 24;
/// Bounds the connections and memory that writes to one cluster take.
pub(super) const MAX_WRITE_CONCURRENCY: usize = 1_000;
/// A year.
pub(super) const MAX_HOST_REST_HOURS: u32 = 8_760;
/// More than an hour is no graceful stop (often the value is in milliseconds).
pub(super) const MAX_GRACEFUL_STOP_SECONDS: u32 = 3_600;

/// Ranges whose addresses proxies cannot use as virtual ones, and why.
const TAKEN_RANGES: [(Ipv4Net, &str); 4] = [
    (Ipv4Net::new_assert(Ipv4Addr::new(0, 0, 0, 0), 8), "it overlaps 0.0.0.0/8, which no client can call"),
    (Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8), "it overlaps the loopback range 127.0.0.0/8"),
    (Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4), "it overlaps the multicast range 224.0.0.0/4"),
    (
        // Default of Istio's PILOT_IP_AUTOALLOCATE_IPV4_PREFIX.
        Ipv4Net::new_assert(Ipv4Addr::new(240, 240, 0, 0), 16),
        "it overlaps 240.240.0.0/16, from which Istio itself allocates",
    ),
];

/// Which values of a type are allowed.
pub(super) struct Check<T: ?Sized> {
    /// In words, for messages and the reference page; empty where the type alone defines it.
    pub allowed: &'static str,
    /// Refuses the others.
    pub test: fn(&T) -> Result<(), Refusal>,
}

impl<T: ?Sized> Check<T> {
    /// Every value of the type.
    pub const fn any() -> Self {
        Self { allowed: "", test: |_| Ok(()) }
    }

    /// Every value of the type, in other words.
    pub const fn described(allowed: &'static str) -> Self {
        Self { allowed, test: |_| Ok(()) }
    }
}

macro_rules! check {
    ($allowed:expr, $test:expr) => {
        Check { allowed: $allowed, test: |value| if $test(value) { Ok(()) } else { Err(Refusal::not_allowed()) } }
    };
}
pub(super) use check;

pub(super) const NAMESPACE: Check<String> =
    check!("a namespace name: lower-case letters, digits and '-', up to 63 characters", |t: &str| is_dns_label(t));

/// What kubeconfigs may be allowed to ask for.
pub(crate) const KUBECONFIG_RISKS: [&str; 4] = ["http", "insecure-tls", "impersonation", "local-address"];

pub(super) const NAMESPACES: Check<Vec<String>> =
    check!("namespace names", |names: &Vec<String>| names.iter().all(|name| is_dns_label(name)));

pub(super) const NAMESPACES_OR_ANY: Check<Vec<String>> =
    check!("namespace names, or *", |names: &Vec<String>| names.iter().all(|name| name == "*" || is_dns_label(name)));

pub(super) const DIRECTORIES: Check<Vec<String>> =
    check!("absolute paths of directories, such as /etc/istio/extensions", |paths: &Vec<String>| paths
        .iter()
        .all(|path| path.starts_with('/') && !path.split('/').any(|part| part == "..")));

/// Namespaces, or single objects in them.
pub(super) const ADOPT: Check<Vec<String>> =
    check!("namespaces, or objects as namespace/name", |items: &Vec<String>| items.iter().all(|item| {
        let (namespace, name) = item.split_once('/').unwrap_or((item, "any"));
        is_dns_label(namespace) && is_dns_name(name)
    }));

/// An address that has a default by place.
pub(super) const LISTEN_ADDRESS: Check<Option<SocketAddr>> =
    Check::described("an IP address and a port, such as 0.0.0.0:8080, or nothing");

/// Names that a `Host` header may have.
pub(super) const HOST_NAMES: Check<Vec<String>> = check!("DNS names in lower case, or *", |names: &Vec<String>| names
    .iter()
    .all(|name| name == "*" || is_dns_name(name)));

pub(super) const DOMAIN: Check<String> =
    check!("a DNS name in lower case, up to 120 characters", |t: &str| t.len() <= MAX_SUFFIX_CHARS && is_dns_name(t));

pub(super) const OBJECT_NAME_OR_EMPTY: Check<String> =
    check!("an object name (lower-case letters, digits, '-' and '.', up to 253 characters) or nothing", |t: &str| t
        .is_empty()
        || is_dns_name(t));

pub(super) const LABEL_VALUE: Check<String> =
    check!("a label value: letters, digits, '-', '_' and '.', up to 63 characters", |t: &str| is_key_name(t));

pub(super) const LABEL_VALUE_OR_EMPTY: Check<String> =
    check!("a label value (letters, digits, '-', '_' and '.', up to 63 characters) or nothing", |t: &str| t.is_empty()
        || is_key_name(t));

pub(super) const RESOURCES: Check<Resources> = Check::described(
    "cluster=identity; * for every cluster or identity, and further identities may follow after commas",
);

pub(super) const ROUTE_GRANTS: Check<RouteGrants> =
    Check::described("namespace=suffix, such as payments=bank.example.com; * for every namespace or every host");

/// Beginnings of the Istio version that a proxy reports, or `any` alone.
pub(super) const VERSIONS: Check<Vec<String>> = Check {
    allowed: "Istio versions such as 1.28, or any",
    test: |versions| {
        let is_version =
            |t: &String| t.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
        match versions.as_slice() {
            [] => Err(Refusal::because("it names no version")),
            [any] if any == "any" => Ok(()),
            several if several.iter().all(is_version) => Ok(()),
            several if several.iter().any(|version| version == "any") => Err(Refusal::because("any stands alone")),
            _ => Err(Refusal::not_allowed()),
        }
    },
};

pub(super) const KEY: Check<String> =
    check!("a label key: an optional DNS name and '/', then up to 63 letters, digits, '-', '_' and '.'", |t: &str| {
        is_key(t)
    });

/// Keys that are also written on objects, and so must not be one of those that mark them.
pub(super) const WRITTEN_KEY: Check<String> = Check {
    allowed: KEY.allowed,
    test: |text| {
        let fixed = [keys::MANAGED_BY, keys::CREATED_BY, keys::DNS_PREFIX, keys::ASSOCIATED_GTP];
        if fixed.contains(&text.as_str()) || text.starts_with("tradewind.io/") {
            return Err(Refusal::because("Tradewind marks its objects with this key"));
        }
        (KEY.test)(text)
    },
};

pub(super) const SUFFIX: Check<String> = Check {
    allowed: "a DNS name in lower case, up to 120 characters",
    test: |text| match text.as_str() {
        t if t.len() > MAX_SUFFIX_CHARS || !is_dns_name(t) => Err(Refusal::not_allowed()),
        t if t == "cluster.local" || t.ends_with(".cluster.local") => {
            Err(Refusal::because("hosts would hide the clusters' own Services"))
        }
        _ => Ok(()),
    },
};

pub(super) const SUFFIXES: Check<Vec<String>> = Check {
    allowed: "DNS names in lower case, up to 120 characters each",
    test: |suffixes| {
        suffixes.iter().enumerate().try_for_each(|(item, suffix)| {
            (SUFFIX.test)(suffix).map_err(|refusal| Refusal { item: Some(item), ..refusal })
        })
    },
};

pub(super) const SAN_PREFIX: Check<String> = Check {
    allowed: "a trust domain, optionally with path segments, such as example.com or example.com/ns, or nothing",
    test: |text| match text.as_str() {
        "" => Ok(()),
        t if t.starts_with("spiffe:") => Err(Refusal::because("spiffe:// is put before it anyway")),
        t if t.split('/').all(is_key_name) => Ok(()),
        _ => Err(Refusal::not_allowed()),
    },
};

pub(super) const TRUST_DOMAIN: Check<String> = Check {
    allowed: "a DNS name in lower case",
    test: |text| if is_dns_name(text) { Ok(()) } else { Err(Refusal::not_allowed()) },
};

pub(super) const RANGE: Check<Ipv4Net> = Check {
    allowed: "an IPv4 range of /24 or wider, such as 240.0.0.0/16, outside Istio's own 240.240.0.0/16",
    test: |range| {
        if range.prefix_len() > MAX_RANGE_PREFIX_BITS {
            return Err(Refusal::because("it is narrower than /24"));
        }
        if range.addr() != range.network() {
            return Err(Refusal::because("its address has bits set behind the prefix"));
        }
        let overlaps = |other: &Ipv4Net| other.contains(range) || range.contains(other);
        match TAKEN_RANGES.iter().find(|(taken, _)| overlaps(taken)) {
            Some((_, why)) => Err(Refusal::because(why)),
            None => Ok(()),
        }
    },
};

/// Lower-case RFC 1123 name.
fn is_dns_name(text: &str) -> bool {
    is_dns_subdomain(text) && text.split('.').all(is_dns_label)
}

/// The part of a key after the `/`, or a label value.
fn is_key_name(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= MAX_PART_CHARS
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

/// A qualified name (Kubernetes documentation, "Labels and Selectors", syntax and character set).
fn is_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_name(prefix) && is_key_name(name),
        None => is_key_name(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts<T>(check: &Check<T>, value: impl Into<T>) -> bool {
        (check.test)(&value.into()).is_ok()
    }

    #[test]
    fn keys_are_qualified_names() {
        for good in ["identity", "admiral.io/env", "A_b-c.d", "x/y"] {
            assert!(accepts(&KEY, good), "{good}");
        }
        for bad in ["", "/", "a/", "/a", "a/b/c", "a b", "-a", "a-", "Upper.io/x", &"a".repeat(64)] {
            assert!(!accepts(&KEY, bad), "{bad}");
        }
    }

    #[test]
    fn written_keys_differ_from_the_keys_of_managed_objects() {
        assert!(accepts(&WRITTEN_KEY, "admiral.io/env"));
        for bad in [keys::MANAGED_BY, keys::CREATED_BY, keys::IDENTITY, "a b"] {
            assert!(!accepts(&WRITTEN_KEY, bad), "{bad}");
        }
    }

    #[test]
    fn namespaces_and_object_names() {
        assert!(accepts(&NAMESPACE, "admiral-sync"));
        assert!(!accepts(&NAMESPACE, ""));
        assert!(!accepts(&NAMESPACE, "a.b"));
        assert!(accepts(&OBJECT_NAME_OR_EMPTY, "a.b"));
        assert!(accepts(&OBJECT_NAME_OR_EMPTY, ""));
        assert!(!accepts(&OBJECT_NAME_OR_EMPTY, "A"));
        assert!(accepts(&LABEL_VALUE, "istio-ingressgateway"));
        assert!(!accepts(&LABEL_VALUE, ""));
    }

    #[test]
    fn versions_are_numbers_or_any_alone() {
        let accepts = |versions: &[&str]| {
            (VERSIONS.test)(&versions.iter().map(|version| (*version).to_owned()).collect::<Vec<_>>()).is_ok()
        };
        assert!(accepts(&["any"]) && accepts(&["1.28", "1.29.1"]));
        assert!(!accepts(&[]) && !accepts(&["any", "1.28"]) && !accepts(&["1."]) && !accepts(&["latest"]));
    }

    #[test]
    fn suffixes_are_dns_names_that_hide_nothing() {
        for good in ["global", "mesh.example.com", "cluster.localhost"] {
            assert!(accepts(&SUFFIX, good), "{good}");
        }
        for bad in ["", "Global", ".global", "global.", "a b", "svc.cluster.local", "cluster.local", &"a.".repeat(100)]
        {
            assert!(!accepts(&SUFFIX, bad), "{bad}");
        }
    }

    #[test]
    fn san_prefixes_are_trust_domains() {
        for good in ["", "example.com", "example.com/ns"] {
            assert!(accepts(&SAN_PREFIX, good), "{good}");
        }
        for bad in ["spiffe://example.com", "/a", "a/", "a b"] {
            assert!(!accepts(&SAN_PREFIX, bad), "{bad}");
        }
    }

    #[test]
    fn ranges_are_wide_whole_and_free() {
        let accepts = |text: &str| (RANGE.test)(&text.parse().unwrap()).is_ok();
        for good in ["240.0.0.0/16", "10.77.1.0/24", "240.0.0.0/9"] {
            assert!(accepts(good), "{good}");
        }
        for bad in [
            "240.0.0.0/25",
            "240.0.1.0/16",
            "240.240.7.0/24",
            "240.0.0.0/8",
            "0.0.0.0/0",
            "127.1.0.0/16",
            "239.0.0.0/16",
        ] {
            assert!(!accepts(bad), "{bad}");
        }
    }
}
