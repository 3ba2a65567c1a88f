//! Where the server listens, by settings and place.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::table::Settings;

/// Port of views, where no setting names another.
const MAIN_PORT: u16 = 8080;
/// Ports of health alone, where no setting names another: the first that is not taken by the others. The chart has the same.
const HEALTH_PORTS: [u16; 3] = [8081, 8082, 8083];

/// Where the server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddresses {
    /// For views, the REST routes and health.
    pub main: SocketAddr,
    /// For metrics.
    pub metrics: SocketAddr,
    /// For health alone.
    pub health: Option<SocketAddr>,
}

impl Settings {
    /// Where the server listens. In a pod, what reaches its address is meant for it; elsewhere the views are for this machine
    /// alone, unless a setting says otherwise.
    #[must_use]
    pub fn addresses(&self, is_in_pod: bool) -> ListenAddresses {
        let everywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let by_place = if is_in_pod { everywhere } else { IpAddr::V4(Ipv4Addr::LOCALHOST) };
        let main = self.listen_address.unwrap_or_else(|| SocketAddr::new(by_place, MAIN_PORT));
        let metrics = self.metrics_address;
        let free = HEALTH_PORTS.into_iter().find(|port| ![main.port(), metrics.port()].contains(port));
        let health = free.filter(|_| is_in_pod).map(|port| SocketAddr::new(everywhere, port));
        ListenAddresses { main, metrics, health: self.health_address.or(health) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_for_this_machine_alone_outside_of_a_pod_unless_a_setting_says_otherwise() {
        let shown = |settings: &Settings, is_in_pod| {
            let ListenAddresses { main, metrics, health } = settings.addresses(is_in_pod);
            (main.to_string(), metrics.to_string(), health.map(|health| health.to_string()))
        };
        let of =
            |main: &str, health: Option<&str>| (main.to_owned(), "0.0.0.0:6900".to_owned(), health.map(str::to_owned));
        let mut settings = Settings::default();
        assert_eq!(shown(&settings, false), of("127.0.0.1:8080", None));
        assert_eq!(shown(&settings, true), of("0.0.0.0:8080", Some("0.0.0.0:8081")));
        settings.listen_address = "0.0.0.0:8081".parse().ok();
        assert_eq!(shown(&settings, true), of("0.0.0.0:8081", Some("0.0.0.0:8082")), "it is in nobody's way");
        settings.listen_address = "0.0.0.0:80".parse().ok();
        settings.health_address = "[::]:81".parse().ok();
        for is_in_pod in [false, true] {
            assert_eq!(shown(&settings, is_in_pod), of("0.0.0.0:80", Some("[::]:81")));
        }
    }
}
