import pytest

from twinport.calls import Call
from twinport.settings import Identity
from twinport.traces import TracesSettings, tracing

from support.edges import opened

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
IDENTITY = Identity(name="order-book")
ALL = ["tracecontext", "b3", "baggage"]


def begin(headers: dict[str, str], ratio: float = 0, propagators: list[str] = ALL) -> Call:
    settings = TracesSettings(exporter="none", sample_ratio=ratio, propagators=propagators)
    with tracing(settings, IDENTITY) as traces:
        return opened(traces, headers)


FOLLOWED = [
    ({"traceparent": f"00-{TRACE}-{SPAN}-01"}, True),
    ({"traceparent": f"00-{TRACE}-{SPAN}-00"}, False),
    ({"traceparent": f"cc-{TRACE}-{SPAN}-03-what-the-future-brings"}, True),
    ({"b3": f"{TRACE}-{SPAN}-1"}, True),
    ({"b3": f"{TRACE.upper()}-{SPAN}-d-{SPAN}"}, True),
    ({"b3": f"{TRACE}-{SPAN}-0"}, False),
    ({"x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-sampled": "1"}, True),
    ({"x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-flags": "1"}, True),
    ({"x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-sampled": "false"}, False),
]


@pytest.mark.parametrize(("headers", "sampled"), FOLLOWED)
@pytest.mark.parametrize("ratio", [0, 1])
def test_a_call_follows_its_caller_whatever_the_ratio(headers, sampled, ratio):
    call = begin(headers, ratio)
    assert (call.trace_id, call.parent_id, call.sampled) == (TRACE, SPAN, sampled)
    assert call.span_id not in {SPAN, "0" * 16}


GARBLED = [
    {},
    {"traceparent": ""},
    {"traceparent": f"00-{TRACE}-{SPAN}"},
    {"traceparent": f"00-{TRACE}-{SPAN}-01-more"},
    {"traceparent": f"ff-{TRACE}-{SPAN}-01"},
    {"traceparent": f"00-{TRACE.upper()}-{SPAN}-01"},
    {"traceparent": f"00-{'0' * 32}-{SPAN}-01"},
    {"traceparent": f"00-{TRACE}-{'0' * 16}-01"},
    {"traceparent": f"00-{TRACE}-{SPAN}-zz"},
    {"b3": "what-ever"},
    {"x-b3-traceid": TRACE},
]


@pytest.mark.parametrize("headers", GARBLED)
def test_garbled_headers_count_as_absent(headers):
    call = begin(headers, ratio=1)
    assert (call.parent_id, call.sampled, len(call.trace_id)) == (None, True, 32)
    assert call.trace_id != TRACE


@pytest.mark.parametrize("headers", [{"b3": "0"}, {"x-b3-sampled": "0"}])
def test_a_caller_may_only_forbid_tracing(headers):
    call = begin(headers, ratio=1)
    assert (call.parent_id, call.sampled) == (None, False)


def test_a_caller_that_leaves_the_decision_to_us_gets_ours():
    deferred = {"b3": f"{TRACE}-{SPAN}"}
    assert [begin(deferred, ratio).sampled for ratio in (0, 1)] == [False, True]


def test_a_trace_that_began_with_64_bits_is_padded():
    assert begin({"b3": f"{TRACE[:16]}-{SPAN}-1"}).trace_id == "0" * 16 + TRACE[:16]


def test_w3c_wins_over_b3_and_b3_counts_only_where_it_is_configured():
    both = {"traceparent": f"00-{TRACE}-{SPAN}-01", "b3": f"{TRACE[::-1]}-{SPAN}-1"}
    assert begin(both).trace_id == TRACE
    assert begin({"b3": both["b3"]}, 0, ["tracecontext"]).parent_id is None
    assert begin(both, 0, ["b3"]).trace_id == TRACE[::-1]


def test_the_ratio_holds_and_can_change_at_run_time():
    with tracing(TracesSettings(exporter="none", sample_ratio=0.25), IDENTITY) as traces:
        sampled = sum(opened(traces, {}).sampled for _ in range(4000))
        assert 850 < sampled < 1150
        traces.sampler.set_ratio(0)
        assert not any(opened(traces, {}).sampled for _ in range(100))


def test_services_with_one_ratio_agree_about_one_trace():
    call = begin({}, ratio=0.5)
    deferred = {"b3": f"{call.trace_id}-{SPAN}"}
    assert begin(deferred, ratio=0.5).sampled == call.sampled
