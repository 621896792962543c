//! TLS for `mqtts`: which certificates are trusted and which one is shown, loaded when the configuration is read, so that
//! a wrong file is found before anything starts.

use super::Tls;
use model::toml_file::{Located, Section};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// The outer `None` when there is a mistake; the inner one without TLS.
pub(super) fn from_section(section: &Section<'_>, wanted: bool) -> Option<Option<Tls>> {
    let ca = section.str("ca");
    let cert = section.str("client_cert");
    let key = section.str("client_key");
    if !wanted {
        // When the URL itself is wrong its own problem is enough.
        if let Some(first) = [&ca, &cert, &key].into_iter().flatten().next()
            && section.str("url").is_some_and(|u| u.value.starts_with("mqtt:"))
        {
            section.file().error_at(
                first.at,
                "certificates are for TLS, and `url` has none",
                "write mqtts:// in `url`",
            );
            return None;
        }
        return Some(None);
    }
    let fail = |at: usize, message: String| {
        section.file().error_at(at, message, "");
        None
    };
    let roots = match &ca {
        Some(file) => match roots_of_file(file) {
            Ok(roots) => roots,
            Err(message) => return fail(file.at, message),
        },
        None => match system_roots() {
            Ok(roots) => roots,
            Err(message) => return fail(section.at(), message),
        },
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = match ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions() {
        Ok(builder) => builder.with_root_certificates(roots),
        Err(e) => return fail(section.at(), format!("TLS cannot be used: {e}")),
    };
    let config = match (&cert, &key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => {
            let own = certificates(cert).and_then(|certs| Ok((certs, private_key(key)?)));
            match own
                .and_then(|(certs, key)| builder.with_client_auth_cert(certs, key).map_err(|e| e.to_string()))
            {
                Ok(config) => config,
                Err(message) => return fail(cert.at, message),
            }
        }
        (Some(one), None) | (None, Some(one)) => {
            return fail(one.at, "`client_cert` and `client_key` go together".to_owned());
        }
    };
    Some(Some(Tls(Arc::new(config))))
}

fn certificates(file: &Located<&str>) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file.value).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certs) if certs.is_empty() => Err(format!("`{}` holds no certificate in PEM", file.value)),
        Ok(certs) => Ok(certs),
        Err(e) => Err(format!("cannot read certificates from `{}`: {e}", file.value)),
    }
}

fn private_key(file: &Located<&str>) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(file.value)
        .map_err(|e| format!("cannot read a private key from `{}`: {e}", file.value))
}

fn roots_of_file(file: &Located<&str>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for cert in certificates(file)? {
        roots
            .add(cert)
            .map_err(|e| format!("`{}` holds a certificate that cannot be used: {e}", file.value))?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    // Systems carry odd certificates; those that cannot be parsed are skipped, as every other program does.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this system has no trusted certificates; name a file with `ca`".to_owned());
    }
    Ok(roots)
}
