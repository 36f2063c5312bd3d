"""Adds a job, waits for it, reads its log, adds a schedule and lists it, all by the package
`orx_client`, which is generated from docs/openapi.json."""

import json
import os

from orx_client import AuthenticatedClient
from orx_client.api.jobs import enqueue, logs, wait
from orx_client.api.schedules import add_schedule, list_schedules
from orx_client.models import (
    Command,
    EnqueueAnswer,
    EnqueueRequest,
    JobStatus,
    LogEventChunk,
    LogEventEnd,
    LogEventStatus,
    ScheduleChangeAnswer,
    SchedulePage,
    ScheduleSpec,
    WaitAnswer,
    WhenCron,
)

client = AuthenticatedClient(
    base_url=os.environ["ORX_URL"], token=os.environ["ORX_TOKEN"], raise_on_unexpected_status=True
)

request = EnqueueRequest(name="greet", args=["any", {"json": None}], command=Command(["echo", "hello"]))
accepted = enqueue.sync(client=client, body=request)
assert isinstance(accepted, EnqueueAnswer) and accepted.created, accepted

awaited = wait.sync(str(accepted.id), client=client, timeout_ms=60_000)
assert isinstance(awaited, WaitAnswer) and awaited.reached, awaited
assert awaited.job.status == JobStatus.COMPLETED, awaited
assert awaited.job.args == request.args, awaited

# The log is a line of JSON for each event: the generator knows what to ask for and what an event is.
ask = logs._get_kwargs(str(accepted.id), follow=True)
text, ended = "", None
with client.get_httpx_client().stream(**ask) as answer:
    assert answer.status_code == 200, answer.status_code
    for line in answer.iter_lines():
        event = json.loads(line)
        if "chunk" in event:
            text += LogEventChunk.from_dict(event).chunk.data
        elif "status" in event:
            assert LogEventStatus.from_dict(event).status.attempt == 1, event
        elif "end" in event:
            ended = LogEventEnd.from_dict(event).end.job.id
assert (text, ended) == ("hello\n", accepted.id), (text, ended)

spec = ScheduleSpec(id="of-python", timing=WhenCron("0 3 * * *"), job=EnqueueRequest(name="report"))
added = add_schedule.sync(client=client, body=spec)
assert isinstance(added, ScheduleChangeAnswer) and added.id == "of-python", added
page = list_schedules.sync(client=client, limit=500)
assert isinstance(page, SchedulePage), page
found = [schedule.spec for schedule in page.schedules if schedule.id == "of-python"]
assert [schedule.timing for schedule in found] == [spec.timing], page
print(accepted.id)
