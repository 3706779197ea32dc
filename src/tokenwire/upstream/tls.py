"""Whom we trust as an upstream, how we prove who we are, and a failed handshake in words.

Sessions are not resumed: the loops offer no way to, and it was measured to save nothing with TLS 1.3 (of a handshake's
millisecond, nine tenths are OpenSSL's either way) and a sixth with TLS 1.2. Connections are kept instead.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Final

from msgspec import Struct

from tokenwire.errors import ConfigError

#: Where systems keep their CAs, for a Python whose OpenSSL was built to look elsewhere (Debian and Alpine, Red Hat,
#: SUSE, OpenBSD and macOS).
_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class Tls(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one upstream wants otherwise than usual. Files are PEM.

    Attributes:
        ca_file: the CAs that may have signed its certificate, instead of the system's.
        cert_file, key_file: our certificate with its chain, and its key (None: in the same file).
        key_password: of an encrypted key.
        server_name: the name to ask for (SNI) and to find in the certificate, instead of the base URL's host.
        verify: False accepts any certificate, and so anybody on the way.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    key_password: str | None = None
    server_name: str | None = None
    verify: bool = True


USUAL: Final = Tls()


def make_context(tls: Tls | None, *, for_proxy: bool = False) -> ssl.SSLContext:
    """A client's context: verified, with SNI, HTTP/1.1 by ALPN. Reads files (20 ms for a system's CAs): once is enough.

    *for_proxy*: for the way to an https proxy, whom the system's CAs and ``ca_file`` may vouch for; who we are to the
    upstream is none of its business. Raises ``ConfigError`` naming the setting (``tls.ca_file``).
    """
    tls = tls or USUAL
    own = tls.ca_file is not None and not for_proxy
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if own else ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if not own:
        _find_system_trust(context)
    if tls.ca_file is not None:
        _load_trust(context, tls.ca_file)
    if for_proxy:
        return context
    _load_certificate(context, tls)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _find_system_trust(context: ssl.SSLContext) -> None:
    if not any(ssl.get_default_verify_paths()[:2]) and not context.cert_store_stats()["x509_ca"]:
        for bundle in _BUNDLES:
            if Path(bundle).is_file():
                context.load_verify_locations(bundle)
                return
        raise ConfigError(
            "this system has no CA certificates where we looked: install ca-certificates, or name a file of them",
            where="tls.ca_file",
        )


def _load_trust(context: ssl.SSLContext, ca_file: str) -> None:
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError as error:
        raise ConfigError(f"{ca_file} has no CA certificate in PEM", where="tls.ca_file") from error
    except OSError as error:
        raise ConfigError(f"cannot read {ca_file}: {error.strerror}", where="tls.ca_file") from error


def _load_certificate(context: ssl.SSLContext, tls: Tls) -> None:
    if tls.cert_file is None:
        if tls.key_file is not None or tls.key_password is not None:
            raise ConfigError("a key is of no use without its certificate", where="tls.cert_file")
        return
    for where, path in (("tls.cert_file", tls.cert_file), ("tls.key_file", tls.key_file)):
        try:
            if path is not None:
                Path(path).open("rb").close()
        except OSError as error:  # OpenSSL does not say which of the two
            raise ConfigError(f"cannot read {path}: {error.strerror}", where=where) from error
    try:
        # Never without a password: OpenSSL would ask for it on the terminal.
        context.load_cert_chain(tls.cert_file, tls.key_file, tls.key_password or "")
    except (ssl.SSLError, ValueError) as error:  # the latter: a password longer than OpenSSL's 1,024 bytes
        key = tls.key_file or tls.cert_file
        if "KEY_VALUES_MISMATCH" in str(error):
            raise ConfigError(f"{key} is not the key of {tls.cert_file}", where="tls.key_file") from error
        if _encrypted(key):
            wrong = "is wrong" if tls.key_password else "is missing, and the key is encrypted"
            raise ConfigError(f"the password of {key} {wrong}", where="tls.key_password") from error
        raise ConfigError(
            f"{tls.cert_file} and {key} have no certificate and key in PEM", where="tls.cert_file"
        ) from error


def _encrypted(path: str) -> bool:
    text = Path(path).read_bytes()
    return b"ENCRYPTED" in text  # "BEGIN ENCRYPTED PRIVATE KEY" or "Proc-Type: 4,ENCRYPTED"


# ---------------------------------------------------------------------- words

# What a client hears of a peer that does not speak TLS at all, by version of OpenSSL and by what it says instead.
_PLAIN_TEXT = frozenset({"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})
# What servers say that want a certificate, or another one: the last before TLS 1.3 knew a word of its own for it.
_WANTS_CERTIFICATE = frozenset({"TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE"})
_BAD_CERTIFICATE = ("_ALERT_UNKNOWN_CA", "_CERTIFICATE_EXPIRED", "_BAD_CERTIFICATE", "_CERTIFICATE_UNKNOWN")


def words_of(error: BaseException) -> str:
    """Why a connection failed. Loops word the same errno differently, and asyncio leaves it out; OpenSSL's words are
    for those who know its source."""
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = ""
        if "issuer" in error.verify_message or "self-signed" in error.verify_message:
            hint = " (if its CA is your own, name it in tls.ca_file)"
        return f"the certificate was not accepted: {error.verify_message}{hint}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return _words_of_tls(error.reason)
    if isinstance(error, OSError) and error.errno and error.errno > 0 and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)
    words = error.strerror if isinstance(error, OSError) else None
    return words or str(error) or "the server closed the connection"


def _words_of_tls(reason: str) -> str:
    shown = reason.lower().replace("_", " ")
    if reason in _PLAIN_TEXT:
        return f"the server does not answer in TLS; does it speak plain http there? ({shown})"
    if reason in _WANTS_CERTIFICATE:
        return f"the server refused; it may want a client certificate: tls.cert_file ({shown})"
    if reason.endswith(_BAD_CERTIFICATE):
        return f"the server did not accept our certificate ({shown})"
    if reason == "UNEXPECTED_EOF_WHILE_READING":
        return "the server closed the connection"
    return shown


def certificate_refused(error: BaseException) -> bool:
    """Whether to try again is of no use: a certificate was looked at and not accepted, by us or by them."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return True
    reason = getattr(error, "reason", None) or ""
    return isinstance(error, ssl.SSLError) and (reason in _WANTS_CERTIFICATE or reason.endswith(_BAD_CERTIFICATE))
