"""Finds out within ten seconds why a broker cannot be used: name, port, TLS, protocol or credentials, in one line.

Owns the steps of a connection and the cause that each failure has. It connects with the standard library, since a
client retries and reports only a time-out; requests and SASL are kafka-python's. Called by `agents.kafka.client`.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from typing import Any

from kafka.errors import KafkaError, for_code
from kafka.net.sasl import get_sasl_mechanism
from kafka.protocol.metadata import ApiVersionsRequest, MetadataRequest
from kafka.protocol.parser import KafkaProtocol
from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest

from agents.settings.settings import Settings

WITHIN_S = 9.0
_OTHER_PROTOCOL_S = 2.0
"""Time to find out whether a port has TLS."""
_TLS_ALERT = b"\x15"
_UNTRUSTED = frozenset({2, 18, 19, 20, 21, 24, 27})
"""OpenSSL's codes of a certificate that no CA in the file has signed."""
_OTHER_NAME = frozenset({62, 64})
_OUT_OF_DATE = frozenset({9, 10})
_ILLEGAL_SASL_STATE = "IllegalSaslStateError"


class ConnectionFailedError(Exception):
    """Why a broker cannot be used. `is_final`: only other settings can help."""

    def __init__(self, cause: str, *, is_final: bool) -> None:
        """`cause` is one line."""
        super().__init__(cause)
        self.is_final = is_final

    @property
    def retriable(self) -> bool:
        """Whether a later attempt can succeed, by the name that Kafka's own errors have for it."""
        return not self.is_final


def check_connection(settings: Settings) -> None:
    """Check that one of the brokers of the settings can be used. Raises `ConnectionFailedError`."""
    connect_first(settings).close()


def connect_first(settings: Settings) -> Connection:
    """A connection to the first of the brokers of the settings that can be used. Raises `ConnectionFailedError`."""
    deadline_s = time.monotonic() + WITHIN_S
    servers = settings.bootstrap_servers()
    problems: list[str] = []
    is_final = True
    for number, server in enumerate(servers):
        timeout_s = max(0.1, deadline_s - time.monotonic()) / (len(servers) - number)
        try:
            return signed_in(settings, server, timeout_s)
        except ConnectionFailedError as problem:
            problems.append(f"{server}: {problem}")
            is_final = is_final and problem.is_final
    raise ConnectionFailedError("; ".join(problems), is_final=is_final)


def signed_in(settings: Settings, server: str, timeout_s: float = WITHIN_S) -> Connection:
    """A connection to one broker, HOST:PORT, on which requests can be made. Raises `ConnectionFailedError`."""
    host, _, port = server.rpartition(":")
    address = (host.strip("[]"), int(port))
    context = settings.ssl_context()
    _resolve(address, timeout_s)
    connection = Connection(_connected(address, timeout_s), address, timeout_s)
    try:
        if context is not None:
            connection.start_tls(context, has_certificate=settings.tls_cert is not None)
        connection.learn_versions()
        if settings.security_protocol.startswith("SASL"):
            _authenticate(connection, settings)
        else:
            connection.ask(MetadataRequest(version=1, topics=[]), before_sign_in=True)
    except BaseException:
        connection.close()
        raise
    return connection


def _resolve(address: tuple[str, int], timeout_s: float) -> None:
    """Look the name up in a thread: a resolver without servers takes longer than we have."""
    problems: list[OSError] = []

    def look_up() -> None:
        try:
            socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            problems.append(error if isinstance(error, OSError) else OSError(0, "not a host name"))

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise ConnectionFailedError(f"the name was not resolved within {timeout_s:.0f} s: check DNS", is_final=False)
    if problems:
        cause = f"the name cannot be resolved ({problems[0].strerror}): check broker"
        raise ConnectionFailedError(cause, is_final=False)


