//! Further names of a host: a VirtualService beside each ServiceEntry (Admiral,
//! docs/admiral-behaviour.md#additional-endpoints, without its leaks).
//!
//! Decides the names and where they lead; never whether a service has any.

use serde_json::json;

use super::{ports::MAIN_PORT, service_entry::Common};
use crate::{
    config::Settings,
    istio::{Object, Opaque, keys},
    model::{Host, without_air},
};

/// `dns-prefix` of the main host (Admiral, docs/admiral-behaviour.md#additional-endpoints).
const DEFAULT_PREFIX: &str = "default";

/// The VirtualService with the further names of a host; `main` is the host of the service without a prefix.
///
/// # Errors
/// In words, when no host can be named so.
pub(super) fn virtual_service(common: &Common<'_>, main: &Host, settings: &Settings) -> Result<Object, String> {
    let host = common.host.as_str().to_ascii_lowercase();
    // With its dot, unless it is the main host.
    let prefix = host.strip_suffix(&main.as_str().to_ascii_lowercase()).unwrap_or_default();
    let hosts = hosts(common, prefix, settings)?;
    let mut metadata = common.metadata(format!("{}-vs", hosts[0]), settings);
    let named = prefix.trim_end_matches('.');
    metadata.labels.insert(settings.env_key.clone(), common.key.environment.to_string());
    metadata.labels.insert(keys::DNS_PREFIX.into(), if named.is_empty() { DEFAULT_PREFIX } else { named }.into());
    metadata.annotations.insert(settings.workload_identity_key.clone(), common.identity.to_string());
    let destination = json!({"host": common.host.to_string(), "port": {"number": MAIN_PORT}});
    let mut spec = json!({"hosts": hosts, "http": [{"route": [{"destination": destination}]}]});
    if !common.export_to.is_empty() {
        spec["exportTo"] = json!(common.export_to);
    }
    Ok(Object::VirtualService(Opaque { metadata, spec }))
}

fn hosts(common: &Common<'_>, prefix: &str, settings: &Settings) -> Result<Vec<String>, String> {
    let environment = without_air(common.key.environment.as_str());
    let named = |suffix: &String| {
        let host = format!("{prefix}{environment}.{}.{suffix}", common.identity).to_ascii_lowercase();
        Host::parse(&host).map(|host| host.to_string()).map_err(|error| format!("for the suffix {suffix}, {error}"))
    };
    settings.additional_endpoint_suffixes.iter().map(named).collect()
}
