"""Certificates, theirs and ours: what is accepted, and what is said of what is not."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tokenwire.errors import ConfigError, ConnectFailed
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.http_bytes import LAST_CHUNK, answer, head, http_chunk
from tokenwire.testing.rig import Rig, settle
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream, Step
from tokenwire.upstream.tls import USUAL, Tls, make_context, words_of

Run = Callable[..., Any]


class Files:
    """A CA, and what it signed, as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.ca_file = str(folder / "ca.pem")
        self.ca.cert_pem.write_to_path(self.ca_file)
        leaf = self.ca.issue_cert("client@relay.test")
        self.cert = str(folder / "cert.pem")
        self.key = str(folder / "key.pem")
        self.both = str(folder / "both.pem")
        for number, blob in enumerate(leaf.cert_chain_pems):
            blob.write_to_path(self.cert, append=number > 0)
        leaf.private_key_pem.write_to_path(self.key)
        leaf.private_key_and_cert_chain_pem.write_to_path(self.both)
        self.encrypted = str(folder / "encrypted.pem")
        key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
        locked = serialization.BestAvailableEncryption(b"sesame")
        form = serialization.PrivateFormat.PKCS8
        Path(self.encrypted).write_bytes(key.private_bytes(serialization.Encoding.PEM, form, locked))

    def serving(self, *names: str, clients: trustme.CA | None = None, **issued: Any) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.ca.issue_cert(*names, **issued).configure_cert(context)
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            clients.configure_trust(context)
        return context


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("certificates"))


async def accepted(rig: Rig, upstream: ScriptedUpstream, tls: Tls) -> None:
    """A whole stream arrives."""
    asked = rig.ask(upstream.base_url, tls=tls)
    assert (await asked.ended()).state == "completed", asked.error.message
    assert asked.text == "Hello"


