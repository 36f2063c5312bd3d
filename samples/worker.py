#!/usr/bin/env python3
"""A worker of orx in Python, with nothing but the standard library.

    samples/worker.py --url http://127.0.0.1:7070 --token-file worker.token

It takes jobs of the types in HANDLERS and runs up to SLOTS of them at once. It keeps the promises
that the protocol asks of a worker:

- an execution is started once, and never after it was cancelled or refused;
- an outcome is kept until a coordinator says that it is recorded, stale or refused, and told again till then;
- what a coordinator asks about and this worker does not have is refused, for ever;
- what it no longer holds it stops, and what runs past its time;
- an attempt that was stopped ends as timed out, cancelled or interrupted, whatever its handler
  returns then.

A registration is answered with a secret, which every later call shows in `orx-worker-secret`: it says
that this is the worker that registered. It is kept in memory, and shown nowhere else.

The messages are described in docs/openapi.json, under `workers`.
"""

import argparse
import collections
import datetime
import json
import os
import queue
import secrets
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

SLOTS = 4
SILENT_S = 15  # a coordinator pings its streams every 5 s
REMEMBERED = 10_000  # executions that are over: a late copy of a dispatch is known


def py_sum(args, context):
    """{"numbers": [1, 2]} gives 3."""
    return sum(args["numbers"])


def py_count(args, context):
    """Counts up to `to`, a step each `every_s`, and ends early when it is stopped."""
    for step in range(args["to"]):
        if context.cancelled.wait(args.get("every_s", 0.1)):
            return None  # whatever it returns now: the attempt ends as it was stopped
        context.progress(100 * (step + 1) / args["to"], f"step {step + 1}")
        context.log(f"step {step + 1}\n")
    return {"counted": args["to"]}


HANDLERS = {"python.sum": py_sum, "python.count": py_count}


def fail(why):
    """Ends the process, from whichever of its threads."""
    print(why, file=sys.stderr, flush=True)
    os._exit(1)


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")


class Context:
    """What a handler can ask and tell of the attempt it runs."""

    def __init__(self, worker, job):
        self.worker, self.job = worker, job
        self.cancelled, self.stopped = threading.Event(), None
        self.seq = 0

    def stop(self, why):
        """The first stop decides the outcome, if the handler has not ended yet."""
        with self.worker.lock:
            self.stopped = self.stopped or why
        self.cancelled.set()

    def progress(self, percent, text):
        of = {"job": self.job["job"], "execution": self.job["execution"]}
        told = {**of, "progress": {"percent": percent, "text": text}}
        self.worker.tell({"job_progress": {"progress": [told]}})

    def log(self, text):
        self.seq += 1
        chunk = {key: self.job[key] for key in ("job", "attempt", "execution")}
        chunk.update(seq=self.seq, stream="out", at=now(), bytes=text)
        self.worker.tell({"job_log": {"chunks": [chunk]}})


