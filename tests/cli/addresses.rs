//! Addresses of servers, as people write them on the command line.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
};

use super::{code, fleet, stderr, text, tradewind};

/// An HTTP server that answers every request so, on loopback; the address is without a scheme.
fn server(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn a_server_address_without_a_scheme_means_http() {
    let fleet = fleet();
    let envoy = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
    for url in [envoy.clone(), format!("http://{envoy}"), format!("http://{envoy}/")] {
        let asked = tradewind(&["verify", text(fleet.path()), "--envoy", &url]);
        let said = stderr(&asked);
        assert!(code(&asked) == 2 && said.contains("this is no config dump of an Envoy"), "{url}: {said}");
    }
    let controller = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    std::fs::write(fleet.path().join("fleet.yaml"), "clusters: [{name: a, kubeconfig: fleet.yaml}]").expect("a file");
    let file = fleet.path().join("fleet.yaml");
    let asked = tradewind(&["hand-back", text(&file), "--controller", &controller]);
    assert!(code(&asked) == 2 && stderr(&asked).contains("writes; set readOnly: true first"), "{}", stderr(&asked));
}

#[test]
fn what_is_no_address_is_refused_without_a_panic() {
    let fleet = fleet();
    for url in ["", "http://", "ftp://x", "http://u:p@h", "m\u{fc}nchen", "[::1", "localhost:99999", "::1", "/x", "//h"]
    {
        for arguments in [
            &["verify", text(fleet.path()), "--envoy", url][..],
            &["verify", text(fleet.path()), "--proxy", "a.b", "--istiod", url],
        ] {
            let asked = tradewind(arguments);
            let said = stderr(&asked);
            assert_eq!((code(&asked), said.lines().count()), (2, 1), "{url:?}: {said}");
            assert!(said.contains("write it as http://localhost:15000"), "{url:?}: {said}");
        }
    }
}
