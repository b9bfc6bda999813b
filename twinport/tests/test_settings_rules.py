"""Rules of this service's own settings that span several keys, or that a type cannot say."""

from pathlib import Path

import pytest

import sample as service
from sample.settings import Settings
from twinport.errors import SettingsError
from twinport.settings import Sources, load

RULES = [  # what config/test.toml says; the line and what is said of it
    ("[http]\nport = 50051", "config/default.toml: grpc.port: 50051 is the port of http, too"),
    ("[management]\nport = 8000", "config/test.toml:2: management.port: 8000 is the port of http"),
    ("[grpc]\nport = 65537", "config/test.toml:2: grpc.port: must be less than or equal to 65535"),
    ("[http]\nport = 9000", "config/default.toml: management.port: 9000 is the port of http, too"),
    (
        '[http]\nserver = "granian"\ntls = {certificate="c", key="k", client_auth="optional"}',
        'config/test.toml:3: http.tls.client_auth: must be "required" with granian',
    ),
    ('[grpc.limits]\nmessage_size = "2GiB"', "config/test.toml:2: grpc.limits.message_size: must"),
    ('[grpc.keepalive]\ntime = "25d"', "config/test.toml:2: grpc.keepalive.time: must be less"),
    ('[clients.a]\nurl = "x"', "config/test.toml:2: clients.a.url: must be a URL"),
    ('[clients.a]\ntarget = "x:65536"', "config/test.toml:2: clients.a.target: a port is at most"),
    ('[auth]\nkeys = "https://[::1"', "config/test.toml:2: auth.keys: must be a file or an https"),
    ('[auth]\nkeys = "https://a:99999/"', "config/test.toml:2: auth.keys: must be a file or an"),
    ("[http.limits]\nstreams = 5_000_000_000", "config/test.toml:2: http.limits.streams: must be"),
    ('[lifecycle]\ngrace = "999999999d"', "config/test.toml:2: lifecycle.grace: longer than"),
    (
        '[http]\nserver = "granian"\n[http.limits]\nconnection_age = "1h"',
        "config/test.toml:4: http.limits.connection_age: granian ends no connection for its age",
    ),
    ('[lifecycle]\ngrace = "21s"', "config/test.toml:1: lifecycle: drain + grace + flush + 2s"),
    ('[traces]\nendpoint = "zipkin"', "config/test.toml:2: traces.endpoint: must be a URL"),
    ("[traces]\nsample_ratio = 2", "config/test.toml:2: traces.sample_ratio: must be less"),
    ('[logs.sinks.x]\nkind = "file"', "config/test.toml:1: logs.sinks.x.path: missing"),
    ('[logs.sinks.x]\nkind = "http"', "config/test.toml:1: logs.sinks.x.url: missing"),
    ('[logs.levels]\na.b = "LOUD"', 'config/test.toml:2: logs.levels."a.b": must be'),
    ("[orders]\npage_size = 0", "config/test.toml:2: orders.page_size: must be greater than or"),
]


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sources:
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    Path("config/default.toml").write_text('[service]\nname = "x"', encoding="utf-8")
    return Sources(service.__name__, environment="test", variables={})


@pytest.mark.parametrize(("text", "line"), RULES)
def test_a_rule_that_is_broken_is_named(sources, text, line):
    (sources.folder / "test.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(Settings, sources)
    assert [mistake[: len(line)] for mistake in caught.value.mistakes] == [line]


def test_the_rules_of_several_sections_are_told_at_once_with_what_is_wrong_elsewhere(sources):
    text = (
        '[logs]\nlevel = 1\n[http]\nport = 9000\n[lifecycle]\ngrace = "21s"\n'
        "[management]\nport = 9000"
    )
    (sources.folder / "test.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(Settings, sources)
    assert [line.split(":")[2] for line in caught.value.mistakes] == [
        " management.port",
        " logs.level",
        " lifecycle",
    ]


def test_any_number_of_listeners_may_take_any_free_port(sources):
    text = "[http]\nport = 0\n[grpc]\nport = 0\n[management]\nport = 0"
    (sources.folder / "test.toml").write_text(text, encoding="utf-8")
    assert load(Settings, sources).settings.grpc.port == 0
