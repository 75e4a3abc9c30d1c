from __future__ import annotations

from typing import Any

import pytest

from polyseme.operations import Operations
from polyseme.problems import Busy, NotAllowed, StillRunning, Unreachable
from polyseme.steps import Answer, Call, Pause, send

CALL = Call("GET", "/v1/models")
OK = Answer(200, {}, b"[]")
_RUNNING = b'{"id": "j", "status": "running", "phase": "scanning"}'
_ENDED = b'{"id": "j", "status": "succeeded", "phase": "ended"}'


def carry_out(steps: Any, *results: Answer | Unreachable) -> tuple[Any, list[Any]]:
    """What the steps return or raise when the calls have these results; and the steps.

    A pause takes no time.
    """
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

    answer, steps = carry_out(send(CALL, 60), busy, OK)

    assert answer is OK
    assert [s.seconds for s in steps if isinstance(s, Pause)] == [7.0]


def test_a_busy_service_is_asked_four_times_without_patience() -> None:
    answer, steps = carry_out(send(CALL, 0), *[Answer(503, {"Retry-After": "0"}, b"{}")] * 9)

    assert isinstance(answer, Busy)
    assert steps.count(CALL) == 4


def test_a_service_that_says_to_come_back_in_an_hour_is_not_waited_for() -> None:
    answer, steps = carry_out(send(CALL, 60), Answer(429, {"Retry-After": "3600"}, b"{}"))

    assert isinstance(answer, Busy)
    assert (answer.retry_after_s, steps) == (3600, [CALL])


def test_without_patience_an_absent_service_fails_at_once() -> None:
    answer, steps = carry_out(send(CALL, 0), Unreachable("nobody"))

    assert isinstance(answer, Unreachable)
    assert steps == [CALL]


def test_with_patience_an_absent_service_is_awaited_and_the_user_told_once() -> None:
    answer, steps = carry_out(send(CALL, 60), *[Unreachable("nobody")] * 6, OK)

    pauses = [s for s in steps if isinstance(s, Pause)]
    assert answer is OK
    assert [p.seconds for p in pauses] == [0.25, 0.5, 1, 2, 4, 4]
    assert [bool(p.why) for p in pauses] == [True] + [False] * 5


@pytest.mark.parametrize(
    "call", [Call("POST", "/x", is_safe=False), Call("POST", "/x", is_once=True)]
)
def test_what_may_have_been_carried_out_is_not_sent_again_when_no_answer_came(call: Call) -> None:
    answer, steps = carry_out(send(call, 60), Unreachable("it broke"))

    assert isinstance(answer, Unreachable)
    assert steps == [call]


def test_a_refusal_is_never_repeated() -> None:
    body = b'{"code": "missing_scope", "detail": "d", "errors": [{"pointer": "/a", "detail": "x"}]}'

    answer, steps = carry_out(send(CALL, 60), Answer(403, {}, body))

    assert isinstance(answer, NotAllowed)
    assert (answer.code, answer.detail, answer.pointers) == ("missing_scope", "d", ["/a"])
    assert len(steps) == 1


def test_waiting_long_polls_with_the_tag_and_survives_an_absence() -> None:
    running = Answer(200, {"ETag": 'W/"3"', "Retry-After": "2"}, _RUNNING)
    held = Answer(304, {"Preference-Applied": "wait=20"})
    ended = Answer(200, {"ETag": 'W/"4"'}, _ENDED)
    seen: list[str] = []

    steps = Operations(0).wait("j", lambda job: seen.append(job.status), None, 60)
    answer, steps_ = carry_out(steps, running, held, Unreachable("restarting"), ended)

    calls = [s for s in steps_ if isinstance(s, Call)]
    assert answer.status == "succeeded"
    assert seen == ["running", "succeeded"]
    assert [c.headers for c in calls] == [{}] + [
        {"If-None-Match": 'W/"3"', "Prefer": "wait=20"}
    ] * 3
    assert [s.seconds for s in steps_ if isinstance(s, Pause)] == [2.0, 0.2, 0.25]


def test_waiting_ends_when_its_time_is_over() -> None:
    running = Answer(200, {"ETag": '"3"'}, _RUNNING)

    answer, _ = carry_out(Operations(0).wait("j", None, 0, None), running)

    assert isinstance(answer, StillRunning)
