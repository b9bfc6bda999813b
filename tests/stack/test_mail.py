"""ElastAlert sends mail in each way that can be chosen, by its own code and our rules."""

import json
import ssl
import subprocess
from contextlib import ExitStack

import pytest

from twinport.testing import own_environment

from .conftest import STACK, Certificate
from .elastalert import BIN, defaults
from .mail import Demands, mailbox

pytestmark = pytest.mark.stack

USER, PASSWORD = "tea", "Earl: #grey {it} is"
RULE = "rules/slow-calls.yaml"
SEND = f"""
import json, os, sys
from elastalert.loaders import FileRulesLoader
fields = ("service", "rule", "operation", "value", "trace_id", "link")
for chosen in json.loads(sys.argv[1]):
    os.environ |= chosen
    rule = FileRulesLoader({{}}).load_configuration("{RULE}", {{}})
    rule["alert"][0].alert([{{f"alert_{{name}}": name for name in fields}}])
"""
WAYS = [{}, {"ALERT_MAIL": "login"}, {"ALERT_MAIL": "login", "ALERT_SMTPS": "true"}]
ACCOUNT = {"ALERT_SMTP_USER": USER, "ALERT_SMTP_PASSWORD": PASSWORD}
TO = {"ALERT_TO": "email", "ALERT_EMAIL": "on-call@tea.test", "ALERT_SMTP": "127.0.0.1"}


@pytest.fixture
def tls(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.with_key)
    return context


def test_mail_goes_to_a_server_without_log_in_and_by_starttls_and_by_tls_to_one_with_it(
    tls: ssl.SSLContext,
):
    if not BIN.exists():
        pytest.skip("there is no Python of 3.12 or newer")
    with ExitStack() as stack:
        servers = [stack.enter_context(mailbox(demands(tls, way))) for way in WAYS]
        pairs = zip(WAYS, servers, strict=True)
        send([way | {"ALERT_SMTP_PORT": str(server.port)} for way, server in pairs])
    sent = [(mail["to"], mail["subject"]) for server in servers for mail in server.sent]
    assert sent == [("on-call@tea.test", "service: rule (operation)")] * len(WAYS)


def demands(tls: ssl.SSLContext, way: dict[str, str]) -> Demands | None:
    account = f"\0{USER}\0{PASSWORD}"
    return Demands(tls, account, is_tls_at_once="ALERT_SMTPS" in way) if way else None


def send(ways: list[dict[str, str]]) -> None:
    folder = STACK / "elastalert"
    variables = own_environment() | defaults() | {"PYTHONPATH": str(folder)} | ACCOUNT | TO
    command = (BIN / "python", "-c", SEND, json.dumps(ways))
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
