//! Files in PEM that keys of a configuration name. They are read together with it, so that a wrong one is found before anything starts;
//! a relative path is below the folder of the configuration, wherever the process stands.

use crate::toml_file::Section;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The bytes of a file of certificates. The outer `None`: it cannot be used, which is told.
pub fn read_certificates(s: &Section<'_>, key: &'static str) -> Option<Option<Vec<u8>>> {
    read(s, key, "certificates", |pem| {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let found = found.map_err(|e| e.to_string())?;
        if found.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(()) }
    })
}

/// The bytes of a file of a private key, likewise.
pub fn read_private_key(s: &Section<'_>, key: &'static str) -> Option<Option<Vec<u8>>> {
    read(s, key, "private key", |pem| PrivateKeyDer::from_pem_slice(pem).map(drop).map_err(|e| e.to_string()))
}

fn read(
    s: &Section<'_>,
    key: &'static str,
    what: &str,
    check: fn(&[u8]) -> Result<(), String>,
) -> Option<Option<Vec<u8>>> {
    let Some(path) = s.path(key) else { return Some(None) };
    let read = std::fs::read(&path.value).map_err(|e| e.to_string());
    match read.and_then(|pem| check(&pem).map(|()| pem)) {
        Ok(pem) => Some(Some(pem)),
        Err(e) => {
            let message = format!("{what} of `{}` cannot be read: {e}", path.value.display());
            s.file().error_at(path.at, message, "give a file in PEM");
            None
        }
    }
}
