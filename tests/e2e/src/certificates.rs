//! The keys of one control plane: an authority, the API server's certificate, and the key that signs tokens.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

/// What the API server is called by servers that it passes requests on to. They believe this name alone: others have
/// certificates of the same authority.
pub const AGGREGATOR: &str = "aggregator";

/// Paths of the files that the API server, the controllers and the clients are given, and the administrator's token.
#[derive(Debug)]
pub struct Credentials {
    pub authority: PathBuf,
    pub server_certificate: PathBuf,
    pub server_key: PathBuf,
    /// By which servers behind the API server know that it is the API server who asks, and on whose behalf.
    pub aggregator_certificate: PathBuf,
    pub aggregator_key: PathBuf,
    /// Signs service account tokens.
    pub token_key: PathBuf,
    /// Its public half, by which the API server checks them.
    pub token_public_key: PathBuf,
    pub token_file: PathBuf,
    pub admin_token: String,
}

impl Credentials {
    /// Writes everything new into `folder`.
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

/// The API server listens on loopback, where any user of the machine can reach it: the token must not be guessable.
/// `RandomState` is seeded by the operating system.
fn random_token() -> String {
    let word = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", word(), word())
}