def _connected(address: tuple[str, int], timeout_s: float) -> socket.socket:
    try:
        return socket.create_connection(address, timeout=timeout_s)
    except ConnectionRefusedError:
        cause = "nothing listens on this port: check broker, and that Kafka runs (`vitals demo` starts its own broker)"
    except TimeoutError:
        cause = f"no connection within {timeout_s:.0f} s: check the address and firewalls"
    except OSError as error:
        cause = f"no connection ({error.strerror or error}): check the address"
    raise ConnectionFailedError(cause, is_final=False)


class Connection:
    """One connection, its requests, and the cause that a failure of each step has."""

    def __init__(self, plain: socket.socket, address: tuple[str, int], timeout_s: float) -> None:
        self._socket = plain
        self._address = address
        self._timeout_s = timeout_s
        self._is_tls = self._has_certificate = False
        self._protocol = KafkaProtocol(client_id="vitals-check")
        self._newest: dict[int, int] = {}

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def start_tls(self, context: ssl.SSLContext, *, has_certificate: bool) -> None:
        """Shake hands, verifying the broker's certificate. `has_certificate`: the context has a client certificate."""
        self._is_tls, self._has_certificate = True, has_certificate
        try:
            self._socket = context.wrap_socket(self._socket, server_hostname=self._address[0])
        except ssl.SSLCertVerificationError as error:
            raise ConnectionFailedError(_cause_of_certificate(error, self._address[0]), is_final=True) from error
        except TimeoutError as error:
            raise self._silent() from error
        except OSError as error:
            if _answers_plainly(self._address) or getattr(error, "reason", "") == "WRONG_VERSION_NUMBER":
                cause = "the port has no TLS: set security_protocol to PLAINTEXT or SASL_PLAINTEXT, or use the TLS port"
                raise ConnectionFailedError(cause, is_final=True) from error
            raise self._lost(error) from error

    def learn_versions(self) -> None:
        """Ask which requests the broker knows."""
        answer = self.ask(ApiVersionsRequest(version=0))
        self._newest = {api.api_key: api.max_version for api in answer.api_keys}

    def has(self, kind: type[Any], version: int) -> bool:
        """Whether the broker knows this version of a kind of request."""
        return self._newest.get(kind.API_KEY, -1) >= version

    def ask(self, request: Any, *, before_sign_in: bool = False) -> Any:
        """Send a request and return its answer. `before_sign_in`: a broker that wants SASL closes the connection."""
        self._protocol.send_request(request)
        try:
            self._socket.sendall(self._protocol.send_bytes())
            return self._answer()
        except TimeoutError as error:
            raise self._silent() from error
        except KafkaError as error:
            raise ConnectionFailedError(f"this is not a Kafka broker ({error}): check broker", is_final=True) from error
        except OSError as error:
            if not self._is_tls and _has_tls(self._address):
                cause = "the port has TLS: set security_protocol to SSL or SASL_SSL"
                raise ConnectionFailedError(cause, is_final=True) from error
            if before_sign_in and not isinstance(error, ssl.SSLError):
                protocol = "SASL_SSL" if self._is_tls else "SASL_PLAINTEXT"
                cause = f"the broker closes the connection: it wants SASL; set security_protocol to {protocol}"
                raise ConnectionFailedError(cause, is_final=True) from error
            raise self._lost(self._alert() or error) from error

    def _alert(self) -> OSError | None:
        """The alert that a broker sent before it closed a connection; a write that fails does not show it."""
        try:
            self._socket.recv(1)
        except OSError as error:
            return error
        return None

    def _answer(self) -> Any:
        while True:
            data = self._socket.recv(65_536)
            if not data or (not self._is_tls and data.startswith(_TLS_ALERT)):
                raise ConnectionResetError(0, "closed by the broker")
            for _, answer in self._protocol.receive_bytes(data):
                return answer

    def _silent(self) -> ConnectionFailedError:
        cause = f"the port accepts connections and does not answer within {self._timeout_s:.0f} s: check the broker"
        return ConnectionFailedError(cause, is_final=False)

    def _lost(self, error: OSError) -> ConnectionFailedError:
        """The cause of a connection that the other side has closed, perhaps with an alert of TLS."""
        reason = str(getattr(error, "reason", None) or error.strerror or error)
        text = reason.lower().replace("_", " ")
        if ("alert" in text and "certificate" in text and not self._has_certificate) or "certificate required" in text:
            cause = f"the broker wants a client certificate ({reason}): set tls_cert and tls_key"
            return ConnectionFailedError(cause, is_final=True)
        if "alert" in text and ("unknown ca" in text or "certificate" in text):
            cause = f"the broker does not accept the client certificate ({reason}): check tls_cert and tls_key"
            return ConnectionFailedError(cause, is_final=True)
        return ConnectionFailedError(f"the connection was closed ({reason}): check broker and its log", is_final=False)


