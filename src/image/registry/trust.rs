//! Whom https is believed: the certificates of the host's bundle, and those that an administrator has put beside the
//! registry's name, where docker and podman look for them.

use std::fs;
use std::path::{Path, PathBuf};

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

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
/// Where a folder by the registry's name, with its port, has more in files that end in .crt.
const FOLDERS: [&str; 2] = ["/etc/docker/certs.d", "/etc/containers/certs.d"];

/// What TLS believes on the way to this registry, whose name is a checked one. `verify` is the caller's word; where
/// `needed` is not said, no certificates at all are no failure yet.
///
/// # Errors
/// Where there are none, or a file that was named has none in it.
pub fn config(registry: &str, verify: bool, needed: bool) -> Result<TlsConfig> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    if !verify {
        return Ok(builder.disable_verification(true).root_certs(RootCerts::new_with_certs(&[])).build());
    }
    let mut certificates = bundle()?;
    for folder in FOLDERS {
        for file in crt_files(&Path::new(folder).join(registry))? {
            certificates.extend(read(&file)?);
        }
    }
    if certificates.is_empty() && needed {
        return Err(Error::new("no CA certificates are on this host: nobody can be believed over https").hint(format!(
            "install them (Debian and Fedora: package ca-certificates), name a file of them by SSL_CERT_FILE, or put \
             the registry's into {}/{registry}/ca.crt",
            FOLDERS[0]
        )));
    }
    Ok(builder.root_certs(RootCerts::new_with_certs(&certificates)).build())
}

/// Those that SSL_CERT_FILE names, or else the host's.
fn bundle() -> Result<Vec<Certificate<'static>>> {
    if let Some(file) = std::env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty()) {
        return read(Path::new(&file)).context(|| "SSL_CERT_FILE");
    }
    let found = BUNDLES.iter().map(Path::new).find(|file| file.exists());
    found.map_or_else(|| Ok(Vec::new()), read)
}

fn crt_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.context(|| format!("read {folder:?}"))?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
    let mut paths = paths.context(|| format!("read {folder:?}"))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "crt"));
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
