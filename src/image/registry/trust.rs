//! Whom https is believed: the certificates of the host's bundle, and those that an administrator has put beside the
//! registry's name, where docker and podman look for them.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use super::Door;
use super::credentials::config_home;
use crate::error::{Context, Error, Result};

/// Where distributions keep the bundle.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
];
/// Where a folder by the registry's name, with its port, has more: authorities in files that end in .crt, and in .cert
/// and .key what the caller shows of itself.
const FOLDERS: [&str; 2] = ["/etc/docker/certs.d", "/etc/containers/certs.d"];
/// The same in the caller's folder of settings.
const OWN_FOLDER: &str = "containers/certs.d";

/// How TLS speaks to the registry, and how to others that it leads to: both are believed by the same certificates, but the
/// caller's own is the registry's alone to see.
pub struct Trust {
    /// To the registry.
    pub registry: TlsConfig,
    /// To its token server and its storage.
    pub others: TlsConfig,
}

/// Whom TLS believes on the way to this registry, and what it shows. Where certificates are not `needed` for sure, having
/// none is no failure yet.
///
/// # Errors
/// Where there are none, or a file that should have one has none in it.
pub fn find(door: &Door, needed: bool) -> Result<Trust> {
    let registry = &door.reference.registry;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut authorities = if door.verify { bundle()? } else { Vec::new() };
    let mut own = None;
    for folder in folders(door) {
        for file in files(&folder, "crt")? {
            authorities.extend(read(&file)?);
        }
        if let Some(file) = files(&folder, "cert")?.first() {
            own = Some(pair(file, &provider)?);
        }
    }
    if authorities.is_empty() && needed && door.verify {
        return Err(Error::new("no CA certificates are on this host: nobody can be believed over https").hint(format!(
            "install them (Debian and Fedora: package ca-certificates), name a file of them by SSL_CERT_FILE, or put \
             the registry's into {}/{registry}/ca.crt",
            FOLDERS[0]
        )));
    }
    let roots = RootCerts::new_with_certs(&authorities);
    let showing = |own| {
        let builder = TlsConfig::builder().unversioned_rustls_crypto_provider(provider.clone()).client_cert(own);
        builder.disable_verification(!door.verify).root_certs(roots.clone()).build()
    };
    Ok(Trust { registry: showing(own), others: showing(None) })
}

/// The folder that the caller named, or else those of this registry. Its name is a checked one.
fn folders(door: &Door) -> Vec<PathBuf> {
    if let Some(folder) = &door.cert_dir {
        return vec![folder.clone()];
    }
    let own = config_home().map(|folder| folder.join(OWN_FOLDER));
    let all = FOLDERS.iter().map(PathBuf::from).chain(own).map(|folder| folder.join(&door.reference.registry));
    all.filter(|folder| folder.exists()).collect()
}

/// Those that SSL_CERT_FILE names, or else the host's.
fn bundle() -> Result<Vec<Certificate<'static>>> {
    if let Some(file) = std::env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty()) {
        return read(Path::new(&file)).context(|| "SSL_CERT_FILE");
    }
    let found = BUNDLES.iter().map(Path::new).find(|file| file.exists());
    found.map_or_else(|| Ok(Vec::new()), read)
}

fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let what = || format!("read {folder:?}");
    let entries = fs::read_dir(folder).context(what)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>();
    let mut paths = paths.context(what)?;
    paths.retain(|path| path.extension().is_some_and(|found| found == ending));
    paths.sort();
    Ok(paths)
}

fn read(file: &Path) -> Result<Vec<Certificate<'static>>> {
    let content = fs::read(file).context(|| format!("read {file:?}"))?;
    let certificates: Vec<_> = parse_pem(&content)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            // A bundle of many may have one that nobody can read.
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(Error::new(format!("{file:?}: there is no certificate in it"))
            .hint("certificates in PEM are expected, which begin with -----BEGIN CERTIFICATE-----"));
    }
    Ok(certificates)
}

/// What the caller shows: a certificate in a file, and its key beside it. Both are tried out here, since the HTTP library
/// takes for granted that they belong together.
fn pair(file: &Path, provider: &CryptoProvider) -> Result<ClientCert> {
    let chain = read(file)?;
    let beside = file.with_extension("key");
    let content = fs::read(&beside).context(|| format!("the key of {file:?}: read {beside:?}"))?;
    let broken = |why: &dyn Display| Error::new(format!("{beside:?}: it is no key of {file:?}: {why}"));
    let tried = PrivateKeyDer::from_pem_slice(&content).map_err(|error| broken(&error))?;
    let certificates = chain.iter().map(|certificate| certificate.der().to_vec().into()).collect();
    CertifiedKey::from_der(certificates, tried, provider).map_err(|error| broken(&error))?;
    let key = PrivateKey::from_pem(&content).map_err(|error| broken(&error))?;
    Ok(ClientCert::new_with_certs(&chain, key))
}
