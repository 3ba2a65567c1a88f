//! What a RoutingPolicy may put into the proxies of clients: which plugin, from which file, for which hosts, with which lines of
//! configuration.
//!
//! Decides whether a filter is made of it; never for whom.

use std::collections::BTreeSet;

use super::filters::WASM_PATH;
use crate::{
    api::RoutingPolicySpec,
    config::Settings,
    model::{Identity, covers_suffix, quoted},
};

/// Longest name of a plugin, in characters: leaves room for both hashes and a version in an object name.
const MAX_PLUGIN_CHARS: usize = 150;
/// Longest configuration of a plugin, in bytes: it goes into every proxy of every client.
const MAX_CONFIGURATION_BYTES: usize = 65_536;

/// Why no filter is made of a RoutingPolicy: proxies would refuse it, or it says what it may not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FilterError {
    #[error("the plugin {0} makes no object name (letters, digits, '-' and '.')")]
    PluginName(String),
    #[error("the plugin {0} makes no object name (each part between dots begins and ends with a letter or digit)")]
    PluginPart(String),
    #[error("routingPolicyPlugins does not list the plugin {0}")]
    PluginUnlisted(String),
    #[error("it lists no hosts")]
    NoHosts,
    #[error("the host {0} has a character that no host has")]
    HostCharacter(String),
    #[error("the host {0} is that of another service")]
    HostOfAnother(String),
    #[error("config has the name {0} (letters, digits, '-', '_', '.' and '/')")]
    Name(String),
    #[error("config has a control character in the value of {0}: {1}")]
    Value(String, String),
    #[error("config has {0}, which envoyFilterAdditionalConfig sets")]
    OfOperator(String),
    #[error("config has {0} bytes, and {MAX_CONFIGURATION_BYTES} are allowed")]
    TooLong(usize),
    #[error("{WASM_PATH} {0} is not the absolute path of a file in the proxy")]
    RelativePath(String),
    #[error("{WASM_PATH} {0} is in no directory that routingPolicyPaths lists")]
    PathUnlisted(String),
    #[error("config has no {WASM_PATH}, so there is no plugin to load")]
    NoPath,
}

/// The plugin's file. `identity` is that of the service, without partition.
pub(super) fn plugin_file<'a>(
    spec: &'a RoutingPolicySpec,
    identity: &Identity,
    settings: &Settings,
) -> Result<&'a str, FilterError> {
    check_plugin(spec.plugin.trim(), settings)?;
    if spec.hosts.iter().all(|host| host.trim().is_empty()) {
        return Err(FilterError::NoHosts);
    }
    spec.hosts.iter().try_for_each(|host| check_host(host.trim(), identity, settings))?;
    check_configuration(spec, settings)?;
    let path = spec.config.get(WASM_PATH).map(|path| path.trim()).ok_or(FilterError::NoPath)?;
    check_path(path, settings)?;
    Ok(path)
}

fn check_plugin(plugin: &str, settings: &Settings) -> Result<(), FilterError> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = plugin.as_bytes();
    if plugin.len() > MAX_PLUGIN_CHARS || !edge(bytes.first()) || !edge(bytes.last()) || !plugin.bytes().all(fits) {
        return Err(FilterError::PluginName(quoted(plugin)));
    }
    if plugin.contains("..") || plugin.contains(".-") || plugin.contains("-.") {
        return Err(FilterError::PluginPart(quoted(plugin)));
    }
    let name = plugin.to_ascii_lowercase();
    let is_listed = |of: &String| {
        let of = of.to_ascii_lowercase();
        of.strip_suffix('*').map_or(of == name, |beginning| name.starts_with(beginning))
    };
    if settings.routing_policy_plugins.iter().any(is_listed) {
        return Ok(());
    }
    Err(FilterError::PluginUnlisted(quoted(plugin)))
}

/// Hosts of other services are theirs: a plugin may send their requests anywhere.
fn check_host(host: &str, identity: &Identity, settings: &Settings) -> Result<(), FilterError> {
    if host.contains(|c: char| is_control(c) || c.is_whitespace() || c == ',') {
        return Err(FilterError::HostCharacter(quoted(host)));
    }
    let suffix = &settings.hostname_suffix;
    let folded = host.trim_end_matches('.').to_ascii_lowercase();
    let is_within = |of: &str| folded == of || folded.strip_suffix(of).is_some_and(|before| before.ends_with('.'));
    let is_own = is_within(&format!("{}.{suffix}", identity.folded()));
    if !is_own && (is_within(suffix) || covers_suffix(&folded, suffix)) {
        return Err(FilterError::HostOfAnother(quoted(host)));
    }
    Ok(())
}

/// Each entry is one line of the plugin's configuration, and no line of the operator's.
fn check_configuration(spec: &RoutingPolicySpec, settings: &Settings) -> Result<(), FilterError> {
    let of_operator: BTreeSet<&str> = settings
        .envoy_filter_additional_config
        .lines()
        .map(|line| line.split(':').next().unwrap_or_default().trim())
        .filter(|name| !name.is_empty())
        .collect();
    let mut length = 0;
    for (name, value) in &spec.config {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if name.is_empty() || !name.chars().all(fits) {
            return Err(FilterError::Name(quoted(name)));
        }
        if value.contains(is_control) {
            return Err(FilterError::Value(quoted(name), quoted(value)));
        }
        if of_operator.contains(name.as_str()) {
            return Err(FilterError::OfOperator(quoted(name)));
        }
        length += name.len() + value.len();
    }
    if length > MAX_CONFIGURATION_BYTES {
        return Err(FilterError::TooLong(length));
    }
    Ok(())
}

fn check_path(path: &str, settings: &Settings) -> Result<(), FilterError> {
    if !path.starts_with('/') {
        return Err(FilterError::RelativePath(quoted(path)));
    }
    let is_plain = !path.split('/').skip(1).any(|part| part.is_empty() || part == "." || part == "..");
    let is_below = |directory: &String| {
        path.strip_prefix(directory.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
    };
    if is_plain && settings.routing_policy_paths.iter().any(is_below) {
        return Ok(());
    }
    Err(FilterError::PathUnlisted(quoted(path)))
}

/// Whether a character ends a line, or does more than show itself.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_has_a_bound_and_quotes_are_short() {
        let identity = Identity::parse("pay").unwrap();
        let mut spec = RoutingPolicySpec {
            plugin: "shadow".into(),
            hosts: vec!["stage.pay.global".into()],
            ..RoutingPolicySpec::default()
        };
        spec.config.insert(WASM_PATH.into(), "/etc/istio/extensions/a.wasm".into());
        assert_eq!(plugin_file(&spec, &identity, &Settings::default()), Ok("/etc/istio/extensions/a.wasm"));
        spec.config.insert("more".into(), "x".repeat(MAX_CONFIGURATION_BYTES));
        assert!(matches!(plugin_file(&spec, &identity, &Settings::default()), Err(FilterError::TooLong(_))));
        spec.plugin = "y\n".repeat(5_000) + "y";
        let refused = plugin_file(&spec, &identity, &Settings::default()).unwrap_err().to_string();
        assert!(refused.len() < 400 && !refused.contains('\n'), "{refused}");
    }
}