def _cause_of_certificate(error: ssl.SSLCertVerificationError, host: str) -> str:
    why = error.verify_message
    if error.verify_code in _OTHER_NAME:
        return f"the broker's certificate is for other names ({why}): use one of its names instead of {host}"
    if error.verify_code in _OUT_OF_DATE:
        return f"the broker's certificate is out of date ({why})"
    if error.verify_code in _UNTRUSTED:
        return f"the broker's certificate is not signed by a CA of tls_ca ({why}): set tls_ca to its CA"
    return f"the broker's certificate is refused ({why})"


def _authenticate(connection: Connection, settings: Settings) -> None:
    """Sign in with SASL as a client does."""
    name = settings.sasl_mechanism
    handshake = connection.ask(SaslHandshakeRequest(version=1, mechanism=name))
    if (refused := for_code(handshake.error_code)).__name__ == _ILLEGAL_SASL_STATE:
        protocol = settings.security_protocol.replace("SASL_PLAINTEXT", "PLAINTEXT").replace("SASL_", "")
        raise ConnectionFailedError(f"the port has no SASL: set security_protocol to {protocol}", is_final=True)
    if name not in handshake.mechanisms:
        enabled = ", ".join(handshake.mechanisms) or refused.__name__
        raise ConnectionFailedError(f"sasl_mechanism {name} is not enabled; the broker has {enabled}", is_final=True)
    mechanism = get_sasl_mechanism(name)(host="", **settings.kafka_python())
    try:
        while not mechanism.is_done():
            answer = connection.ask(SaslAuthenticateRequest(version=0, auth_bytes=mechanism.auth_bytes()))
            if answer.error_code:
                why = answer.error_message or for_code(answer.error_code).__name__
                raise _refused(settings, why)
            mechanism.receive(answer.auth_bytes)
    except ValueError as error:
        raise _refused(settings, str(error)) from error
    if not mechanism.is_authenticated():
        raise _refused(settings, "the broker's answer is not as expected")


def _refused(settings: Settings, why: str) -> ConnectionFailedError:
    cause = (
        f"the broker refuses the credentials of user {settings.sasl_username} with {settings.sasl_mechanism} ({why})"
    )
    return ConnectionFailedError(f"{cause}: check sasl_username, sasl_password and sasl_mechanism", is_final=True)


def _has_tls(address: tuple[str, int]) -> bool:
    """Whether a port answers a TLS handshake. Nothing secret is sent, so its certificate does not matter."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(address, timeout=_OTHER_PROTOCOL_S) as plain:
            context.wrap_socket(plain, server_hostname=address[0]).close()
    except OSError as error:
        return "ALERT" in str(getattr(error, "reason", ""))
    return True


def _answers_plainly(address: tuple[str, int]) -> bool:
    """Whether a port answers a request of Kafka without TLS."""
    protocol = KafkaProtocol(client_id="vitals-check")
    protocol.send_request(ApiVersionsRequest(version=0))
    try:
        with socket.create_connection(address, timeout=_OTHER_PROTOCOL_S) as plain:
            plain.sendall(protocol.send_bytes())
            return any(True for _ in protocol.receive_bytes(plain.recv(65_536)))
    except (OSError, KafkaError):
        return False
