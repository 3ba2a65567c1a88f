//! The trust of the mesh: one root, and an intermediate for each cluster's istiod to sign with.

use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

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

    /// An intermediate for one cluster.
    pub fn intermediate(&self, cluster: &str) -> Intermediate {
        let key = KeyPair::generate().expect("a key");
        let certificate = authority(&format!("intermediate of {cluster}")).signed_by(&key, &self.0);
        let certificate = certificate.expect("the root signs").pem();
        let chain = format!("{certificate}{}", self.pem());
        Intermediate([
            ("ca-cert.pem", certificate),
            ("ca-key.pem", key.serialize_pem()),
            ("root-cert.pem", self.pem()),
            ("cert-chain.pem", chain),
        ])
    }
}

/// What the Secret `cacerts` of a cluster holds, file by file.
pub struct Intermediate([(&'static str, String); 4]);

impl Intermediate {
    /// Writes it where istiod has the Secret mounted, below its working directory.
    pub fn mount(&self, working_directory: &Path) {
        let directory = working_directory.join("etc/cacerts");
        fs::create_dir_all(&directory).expect("a directory of our own");
        for (name, content) in &self.0 {
            fs::write(directory.join(name), content).expect("a file of our own");
        }
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
