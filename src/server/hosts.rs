//! Under which names the views may be asked for.
//!
//! A web page can make its own name lead to any address, and its visitors' browsers then take what answers there for a part of
//! the page (DNS rebinding). The browser sends the page's name along, and that is refused. An address in place of a name
//! belongs to no page but one that is served here.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::Response,
};

use super::{Views, metrics::ServerMetrics, views::error};
use crate::model::quoted;

#[derive(Debug, Clone)]
struct AllowedHosts {
    names: Arc<[String]>,
    metrics: ServerMetrics,
}

/// Refuses requests to these routes under names that are not allowed.
pub(super) fn known_only(routes: Router<Arc<Views>>, views: &Views) -> Router<Arc<Views>> {
    let names = views.registry.settings().allowed_hosts.clone().into();
    let hosts = AllowedHosts { names, metrics: views.metrics.server.clone() };
    routes.layer(middleware::from_fn_with_state(hosts, check))
}

async fn check(State(hosts): State<AllowedHosts>, request: Request, next: Next) -> Response {
    let headers = request.headers().get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or_default());
    // A request line with a whole URL names the host once more.
    let names: Vec<&str> =
        request.uri().authority().map(|authority| authority.as_str()).into_iter().chain(headers).collect();
    let Some(unknown) = names.iter().find(|name| !is_allowed(name, &hosts.names)) else {
        return next.run(request).await;
    };
    hosts.metrics.refused("host");
    let message = format!(
        "nothing is served under the name {}; if it is yours, add it to the setting allowedHosts",
        quoted(unknown)
    );
    error(StatusCode::FORBIDDEN, message)
}

/// Whether a request may name this host (`name`, `name:port`, `[address]:port`).
fn is_allowed(host: &str, names: &[String]) -> bool {
    if names.iter().any(|name| name == "*") {
        return true;
    }
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost") || names.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_addresses_and_those_of_the_setting_are_allowed() {
        let names = ["tradewind.admiral.svc".to_owned()];
        for host in [
            "localhost",
            "localhost:8080",
            "LOCALHOST:1",
            "app.localhost:8080",
            "127.0.0.1:8080",
            "10.1.2.3",
            "[::1]:8080",
            "[fd00::1]",
            "tradewind.admiral.svc:8080",
            "Tradewind.Admiral.Svc.:8080",
        ] {
            assert!(is_allowed(host, &names), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "notlocalhost",
            "tradewind.admiral.svc.evil.example",
            "tradewind",
            "127.0.0.1.evil.example:8080",
            "[::1",
            "[evil]:80",
            "evil@127.0.0.1:80",
            "127.1",
        ] {
            assert!(!is_allowed(host, &names), "{host}");
            assert!(is_allowed(host, &["*".to_owned()]), "{host}");
        }
    }
}
