//! One request to a plain HTTP server: a controller, an Envoy, an istiod.

use anyhow::{Context as _, bail, ensure};
use http::{StatusCode, Uri};

use crate::fleet::kubeconfig;

/// What a server's address looks like, for messages.
const EXAMPLE: &str = "write it as http://localhost:15000";

/// Asks the server at `url` for `path`. Without a scheme, http is meant.
///
/// # Errors
/// When `url` is not the address of a server, or nothing answers there; an answer of any status is none.
pub(super) async fn get(url: &str, path: &str) -> anyhow::Result<(StatusCode, Vec<u8>)> {
    let address = address(url)?;
    let asking = || format!("asking {}{path}", shown(&address));
    let mut config = kube::Config::new(address.clone());
    // The status is the answer, whatever it is.
    config.default_retry = false;
    let client = kubeconfig::connect_to_views(config).with_context(asking)?;
    let request = http::Request::get(path).body(kube::client::Body::empty()).with_context(asking)?;
    let answer = client.send(request).await.with_context(asking)?;
    let status = answer.status();
    let bytes = answer.into_body().collect_bytes().await.with_context(asking)?;
    Ok((status, bytes.to_vec()))
}

/// The address without the `/` at its end, which paths begin with.
fn shown(address: &Uri) -> String {
    address.to_string().trim_end_matches('/').to_owned()
}

/// Reads an address as people write it. The client takes only absolute http and https addresses, and panics on others.
fn address(text: &str) -> anyhow::Result<Uri> {
    let text = text.trim();
    ensure!(!text.is_empty(), "the address of the server is empty; {EXAMPLE}");
    // A password must reach no message.
    ensure!(
        !text.contains('@'),
        "the address of the server has a user or a password in it, which is not supported; {EXAMPLE}"
    );
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        bail!("the address {text:?} has the scheme {scheme:?}; only http and https can be asked: {EXAMPLE}");
    }
    ensure!(!rest.contains(['?', '#']), "the address {text:?} has a query; {EXAMPLE}");
    ensure!(!rest.is_empty() && !rest.starts_with(['/', ':']), "the address {text:?} names no host; {EXAMPLE}");
    let address: Uri = format!("{}://{}", scheme.to_ascii_lowercase(), rest.trim_end_matches('/'))
        .parse()
        .with_context(|| format!("{text:?} is not the address of a server ({EXAMPLE})"))?;
    let host = address.host().unwrap_or_default();
    ensure!(!host.is_empty(), "the address {text:?} names no host; {EXAMPLE}");
    let port = address.authority().and_then(|authority| authority.as_str().strip_prefix(host)).unwrap_or_default();
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    ensure!(
        port.is_empty() || port.strip_prefix(':').is_some_and(is_port),
        "the port of the address {text:?} is not a number from 1 to 65535; {EXAMPLE}"
    );
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, expected) in [
            ("localhost:15000", "http://localhost:15000/"),
            ("localhost", "http://localhost/"),
            (" http://localhost:15000/ ", "http://localhost:15000/"),
            ("HTTP://localhost:8080", "http://localhost:8080/"),
            ("https://istiod.istio-system:15014", "https://istiod.istio-system:15014/"),
            ("[::1]:15000", "http://[::1]:15000/"),
            ("10.0.0.1:80", "http://10.0.0.1:80/"),
            ("http://hub/tradewind", "http://hub/tradewind"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_in_words_and_makes_no_client_panic() {
        for (text, reason) in [
            ("", "is empty"),
            ("  ", "is empty"),
            ("http://", "names no host"),
            ("https:///", "names no host"),
            ("http:///x", "names no host"),
            (":15000", "names no host"),
            ("/config_dump", "names no host"),
            ("//host", "names no host"),
            ("ftp://x", "only http and https"),
            ("unix:///var/run/x", "only http and https"),
            ("://x", "only http and https"),
            ("http://u:p@h", "user or a password"),
            ("münchen:80", "is not the address"),
            ("http://a b", "is not the address"),
            ("::1", "names no host"),
            ("fe80::1", "is not the address"),
            ("[::1", "is not the address"),
            ("localhost:http", "from 1 to 65535"),
            ("localhost:", "from 1 to 65535"),
            ("localhost:0", "from 1 to 65535"),
            ("localhost:99999", "from 1 to 65535"),
            ("localhost:1?x=y", "has a query"),
            ("localhost#x", "has a query"),
        ] {
            let error = format!("{:#}", address(text).expect_err(text));
            assert!(error.contains(reason) && error.contains("http://localhost:15000"), "{text:?}: {error}");
            assert!(!error.contains("u:p"), "{error}");
        }
    }
}
