//! TLS for `mqtts`: which certificates are trusted and which one is shown, loaded when the configuration is read, so that
//! a wrong file is found before anything starts.

use model::mqtt::Broker;
use model::pem::{read_certificates, read_private_key};
use model::toml_file::Section;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// The outer `None` when there is a mistake; the inner one without TLS. Without a broker its own problem is enough.
pub(super) fn from_section(
    section: &Section<'_>,
    broker: Option<&Broker>,
) -> Option<Option<Arc<ClientConfig>>> {
    let (own, key) = (read_certificates(section, "client_cert"), read_private_key(section, "client_key"));
    let broker = broker?;
    if !broker.tls {
        return Some(None);
    }
    let at = section.at_value("client_cert").or_else(|| section.at_value("client_key"));
    let built = match (own?, key?) {
        (None, None) => config(broker.ca.as_deref(), None),
        (Some(own), Some(key)) => config(broker.ca.as_deref(), Some((own, key))),
        _ => Err("`client_cert` and `client_key` go together".to_owned()),
    };
    let told =
        |e| section.file().error_at(at.unwrap_or(section.at()), format!("TLS cannot be used: {e}"), "");
    built.map_err(told).ok().map(|config| Some(Arc::new(config)))
}

/// TLS that trusts these authorities, or those of the system, and shows firedamp's own certificate with this key.
fn config(ca: Option<&[u8]>, own: Option<(Vec<u8>, Vec<u8>)>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(pem) => {
            for certificate in certificates(pem)? {
                roots.add(certificate).map_err(|e| format!("a certificate of `ca`: {e}"))?;
            }
        }
        // Systems carry odd certificates; those that cannot be parsed are skipped, as every other program does.
        None => _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    }
    if roots.is_empty() {
        return Err("this system has no trusted certificates; name a file with `ca`".to_owned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| e.to_string())?.with_root_certificates(roots);
    let Some((own, key)) = own else { return Ok(builder.with_no_client_auth()) };
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|e| e.to_string())?;
    builder.with_client_auth_cert(certificates(&own)?, key).map_err(|e| format!("`client_cert`: {e}"))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|e| e.to_string())
}