SCRIPT: list[Step] = [
    REQUEST,
    head(200, ("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))
    + b"".join(map(http_chunk, chat.answer("Hello")))
    + LAST_CHUNK,
]


async def refused(rig: Rig, upstream: ScriptedUpstream, tls: Tls | None, words: str) -> None:
    with pytest.raises(ConnectFailed) as caught:
        await rig.connect(upstream.base_url, tls=tls)
    await settle()
    assert rig.connections[1] == 0
    assert caught.value.phase == "TLS handshake"
    assert str(caught.value).startswith(f"https://127.0.0.1:{upstream.port}: TLS handshake failed: ")
    assert words in str(caught.value)
    assert caught.value.retryable is False
    asked = rig.ask(upstream.base_url, tls=tls)
    await asked.ended()
    assert (asked.error.code, asked.error.retryable) == ("connect_failed", False)
    assert words in asked.error.message


# ---------------------------------------------------------------------- theirs


def test_a_ca_file_is_trusted_and_only_it(run: Run, files: Files) -> None:
    stranger = str(files.folder / "stranger.pem")
    trustme.CA().cert_pem.write_to_path(stranger)

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream(SCRIPT, tls=files.serving("127.0.0.1")) as upstream:
            await accepted(rig, upstream, Tls(ca_file=files.ca_file))
            await refused(rig, upstream, Tls(ca_file=stranger), "(if its CA is your own, name it in tls.ca_file)")
            await refused(rig, upstream, None, "the certificate was not accepted: ")

    run(main)


def test_an_expired_certificate(run: Run, files: Files) -> None:
    past = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
    context = files.serving("127.0.0.1", not_before=past, not_after=past + datetime.timedelta(days=30))

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream(SCRIPT, tls=context) as upstream:
            await refused(rig, upstream, Tls(ca_file=files.ca_file), "certificate has expired")

    run(main)


def test_a_certificate_for_another_host_and_the_name_that_it_is_for(run: Run, files: Files) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream(SCRIPT, tls=files.serving("api.test")) as upstream:
            await refused(rig, upstream, Tls(ca_file=files.ca_file), "not valid for '127.0.0.1'")
            await accepted(rig, upstream, Tls(ca_file=files.ca_file, server_name="api.test"))

    run(main)


def test_a_self_signed_certificate(run: Run, files: Files, tmp_path: Path) -> None:
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    own = x509.CertificateBuilder(name, name, private.public_key(), 1, now, now + datetime.timedelta(days=9))
    own = own.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
    Path(cert).write_bytes(own.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    Path(key).write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream(SCRIPT, tls=context) as upstream:
            await refused(rig, upstream, Tls(ca_file=files.ca_file), "self-signed certificate (if its CA is your own")
            await accepted(rig, upstream, Tls(ca_file=cert))

    run(main)


def test_what_is_not_verified_is_accepted_whatever_it_is(run: Run, files: Files) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream(SCRIPT, tls=files.serving("elsewhere.test")) as upstream:
            await accepted(rig, upstream, Tls(verify=False))

    run(main)


def test_plain_text_on_a_tls_port_is_told_as_that(run: Run, files: Files) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([b"HTTP/1.1 400 Bad Request\r\n\r\nno TLS here"]) as upstream:
            with pytest.raises(ConnectFailed, match="does it speak plain http there") as caught:
                await rig.connect(upstream.base_url.replace("http:", "https:"), tls=Tls(ca_file=files.ca_file))
            assert caught.value.phase == "TLS handshake"

    run(main)


def test_upstreams_with_other_trust_share_no_connection(run: Run, files: Files) -> None:
    async def main(rig: Rig) -> None:
        script: list[Step] = [REQUEST, answer(b"{}"), REQUEST]
        async with ScriptedUpstream(script, tls=files.serving("127.0.0.1")) as upstream:
            origin = rig.origin(upstream.base_url)
            ours = origin._replace(tls=Tls(ca_file=files.ca_file))
            asked = rig.ask(upstream.base_url, streaming=False, tls=ours.tls)
            await asked.ended()
            assert rig.connections == (1, 0)
            assert rig.pool.take(origin) is None
            assert rig.pool.take(ours._replace(tls=Tls(verify=False))) is None
            connection = rig.pool.take(ours)
            assert connection is not None
            connection.abort()

    run(main)


# ---------------------------------------------------------------------- ours


@contextmanager
def openssl(context: ssl.SSLContext) -> Iterator[str]:
    """The base URL of a server that speaks TLS by blocking calls: the loops' servers keep OpenSSL's alerts to
    themselves when a handshake fails."""
    reply = SCRIPT[1]
    assert isinstance(reply, bytes)

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client, suppress(OSError):
                client.settimeout(5)
                with context.wrap_socket(client, server_side=True, do_handshake_on_connect=False) as secured:
                    try:
                        secured.do_handshake()
                        secured.recv(65536)
                        secured.sendall(reply)
                        secured.recv(1)
                    except ssl.SSLError:
                        socket.socket.recv(secured, 65536)  # unread, it would make a reset that overtakes the alert

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # wakes the one who accepts
            thread.join()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_client_certificate_given_and_missing(run: Run, files: Files, version: ssl.TLSVersion) -> None:
    context = files.serving("127.0.0.1", clients=files.ca)
    context.minimum_version = context.maximum_version = version

    async def main(rig: Rig) -> None:
        with openssl(context) as url:
            pairs: list[dict[str, Any]] = [
                {"cert_file": files.cert, "key_file": files.key},
                {"cert_file": files.both},
                {"cert_file": files.cert, "key_file": files.encrypted, "key_password": "sesame"},
            ]
            for ours in pairs:
                asked = rig.ask(url, tls=Tls(ca_file=files.ca_file, **ours))
                assert (await asked.ended()).state == "completed", asked.error.message
                rig.pool.close()
            # In TLS 1.3 the server looks at ours when we are done: its refusal is the answer to our request.
            asked = rig.ask(url, tls=Tls(ca_file=files.ca_file))
            await asked.ended()
            assert "may want a client certificate: tls.cert_file" in asked.error.message
            early = version is ssl.TLSVersion.TLSv1_2
            assert asked.failure[1] == ("connect_failed" if early else "upstream_closed")

    run(main)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_client_certificate_that_they_do_not_trust(run: Run, files: Files, version: ssl.TLSVersion) -> None:
    context = files.serving("127.0.0.1", clients=trustme.CA())
    context.minimum_version = context.maximum_version = version

    async def main(rig: Rig) -> None:
        with openssl(context) as url:
            asked = rig.ask(url, tls=Tls(ca_file=files.ca_file, cert_file=files.both))
            await asked.ended()
            assert "the server did not accept our certificate" in asked.error.message

    run(main)


# ---------------------------------------------------------------------- settings that cannot work


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ca_file": "{0}/none.pem"}, "tls.ca_file: cannot read {0}/none.pem: No such file or directory"),
        ({"ca_file": "{0}/key.pem"}, "tls.ca_file: {0}/key.pem has no CA certificate in PEM"),
        ({"cert_file": "{0}/none.pem"}, "tls.cert_file: cannot read {0}/none.pem: No such file"),
        ({"cert_file": "{0}/cert.pem", "key_file": "{0}/none.pem"}, "tls.key_file: cannot read {0}/none.pem: No such"),
        ({"key_file": "{0}/key.pem"}, "tls.cert_file: a key is of no use without its certificate"),
        ({"key_password": "x"}, "tls.cert_file: a key is of no use without its certificate"),
        ({"cert_file": "{0}/cert.pem"}, "tls.cert_file: {0}/cert.pem and {0}/cert.pem have no certificate and key"),
        ({"cert_file": "{0}/ca.pem", "key_file": "{0}/key.pem"}, "tls.key_file: {0}/key.pem is not the key of {0}/ca"),
        (
            {"cert_file": "{0}/cert.pem", "key_file": "{0}/encrypted.pem"},
            "tls.key_password: the password of {0}/encrypted.pem is missing, and the key is encrypted",
        ),
        (
            {"cert_file": "{0}/cert.pem", "key_file": "{0}/encrypted.pem", "key_password": "open"},
            "tls.key_password: the password of {0}/encrypted.pem is wrong",
        ),
        (
            {"cert_file": "{0}/cert.pem", "key_file": "{0}/encrypted.pem", "key_password": "x" * 2000},
            "tls.key_password: the password of {0}/encrypted.pem is wrong",
        ),
    ],
)
def test_files_that_cannot_be_used(files: Files, settings: dict[str, str], words: str) -> None:
    filled: dict[str, Any] = {name: value.replace("{0}", str(files.folder)) for name, value in settings.items()}
    with pytest.raises(ConfigError) as caught:
        make_context(Tls(**filled))
    assert str(caught.value).startswith(words.replace("{0}", str(files.folder)))


def test_a_file_that_went_away_is_a_failed_connection(run: Run, files: Files) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream(tls=files.serving("127.0.0.1")) as upstream:
            gone = Tls(ca_file=str(files.folder / "gone.pem"))
            with pytest.raises(ConnectFailed, match=r"TLS handshake failed: tls\.ca_file: cannot read"):
                await rig.connect(upstream.base_url, tls=gone)

    run(main)


# ---------------------------------------------------------------------- the system's trust


def test_without_settings_the_system_is_trusted_and_http11_is_spoken() -> None:
    for context in (make_context(None), make_context(USUAL), make_context(None, for_proxy=True)):
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_python_that_looks_for_cas_elsewhere_finds_them(monkeypatch: pytest.MonkeyPatch, files: Files) -> None:
    nowhere = ssl.DefaultVerifyPaths("", "", "", "", "", "")
    monkeypatch.setattr("ssl.get_default_verify_paths", lambda: nowhere)
    monkeypatch.setattr("ssl.create_default_context", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    monkeypatch.setattr("tokenwire.upstream.tls._BUNDLES", ("/nonexistent/ca.pem", files.ca_file))
    assert make_context(None).cert_store_stats()["x509_ca"] == 1
    monkeypatch.setattr("tokenwire.upstream.tls._BUNDLES", ("/nonexistent/ca.pem",))
    with pytest.raises(ConfigError, match="no CA certificates where we looked: install ca-certificates, or name a"):
        make_context(None)
    assert make_context(Tls(ca_file=files.ca_file)).cert_store_stats()["x509_ca"] == 1


def told(reason: str) -> ssl.SSLError:
    """OpenSSL's error of that name, as Python raises it."""
    error = ssl.SSLError(1, f"[SSL: {reason}] something (_ssl.c:1)")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(104, "x"), "Connection reset by peer"),
        (ConnectionResetError(), "the server closed the connection"),
        (RuntimeError("its own words"), "its own words"),
        (told("UNEXPECTED_EOF_WHILE_READING"), "the server closed the connection"),
        (told("TLSV1_ALERT_NO_APPLICATION_PROTOCOL"), "tlsv1 alert no application protocol"),
        (told("SSLV3_ALERT_CERTIFICATE_EXPIRED"), "the server did not accept our certificate (sslv3 alert certificate"),
        (told("RECORD_LAYER_FAILURE"), "the server does not answer in TLS; does it speak plain http there?"),
    ],
)
def test_failures_in_words(error: Exception, words: str) -> None:
    assert words_of(error).startswith(words)
