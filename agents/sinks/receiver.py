"""One receiver of the notify sink: an apprise URL, such as slack://, mailto:// or ntfy://, and sending a text to it.

Owns which services of apprise are allowed and how they are kept from other addresses: no redirects are followed, and
every connection passes the address guard (`agents.sinks.connection_guard`). The URL holds secrets: it is never shown,
and what apprise reports about a failure is returned without secrets. Called by `agents.sinks.notify`.
"""

from __future__ import annotations

import logging
import re
from ipaddress import ip_address
from urllib.parse import urlsplit

import apprise

from agents.settings.redactor import redact
from agents.sinks.connection_guard import Refusal, connections_guarded
from agents.sinks.notification_text import NotificationText

_NAMES = (
    "acs apprise apprises azure bark barks betterstack brevo chanify clickatell clicksend cliq d7sms dingtalk discord "
    "fcm feishu flock form forms gchat goalert goalerts gotify gotifys groupme guilded hassio hassios ifttt ilert "
    "incidentio infobip jira join json jsons lametric lametrics lark line mailersend mailgun mailto mailtos matrix "
    "matrixs mmost mmosts msgbird msg91 ncloud nclouds nctalk nctalks nexmo ntfy ntfys o365 onesignal opsgenie "
    "pagerduty pagertree pbul plivo postmark pover prowl push pushdeer pushdeers pushed pushy resend revolt ringc "
    "rocket rockets ryver sendgrid ses seven signal signals signl4 simplepush sinch slack smtp2go sns sparkpost spike "
    "splunk spush squadcast synology synologys tgram threema twilio twist victorops vonage webex wecombot whatsapp "
    "workflow workflows wxteams xmatters xml xmls zcliq zohocliq zoom zulip"
)
SERVICES = frozenset(_NAMES.split())
"""The schemes of the allowed services: chat, e-mail, text messages, push and incidents, over HTTP or SMTP.

Others of apprise are refused: they run programs, write to devices of this machine, or open connections of their own.
"""
_TIMEOUT_S = 30.0
_LONGEST_REASON = 300
_NOT_ALLOWED = "to send to it nevertheless, set notify_allow_private"


class Receiver:
    """One apprise URL. Raises `ValueError`, without the URL in it, when it cannot be used."""

    def __init__(self, number: int, url: str, refusal: Refusal) -> None:
        """`number` (from 1) names the receiver in logs; `refusal` gives why an address is refused, or None."""
        scheme = _scheme_of(url)
        self.name = f"{number} ({scheme or 'not a URL'})"
        if scheme and scheme not in SERVICES:
            raise ValueError(f"number {self.name} is not an allowed service: docs/how-to/send-alerts.md lists them")
        if why := _refusal_of_literal(url, refusal):
            raise ValueError(f"number {self.name}: {why}; {_NOT_ALLOWED}")
        asset = apprise.AppriseAsset(
            app_id="account-vitals", app_desc="account-vitals", app_url="", async_mode=False, http_redirects=False
        )
        # Its messages come with each result: the log must not have them before secrets are removed.
        logging.getLogger("apprise").propagate = False
        plugin = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        if plugin is None:
            raise ValueError(
                f"number {self.name} is not a URL that apprise can use: see https://appriseit.com/services/"
            )
        plugin.redirects = False  # `?redirect=yes` in the URL would be stronger than the asset
        self._plugin = plugin
        self._refusal = refusal
        self._apprise = apprise.Apprise(asset=asset)
        self._apprise.add(plugin)

    def send(self, text: NotificationText, kind: apprise.NotifyType) -> str | None:
        """Send a text; returns why it failed, without secrets, or None."""
        markdown = apprise.NotifyFormat.MARKDOWN
        body_format = (
            apprise.NotifyFormat.TEXT
            if self._plugin.resolve_format(markdown) == apprise.NotifyFormat.TEXT
            else markdown
        )
        body = text.markdown if body_format == markdown else text.plain
        with connections_guarded(self._refusal) as refused:
            result = self._apprise.notify(
                body=body, title=text.title, body_format=body_format, notify_type=kind, timeout=_TIMEOUT_S
            )
        if result:
            return None
        if refused:
            return f"{refused[0]}; {_NOT_ALLOWED}"
        return redact(" ".join(entry.message for entry in result.logs()))[:_LONGEST_REASON] or "apprise gives no reason"


def _scheme_of(url: str) -> str:
    """The scheme of a URL. A text without one may be part of a secret, such as a password with a space in it."""
    scheme, separator, _ = url.partition("://")
    return scheme.lower() if separator and re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,30}", scheme) else ""


def _refusal_of_literal(url: str, refusal: Refusal) -> str | None:
    """Why the address in a URL is refused. A name is not looked up: many services have a secret in its place."""
    try:
        host = urlsplit(url).hostname or ""
        return refusal("127.0.0.1" if host == "localhost" else str(ip_address(host)))
    except ValueError:
        return None
