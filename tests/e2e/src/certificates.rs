//! Keys of one control plane: an authority, the certificate of the API server, and the key that signs tokens.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

/// Name in the certificate that the API server shows to aggregated API servers. They trust this name alone, because
/// other clients have certificates of the same authority.
pub const AGGREGATOR: &str = "aggregator";

/// Paths of the files for the API server, the controllers and the clients, and the administrator's token.
#[derive(Debug)]
pub struct Credentials {
    pub authority: PathBuf,
    pub server_certificate: PathBuf,
    pub server_key: PathBuf,
    /// Certificate that proves to aggregated API servers that the request comes from the API server.
    pub aggregator_certificate: PathBuf,
    pub aggregator_key: PathBuf,
    /// Key that signs service account tokens.
    pub token_key: PathBuf,
    /// Public half of `token_key`, with which the API server verifies tokens.
    pub token_public_key: PathBuf,
    pub token_file: PathBuf,
    pub admin_token: String,
}

impl Credentials {
    /// Creates all keys and certificates in `folder`.
    pub fn create(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let file = |name| folder.join(name);
        let credentials = Self {
            authority: file("ca.crt"),
            server_certificate: file("server.crt"),
            server_key: file("server.key"),
            aggregator_certificate: file("aggregator.crt"),
            aggregator_key: file("aggregator.key"),
            token_key: file("tokens.key"),
            token_public_key: file("tokens.pub"),
            token_file: file("tokens.csv"),
            admin_token: random_token(),
        };
        credentials.write()?;
        Ok(credentials)
    }

    fn write(&self) -> Result<()> {
        let (issuer, authority_pem) = new_authority()?;
        let server_key = KeyPair::generate()?;
        let server_certificate = server_parameters()?.signed_by(&server_key, &issuer)?;
        let aggregator_key = KeyPair::generate()?;
        let aggregator_certificate = aggregator_parameters().signed_by(&aggregator_key, &issuer)?;
        let token_key = KeyPair::generate()?;

        fs::write(&self.authority, authority_pem)?;
        fs::write(&self.server_certificate, server_certificate.pem())?;
        fs::write(&self.server_key, server_key.serialize_pem())?;
        fs::write(&self.aggregator_certificate, aggregator_certificate.pem())?;
        fs::write(&self.aggregator_key, aggregator_key.serialize_pem())?;
        fs::write(&self.token_key, token_key.serialize_pem())?;
        fs::write(&self.token_public_key, token_key.public_key_pem())?;
        fs::write(&self.token_file, format!("{},admin,admin,\"system:masters\"\n", self.admin_token))?;
        Ok(())
    }
}

fn new_authority() -> Result<(Issuer<'static, KeyPair>, String)> {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    parameters.distinguished_name.push(DnType::CommonName, "landfall-e2e");
    let key = KeyPair::generate()?;
    let certificate = parameters.self_signed(&key)?;
    Ok((Issuer::new(parameters, key), certificate.pem()))
}

fn server_parameters() -> Result<CertificateParams> {
    let mut parameters = CertificateParams::new(["localhost", "kubernetes.default.svc"].map(String::from))?;
    parameters.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(parameters)
}

fn aggregator_parameters() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, AGGREGATOR);
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    parameters
}

/// Returns a token that cannot be guessed: any user of the machine can reach the API server on loopback. The operating
/// system seeds `RandomState`.
fn random_token() -> String {
    let word = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", word(), word())
}