class Worker:
    def __init__(self, urls, token, name):
        self.urls, self.token, self.name = urls, token, name
        self.url = urls[0]
        self.incarnation, self.secret = secrets.token_hex(16), None
        self.lock = threading.RLock()  # a signal may come to its holder
        self.waiting, self.running, self.outcomes = [], {}, {}
        self.over = collections.OrderedDict()
        self.out = queue.Queue(maxsize=1000)
        self.wake, self.ending = threading.Event(), False
        self.drained, self.seq, self.period_s = False, 0, 10

    # The four calls.

    def call(self, path, body=None, timeout=10):
        """A call and its answer, at the coordinator in use; when it is away, the next is."""
        url = self.url
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        if self.secret:
            headers["orx-worker-secret"] = self.secret
        request = urllib.request.Request(url + path, data, headers)
        try:
            return urllib.request.urlopen(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            if error.code in (400, 401, 403):
                fail(f"{url} refuses this worker: {text}")
            self.move_on(url)
            raise ConnectionError(text) from error
        except OSError as error:
            self.move_on(url)
            raise ConnectionError(str(error)) from error

    def move_on(self, url):
        if self.url == url:
            place = self.urls.index(url) + 1 if url in self.urls else 0
            self.url = self.urls[place % len(self.urls)]

    def register(self):
        offer = {"queues": [], "handlers": sorted(HANDLERS), "commands": False, "labels": {}}
        about = {"incarnation": self.incarnation, "name": self.name, "host": socket.gethostname()}
        about.update(pid=threading.get_native_id(), version="python", offer=offer, slots=SLOTS)
        about["started_at"] = now()
        answer = json.load(self.call("/worker/v1/register", about))
        self.secret = answer.get("secret") or self.secret
        self.answered(answer)

    def heartbeat(self, stopped=False):
        with self.lock:
            self.seq += 1
            stopping = self.ending or self.drained
            refs = [ref(job) for job in self.waiting]
            refs += [ref(context.job) for context in self.running.values()]
            told = {
                "incarnation": self.incarnation,
                "seq": self.seq,
                "state": "stopped" if stopped else "draining" if stopping else "running",
                "capacity": 0 if stopping else SLOTS,
                "running": refs,
                "unacknowledged": [ref(outcome) for outcome in self.outcomes.values()],
            }
        self.answered(json.load(self.call("/worker/v1/heartbeat", told)))

    def read_inbox(self):
        query = urllib.parse.urlencode({"worker": self.incarnation})
        with self.call(f"/worker/v1/inbox?{query}", timeout=SILENT_S) as lines:
            self.wake.set()  # a heartbeat now: the coordinator may be a new one
            for line in lines:
                line = json.loads(line)
                if "taken_over" in line:
                    fail("another reader has this inbox")
                if "envelope" in line:
                    self.message(line["envelope"]["body"])

    def publish(self, bodies):
        about = {"version": 1, "at": now(), "from": self.incarnation}
        envelopes = [{"id": secrets.token_hex(16), **about, "body": body} for body in bodies]
        answer = json.load(self.call("/worker/v1/publish", {"envelopes": envelopes}, 40))
        for body, receipt in zip(bodies, answer["receipts"]):
            if "job_result" in body and receipt in ("recorded", "stale", "refused"):
                self.forget(o["execution"] for o in body["job_result"]["outcomes"])

    # What comes in.

    def message(self, body):
        if "job_dispatch" in body:
            for job in body["job_dispatch"]["jobs"]:
                self.take(job)
        elif "job_cancel" in body:
            self.cancel(body["job_cancel"]["executions"])
        elif "job_result_ack" in body:
            self.forget(body["job_result_ack"]["executions"])
        elif "heartbeat" in body:
            self.wake.set()

    def answered(self, answer):
        self.period_s = (answer.get("heartbeat_ms") or answer["lease_ms"] / 3) / 1000
        if answer.get("fenced"):
            fail("fenced by a person: all that ran here is given up")
        if answer.get("leader"):
            self.url = answer["leader"]
        if answer["register"]:
            return self.register()
        self.drained = answer["drain"]
        if self.drained:
            self.give_back()
        for execution in [stop["execution"] for stop in answer["stop"]]:
            with self.lock:
                context = self.running.get(execution)
                self.waiting = [job for job in self.waiting if job["execution"] != execution]
                self.is_over(execution)
                self.outcomes.pop(execution, None)
            if context:
                context.stop("cancelled")
        self.cancel(answer["cancel"])
        for asked in answer["asked"]:
            if not self.knows(asked["execution"]):
                self.ended(asked, "refused", "the worker does not have it")
        for execution in answer["resend"]:
            outcome = self.outcomes.get(execution)
            if outcome:
                self.tell({"job_result": {"outcomes": [outcome]}})

    # What becomes of jobs.

    def knows(self, execution):
        with self.lock:
            waits = any(job["execution"] == execution for job in self.waiting)
            return waits or any(
                execution in known for known in (self.running, self.outcomes, self.over)
            )

    def take(self, job):
        if self.knows(job["execution"]):
            return
        if self.ending or self.drained:
            return self.ended(job, "interrupted", "the worker is stopping")
        with self.lock:
            self.waiting.append(job)
        self.start_waiting()

    def start_waiting(self):
        with self.lock:
            while self.waiting and len(self.running) < SLOTS:
                job = self.waiting.pop(0)
                context = self.running[job["execution"]] = Context(self, job)
                threading.Thread(target=self.run, args=(context,), daemon=True).start()

    def run(self, context):
        job, started_at = context.job, now()
        clock = threading.Timer(time_left(job), context.stop, ["timed_out"])
        clock.daemon = True
        clock.start()
        self.tell({"job_status": {"started": [{**ref(job), "at": started_at}]}})
        try:
            result = HANDLERS[job["name"]](job["args"], context)
            kind, error = {"succeeded": {"result": result}}, None
        except Exception as problem:  # whatever a handler raises is its job's failure
            kind, error = {"failed": {"retryable": True}}, f"{type(problem).__name__}: {problem}"
        clock.cancel()
        self.ended(job, kind, error, started_at)

    def ended(self, job, kind, error, started_at=None):
        outcome = {**ref(job), "kind": kind, "ended_at": now(), "started_at": started_at}
        outcome["error"] = error
        with self.lock:
            context = self.running.pop(job["execution"], None)
            if context and context.stopped:
                outcome.update(kind=context.stopped, error=context.stopped.replace("_", " "))
            if job["execution"] in self.over:
                return  # it was stopped: its end is nobody's business
            self.outcomes[job["execution"]] = outcome
        self.tell({"job_result": {"outcomes": [outcome]}})
        self.start_waiting()

    def cancel(self, refs):
        for cancelled in refs:
            with self.lock:
                context = self.running.get(cancelled["execution"])
                before = len(self.waiting)
                kept = [j for j in self.waiting if j["execution"] != cancelled["execution"]]
                self.waiting = kept
            if context:
                context.stop("cancelled")
            elif len(kept) < before or not self.knows(cancelled["execution"]):
                # Not here, or not yet: when its dispatch comes, it does not start.
                self.ended(cancelled, "cancelled", "cancelled before it started")

    def give_back(self):
        with self.lock:
            waiting, self.waiting = self.waiting, []
        for job in waiting:
            self.ended(job, "interrupted", "the worker is stopping")

    def forget(self, executions):
        with self.lock:
            for execution in executions:
                if self.outcomes.pop(execution, None):
                    self.is_over(execution)

    def is_over(self, execution):
        self.over[execution] = True
        if len(self.over) > REMEMBERED:
            self.over.popitem(last=False)

    def tell(self, body):
        try:
            self.out.put_nowait(body)
        except queue.Full:
            pass  # an outcome is kept, and asked for; the rest is best effort

    # The three loops.

    def tell_loop(self):
        held = []
        while True:
            held = held or [self.out.get()]
            while len(held) < 100 and not self.out.empty():
                held.append(self.out.get())
            try:
                self.publish(held)
                held = []
            except ConnectionError:
                time.sleep(0.5)  # the same again, there or elsewhere: it is safe to repeat

    def inbox_loop(self):
        while True:
            try:
                self.read_inbox()
            except (OSError, ValueError) as error:
                print(f"the inbox is cut off: {error}", file=sys.stderr)
            time.sleep(0.5)

    def main(self):
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        signal.signal(signal.SIGINT, lambda *_: self.stop())
        known = False
        while not (self.ending and not self.running and not self.outcomes):
            try:
                if known:
                    self.heartbeat()
                else:
                    # Where an answer is lost, its secret is too: only another incarnation goes on.
                    self.incarnation = secrets.token_hex(16)
                    self.register()
                    known = True
                    for loop in (self.inbox_loop, self.tell_loop):
                        threading.Thread(target=loop, daemon=True).start()
                    self.wake.set()  # work comes after the first heartbeat
                    print(f"ready {self.incarnation}", flush=True)
            except ConnectionError as error:
                print(f"no coordinator answers: {error}", file=sys.stderr)
            self.wake.wait(0.2 if self.ending else self.period_s if known else 1)
            self.wake.clear()
        try:
            if known:
                self.heartbeat(stopped=True)  # so that nobody waits for the end of its lease
        except ConnectionError:
            pass

    def stop(self):
        self.ending = True
        self.give_back()
        for context in list(self.running.values()):
            context.stop("interrupted")
        self.wake.set()


def ref(of):
    return {"job": of["job"], "execution": of["execution"]}


def time_left(job):
    """Seconds, by the timeout and the deadline of a job."""
    left = [threading.TIMEOUT_MAX]
    if job.get("timeout_ms"):
        left.append(job["timeout_ms"] / 1000)
    if job.get("deadline"):
        deadline = datetime.datetime.fromisoformat(job["deadline"].replace("Z", "+00:00"))
        left.append((deadline - datetime.datetime.now(datetime.timezone.utc)).total_seconds())
    return max(0, min(left))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", action="append", required=True, help="again for more")
    parser.add_argument("--token-file", required=True)
    parser.add_argument("--name", default="python")
    options = parser.parse_args()
    with open(options.token_file, encoding="utf-8") as file:
        TOKEN = file.read().strip()
    Worker([url.rstrip("/") for url in options.url], TOKEN, options.name).main()
