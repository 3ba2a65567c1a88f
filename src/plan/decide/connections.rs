//! The connections that clients open: a ClientConnectionConfig → the connection pool and tunnel of a DestinationRule
//! (Admiral, docs/admiral-behaviour.md#clientconnectionconfig, with every field of the API).
//!
//! What Istio would refuse is left out with a note; the rest counts.

use std::net::IpAddr;

use super::duration;
use crate::{
    api::{ClientConnectionConfigSpec, H2UpgradePolicy, HttpSettings, TcpSettings},
    config::Settings,
    istio::{ConnectionPool, HttpPool, Keepalive, TcpPool, Tunnel},
    model::Host,
};

/// What comes of a config, and what of it cannot be.
pub(super) struct Connections {
    pub(super) pool: ConnectionPool,
    pub(super) tunnel: Option<Tunnel>,
    pub(super) problems: Vec<String>,
}

/// The pool and tunnel of a config; without one, those of the settings.
pub(super) fn of(config: Option<&ClientConnectionConfigSpec>, settings: &Settings) -> Connections {
    let mut problems = Vec::new();
    let pool = config.and_then(|config| config.connection_pool.as_ref());
    let tcp = pool.and_then(|pool| pool.tcp.as_ref()).map(|tcp| self::tcp(tcp, &mut problems));
    let none = HttpSettings::default();
    let http = pool.and_then(|pool| pool.http.as_ref()).unwrap_or(&none);
    let mut http = self::http(http, &mut problems);
    http.max_requests_per_connection.get_or_insert(settings.max_requests_per_connection);
    let tunnel = config.and_then(|config| config.tunnel.as_ref()).and_then(|tunnel| {
        self::tunnel(tunnel).map_err(|reason| problems.push(format!("tunnel {reason}; it is ignored"))).ok()
    });
    Connections { pool: ConnectionPool { tcp: tcp.filter(|tcp| *tcp != TcpPool::default()), http }, tunnel, problems }
}

fn tcp(tcp: &TcpSettings, problems: &mut Vec<String>) -> TcpPool {
    let keepalive = tcp.tcp_keepalive.as_ref().map(|keepalive| Keepalive {
        probes: keepalive.probes.filter(|probes| *probes > 0),
        time: time("connectionPool.tcp.tcpKeepalive.time", keepalive.time.as_deref(), problems),
        interval: time("connectionPool.tcp.tcpKeepalive.interval", keepalive.interval.as_deref(), problems),
    });
    TcpPool {
        max_connections: count("connectionPool.tcp.maxConnections", tcp.max_connections, problems),
        connect_timeout: time("connectionPool.tcp.connectTimeout", tcp.connect_timeout.as_deref(), problems),
        max_connection_duration: time(
            "connectionPool.tcp.maxConnectionDuration",
            tcp.max_connection_duration.as_deref(),
            problems,
        ),
        tcp_keepalive: keepalive,
    }
}

fn http(http: &HttpSettings, problems: &mut Vec<String>) -> HttpPool {
    let h2_upgrade_policy = match &http.h2_upgrade_policy {
        None => None,
        Some(H2UpgradePolicy::Default) => Some("DEFAULT"),
        Some(H2UpgradePolicy::DoNotUpgrade) => Some("DO_NOT_UPGRADE"),
        Some(H2UpgradePolicy::Upgrade) => Some("UPGRADE"),
        Some(H2UpgradePolicy::Unknown(text)) => {
            let field = "connectionPool.http.h2UpgradePolicy";
            problems.push(format!(
                "{field} {text:?} is neither DEFAULT (0), DO_NOT_UPGRADE (1) nor UPGRADE (2); it is ignored"
            ));
            None
        }
    };
    let mut use_client_protocol = http.use_client_protocol;
    if use_client_protocol == Some(true) && h2_upgrade_policy == Some("UPGRADE") {
        let message = "connectionPool.http.useClientProtocol cannot be beside h2UpgradePolicy UPGRADE; it is ignored";
        problems.push(message.to_owned());
        use_client_protocol = None;
    }
    HttpPool {
        http1_max_pending_requests: count(
            "connectionPool.http.http1MaxPendingRequests",
            http.http1_max_pending_requests,
            problems,
        ),
        http2_max_requests: count("connectionPool.http.http2MaxRequests", http.http2_max_requests, problems),
        max_requests_per_connection: count(
            "connectionPool.http.maxRequestsPerConnection",
            http.max_requests_per_connection,
            problems,
        ),
        max_retries: count("connectionPool.http.maxRetries", http.max_retries, problems),
        idle_timeout: time("connectionPool.http.idleTimeout", http.idle_timeout.as_deref(), problems),
        h2_upgrade_policy: h2_upgrade_policy.map(str::to_owned),
        use_client_protocol,
    }
}

/// 0 means the default, as in Admiral and in Istio.
fn count(field: &str, number: Option<i32>, problems: &mut Vec<String>) -> Option<i32> {
    let number = number?;
    if number < 0 {
        problems.push(format!("{field} is negative ({number}); it is ignored"));
    }
    (number > 0).then_some(number)
}

fn time(field: &str, text: Option<&str>, problems: &mut Vec<String>) -> Option<String> {
    let text = text?;
    duration::millis(text)
        .map_err(|reason| problems.push(format!("{field} {text:?} {reason}; it is ignored")))
        .ok()
        .map(duration::written)
}

/// Why a tunnel is ignored.
#[derive(Debug, thiserror::Error)]
enum TunnelError {
    #[error("has the protocol {0:?}, which is neither CONNECT nor POST")]
    Protocol(String),
    #[error("has the targetHost {0:?}, which is neither a host name nor an IP address")]
    Host(String),
    #[error("has the targetPort {0}, which is not from 1 to 65535")]
    Port(i64),
}

/// Istio's rules for tunnels (Istio source, `validateTunnelSettings`).
fn tunnel(tunnel: &crate::api::TunnelSettings) -> Result<Tunnel, TunnelError> {
    let protocol = tunnel.protocol.as_deref().map(str::trim).filter(|protocol| !protocol.is_empty());
    if let Some(other) = protocol.filter(|protocol| !["CONNECT", "POST"].contains(protocol)) {
        return Err(TunnelError::Protocol(other.to_owned()));
    }
    let host = tunnel.target_host.as_deref().map(str::trim).unwrap_or_default();
    if host.parse::<IpAddr>().is_err() && Host::parse(host).is_err() {
        return Err(TunnelError::Host(host.to_owned()));
    }
    let port = tunnel.target_port.unwrap_or_default();
    if !(1..=65535).contains(&port) {
        return Err(TunnelError::Port(i64::from(port)));
    }
    Ok(Tunnel { protocol: protocol.map(str::to_owned), target_host: host.to_owned(), target_port: port })
}
