//! One request to a plain HTTP server: a controller, an Envoy, an istiod.

use anyhow::Context as _;
use http::StatusCode;

use crate::fleet::kubeconfig;

/// Asks the server at `url` for `path`.
///
/// # Errors
/// When nothing answers there; an answer of any status is none.
pub(super) async fn get(url: &str, path: &str) -> anyhow::Result<(StatusCode, Vec<u8>)> {
    let url = url.trim_end_matches('/');
    let asking = || format!("asking {url}{path}");
    let mut config = kube::Config::new(url.parse().with_context(asking)?);
    // The status is the answer, whatever it is.
    config.default_retry = false;
    let client = kubeconfig::connect(config).with_context(asking)?;
    let request = http::Request::get(path).body(kube::client::Body::empty()).with_context(asking)?;
    let answer = client.send(request).await.with_context(asking)?;
    let status = answer.status();
    let bytes = answer.into_body().collect_bytes().await.with_context(asking)?;
    Ok((status, bytes.to_vec()))
}
