//! The trust of the mesh: one root, and an intermediate for each cluster's istiod to sign with.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};

/// The root of trust, whose key never leaves this process.
pub struct Root(CertifiedIssuer<'static, KeyPair>);

impl Root {
    /// A new root.
    pub fn make(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(authority(name), key).expect("a certificate"))
    }

    /// Its certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// The Secret that istiod reads its own authority from.
    pub fn cacerts(&self, cluster: &str) -> Value {
        let key = KeyPair::generate().expect("a key");
        let certificate =
            authority(&format!("intermediate of {cluster}")).signed_by(&key, &self.0).expect("the root signs").pem();
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "cacerts", "namespace": "istio-system"},
            "stringData": {
                "ca-cert.pem": certificate,
                "ca-key.pem": key.serialize_pem(),
                "root-cert.pem": self.pem(),
                "cert-chain.pem": format!("{certificate}{}", self.pem()),
            },
        })
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::new(Vec::new()).expect("no names to parse");
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.distinguished_name.push(DnType::OrganizationName, "Tradewind's mesh lab");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}
