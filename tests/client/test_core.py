from __future__ import annotations

from typing import Any

import pytest

from client.core import Answer, Call, Pause, send
from client.operations import Operations
from client.problems import Busy, NotAllowed, StillRunning, Unreachable

CALL = Call("GET", "/v1/models")
OK = Answer(200, {}, b"[]")


def carry_out(steps: Any, *results: Answer | Unreachable) -> tuple[Any, list[Any]]:
    """What the steps return or raise when the calls have these results; and the steps. A pause takes no time."""
    left, seen = list(results), []
    try:
        step = next(steps)
        while True:
            seen.append(step)
            if isinstance(step, Pause):
                step = steps.send(None)
                continue
            result = left.pop(0)
            step = steps.throw(result) if isinstance(result, Unreachable) else steps.send(result)
    except StopIteration as end:
        return end.value, seen
    except Exception as e:
        return e, seen


def test_a_busy_service_is_asked_again_when_it_says() -> None:
    busy = Answer(429, {"Retry-After": "7"}, b"{}")

    found, steps = carry_out(send(CALL, 60), busy, OK)

    assert found is OK
    assert [s.seconds for s in steps if isinstance(s, Pause)] == [7.0]


def test_a_busy_service_is_asked_four_times_without_patience() -> None:
    found, steps = carry_out(send(CALL, 0), *[Answer(503, {"Retry-After": "0"}, b"{}")] * 9)

    assert isinstance(found, Busy)
    assert steps.count(CALL) == 4


def test_a_service_that_says_to_come_back_in_an_hour_is_not_waited_for() -> None:
    found, steps = carry_out(send(CALL, 60), Answer(429, {"Retry-After": "3600"}, b"{}"))

    assert isinstance(found, Busy)
    assert (found.retry_after_s, steps) == (3600, [CALL])


def test_without_patience_an_absent_service_fails_at_once() -> None:
    found, steps = carry_out(send(CALL, 0), Unreachable("nobody"))

    assert isinstance(found, Unreachable)
    assert steps == [CALL]


def test_with_patience_an_absent_service_is_awaited_and_the_user_told_once() -> None:
    found, steps = carry_out(send(CALL, 60), *[Unreachable("nobody")] * 6, OK)

    pauses = [s for s in steps if isinstance(s, Pause)]
    assert found is OK
    assert [p.seconds for p in pauses] == [0.25, 0.5, 1, 2, 4, 4]
    assert [bool(p.why) for p in pauses] == [True] + [False] * 5


@pytest.mark.parametrize("call", [Call("POST", "/x", is_safe=False), Call("POST", "/x", is_once=True)])
def test_what_may_have_been_carried_out_is_not_sent_again_when_no_answer_came(call: Call) -> None:
    found, steps = carry_out(send(call, 60), Unreachable("it broke"))

    assert isinstance(found, Unreachable)
    assert steps == [call]


def test_a_refusal_is_never_repeated() -> None:
    body = b'{"code": "missing_scope", "detail": "d", "errors": [{"pointer": "/a", "detail": "x"}]}'

    found, steps = carry_out(send(CALL, 60), Answer(403, {}, body))

    assert isinstance(found, NotAllowed)
    assert (found.code, found.detail, found.pointers) == ("missing_scope", "d", ["/a"])
    assert len(steps) == 1


def test_waiting_long_polls_with_the_tag_and_survives_an_absence() -> None:
    running = Answer(200, {"ETag": 'W/"3"', "Retry-After": "2"}, b'{"id": "j", "status": "running"}')
    held = Answer(304, {"Preference-Applied": "wait=20"})
    ended = Answer(200, {"ETag": 'W/"4"'}, b'{"id": "j", "status": "succeeded"}')
    seen: list[str] = []

    steps = Operations(0).wait("j", lambda state: seen.append(state["status"]), patience_s=60)
    found, steps_ = carry_out(steps, running, held, Unreachable("restarting"), ended)

    calls = [s for s in steps_ if isinstance(s, Call)]
    assert found["status"] == "succeeded"
    assert seen == ["running", "succeeded"]
    assert [c.headers for c in calls] == [{}] + [{"If-None-Match": 'W/"3"', "Prefer": "wait=20"}] * 3
    assert [s.seconds for s in steps_ if isinstance(s, Pause)] == [2.0, 0.2, 0.25]


def test_waiting_ends_when_its_time_is_over() -> None:
    running = Answer(200, {"ETag": '"3"'}, b'{"id": "j", "status": "running"}')

    found, _ = carry_out(Operations(0).wait("j", timeout_s=0), running)

    assert isinstance(found, StillRunning)
