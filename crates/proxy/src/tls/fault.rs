//! Owns the closed list of reasons why a handshake fails. The same words stand in metrics and documentation.

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

macro_rules! faults {
    ($($(#[$about:meta])* $name:ident $word:literal,)*) => {
        /// Why a handshake failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Fault {
            $($(#[$about])* $name,)*
        }

        impl Fault {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The word.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

faults! {
    /// It did not end in time.
    Timeout "timeout",
    /// The peer went away, or the connection broke.
    PeerLeft "peer_left",
    /// Too many were under way.
    TooMany "too_many",
    /// The peer speaks HTTP without TLS.
    PlainHttp "plain_http",
    /// What the peer speaks is not TLS, or is broken.
    Malformed "malformed",
    /// No version in common.
    Version "version",
    /// No cipher, group or signature in common.
    Parameters "parameters",
    /// No protocol above TLS in common.
    Protocol "protocol",
    /// There is no certificate to show: the listener's could not be loaded.
    NoCertificate "no_certificate",
    /// The peer shows no certificate and must.
    CertificateMissing "certificate_missing",
    /// The peer's certificate has expired.
    CertificateExpired "certificate_expired",
    /// The peer's certificate does not hold yet, by the clock of this machine.
    CertificateNotYet "certificate_not_yet_valid",
    /// The peer's certificate is not of an issuer that is trusted.
    CertificateUnknown "certificate_unknown",
    /// The peer's certificate has been revoked.
    CertificateRevoked "certificate_revoked",
    /// No list of its issuer's says whether the peer's certificate has been revoked.
    CertificateUnlisted "certificate_unlisted",
    /// The peer's certificate is not for the name that was asked for.
    CertificateName "certificate_name",
    /// The peer's certificate is of no use for another reason.
    CertificateInvalid "certificate_invalid",
    /// The peer does not take our certificate.
    Distrusted "distrusted",
    /// The peer ended it with another alert.
    Alert "alert",
    /// Anything else.
    Other "other",
}

impl Fault {
    /// What an error of the library means.
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::InvalidMessage(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerMisbehaved(_)
            | Error::DecryptError
            | Error::PeerSentOversizedRecord => Self::Malformed,
            Error::PeerIncompatible(incompatible) => match incompatible {
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::SupportedVersionsExtensionRequired
                // Clients older than TLS 1.2 have no such extension, and all others send it.
                | PeerIncompatible::SignatureAlgorithmsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled => Self::Version,
                _ => Self::Parameters,
            },
            Error::NoApplicationProtocol => Self::Protocol,
            Error::NoCertificatesPresented => Self::CertificateMissing,
            Error::InvalidCertificate(why) => match why {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    Self::CertificateExpired
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::CertificateNotYet
                }
                CertificateError::UnknownIssuer => Self::CertificateUnknown,
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Self::CertificateName,
                CertificateError::Revoked => Self::CertificateRevoked,
                CertificateError::UnknownRevocationStatus => Self::CertificateUnlisted,
                _ => Self::CertificateInvalid,
            },
            // A list that its issuer did not sign says nothing.
            Error::InvalidCertRevocationList(_) => Self::CertificateUnlisted,
            Error::AlertReceived(alert) => match alert {
                AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnsupportedCertificate => Self::Distrusted,
                AlertDescription::ProtocolVersion => Self::Version,
                AlertDescription::NoApplicationProtocol => Self::Protocol,
                AlertDescription::CertificateRequired => Self::CertificateMissing,
                AlertDescription::CloseNotify | AlertDescription::UserCanceled => Self::PeerLeft,
                _ => Self::Alert,
            },
            Error::General(text) if text.contains("no server certificate chain resolved") => {
                Self::NoCertificate
            }
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_fault_stands_at_its_number_and_has_a_word_of_its_own() {
        for (at, fault) in Fault::ALL.iter().enumerate() {
            assert_eq!(*fault as usize, at);
        }
        let words: BTreeSet<_> = Fault::ALL.iter().map(|fault| fault.word()).collect();
        assert_eq!(words.len(), Fault::ALL.len());
    }
}
