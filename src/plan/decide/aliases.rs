//! Further names of a host (Admiral, docs/admiral-behaviour.md#additional-endpoints, without its leaks).
//!
//! Decides the names and where they lead; never whether a service has any.

use super::decision::AliasRoute;
use crate::{
    config::Settings,
    model::{Host, HostError, without_air},
    plan::input::ServiceInput,
};

/// No host can be named so.
#[derive(Debug, thiserror::Error)]
#[error("for the suffix {suffix}, {reason}")]
pub(super) struct AliasError {
    suffix: String,
    reason: HostError,
}

/// The further names of a host; `main` is the host of the service without a prefix.
///
/// # Errors
/// When no host can be named so.
pub(super) fn route(
    service: &ServiceInput,
    host: &Host,
    main: &Host,
    settings: &Settings,
) -> Result<AliasRoute, AliasError> {
    let name = host.as_str().to_ascii_lowercase();
    // With its dot, unless it is the main host.
    let prefix = name.strip_suffix(&main.as_str().to_ascii_lowercase()).unwrap_or_default();
    let names = names(service, prefix, settings)?;
    Ok(AliasRoute { host: host.clone(), names, prefix: prefix.trim_end_matches('.').to_owned() })
}

fn names(service: &ServiceInput, prefix: &str, settings: &Settings) -> Result<Vec<String>, AliasError> {
    let environment = without_air(service.key.environment.as_str());
    let named = |suffix: &String| {
        let host = format!("{prefix}{environment}.{}.{suffix}", service.identity).to_ascii_lowercase();
        Host::parse(&host).map(|host| host.to_string()).map_err(|reason| AliasError { suffix: suffix.clone(), reason })
    };
    settings.additional_endpoint_suffixes.iter().map(named).collect()
}
