#!/usr/bin/env python3
"""A worker of orx in Python, with nothing but the standard library.

    samples/worker.py --url http://127.0.0.1:7070 --token-file worker.token

It runs jobs of the types in HANDLERS, up to SLOTS of them at once. It follows the rules of the
worker protocol:

- It starts an execution at most once, and never after a cancel or a refusal of it.
- It keeps an outcome, and sends it again, until a coordinator answers that the outcome is recorded,
  stale or refused.
- If a coordinator asks about an execution that this worker does not have, the worker refuses it, now
  and for ever.
- It stops attempts that the coordinator revokes, and attempts that exceed their time.
- A stopped attempt ends as timed out, cancelled or interrupted, whatever its handler returns.

The answer to the registration contains a secret, which every later call sends in the header
`orx-worker-secret` to prove that it comes from the same worker. The secret stays in memory only.

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
REMEMBERED = 10_000  # finished executions, to recognise a late copy of a dispatch


def py_sum(args, context):
    """{"numbers": [1, 2]} gives 3."""
    return sum(args["numbers"])


def py_count(args, context):
    """Counts up to `to`, one step every `every_s` seconds; ends early if it is stopped."""
    for step in range(args["to"]):
        if context.cancelled.wait(args.get("every_s", 0.1)):
            return None  # the reason for the stop decides the outcome, not this value
        context.progress(100 * (step + 1) / args["to"], f"step {step + 1}")
        context.log(f"step {step + 1}\n")
    return {"counted": args["to"]}


HANDLERS = {"python.sum": py_sum, "python.count": py_count}


def fail(why):
    """Stops the process; any thread may call it."""
    print(why, file=sys.stderr, flush=True)
    os._exit(1)


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")


class Context:
    """An attempt, as its handler sees it: cancellation, progress and log."""

    def __init__(self, worker, job):
        self.worker, self.job = worker, job
        self.cancelled, self.stopped = threading.Event(), None
        self.seq = 0

    def stop(self, why):
        """Stops the attempt. The first reason decides the outcome, unless the handler has ended."""
        with self.worker.lock:
            self.stopped = self.stopped or why
        self.cancelled.set()

    def progress(self, percent, text):
        report = {**ref(self.job), "progress": {"percent": percent, "text": text}}
        self.worker.send({"job_progress": {"progress": [report]}})

    def log(self, text):
        self.seq += 1
        chunk = {key: self.job[key] for key in ("job", "attempt", "execution")}
        chunk.update(seq=self.seq, stream="out", at=now(), bytes=text)
        self.worker.send({"job_log": {"chunks": [chunk]}})


class Worker:
    def __init__(self, urls, token, name):
        self.urls, self.token, self.name = urls, token, name
        self.url = urls[0]
        self.incarnation, self.secret = secrets.token_hex(16), None
        self.lock = threading.RLock()  # a signal handler may run in the thread that holds it
        self.waiting, self.running, self.outcomes = [], {}, {}
        self.finished = collections.OrderedDict()
        self.out = queue.Queue(maxsize=1000)
        self.wake, self.ending = threading.Event(), False
        self.drained, self.seq, self.period_s = False, 0, 10

    # The four calls.

    def call(self, path, body=None, timeout=10):
        """Calls the current coordinator. If it does not answer, the next call goes to the next one."""
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
                fail(f"{url} rejects this worker: {text}")
            self.use_next_url(url)
            raise ConnectionError(text) from error
        except OSError as error:
            self.use_next_url(url)
            raise ConnectionError(str(error)) from error

    def use_next_url(self, url):
        if self.url == url:
            index = self.urls.index(url) + 1 if url in self.urls else 0
            self.url = self.urls[index % len(self.urls)]

    def register(self):
        capabilities = {"queues": [], "handlers": sorted(HANDLERS), "commands": False, "labels": {}}
        request = {"incarnation": self.incarnation, "name": self.name, "host": socket.gethostname()}
        request.update(pid=threading.get_native_id(), version="python", offer=capabilities, slots=SLOTS)
        request["started_at"] = now()
        answer = json.load(self.call("/worker/v1/register", request))
        self.secret = answer.get("secret") or self.secret
        self.handle_answer(answer)

    def heartbeat(self, stopped=False):
        with self.lock:
            self.seq += 1
            stopping = self.ending or self.drained
            refs = [ref(job) for job in self.waiting]
            refs += [ref(context.job) for context in self.running.values()]
            request = {
                "incarnation": self.incarnation,
                "seq": self.seq,
                "state": "stopped" if stopped else "draining" if stopping else "running",
                "capacity": 0 if stopping else SLOTS,
                "running": refs,
                "unacknowledged": [ref(outcome) for outcome in self.outcomes.values()],
            }
        self.handle_answer(json.load(self.call("/worker/v1/heartbeat", request)))

    def read_inbox(self):
        query = urllib.parse.urlencode({"worker": self.incarnation})
        with self.call(f"/worker/v1/inbox?{query}", timeout=SILENT_S) as lines:
            self.wake.set()  # send a heartbeat now: this may be a new coordinator
            for line in lines:
                line = json.loads(line)
                if "taken_over" in line:
                    fail("another process has taken over the inbox of this worker")
                if "envelope" in line:
                    self.message(line["envelope"]["body"])

    def publish(self, bodies):
        header = {"version": 1, "at": now(), "from": self.incarnation}
        envelopes = [{"id": secrets.token_hex(16), **header, "body": body} for body in bodies]
        answer = json.load(self.call("/worker/v1/publish", {"envelopes": envelopes}, 40))
        for body, receipt in zip(bodies, answer["receipts"]):
            if "job_result" in body and receipt in ("recorded", "stale", "refused"):
                self.acknowledged(o["execution"] for o in body["job_result"]["outcomes"])

    # Messages of the coordinator.

    def message(self, body):
        if "job_dispatch" in body:
            for job in body["job_dispatch"]["jobs"]:
                self.take(job)
        elif "job_cancel" in body:
            self.cancel(body["job_cancel"]["executions"])
        elif "job_result_ack" in body:
            self.acknowledged(body["job_result_ack"]["executions"])
        elif "heartbeat" in body:
            self.wake.set()

    def handle_answer(self, answer):
        self.period_s = (answer.get("heartbeat_ms") or answer["lease_ms"] / 3) / 1000
        if answer.get("fenced"):
            fail("a person has fenced this worker: its attempts count as lost")
        if answer.get("leader"):
            self.url = answer["leader"]
        if answer["register"]:
            return self.register()
        self.drained = answer["drain"]
        if self.drained:
            self.release_waiting()
        for execution in [stop["execution"] for stop in answer["stop"]]:
            with self.lock:
                context = self.running.get(execution)
                self.waiting = [job for job in self.waiting if job["execution"] != execution]
                self.mark_finished(execution)
                self.outcomes.pop(execution, None)
            if context:
                context.stop("cancelled")
        self.cancel(answer["cancel"])
        for asked in answer["asked"]:
            if not self.is_known(asked["execution"]):
                self.report(asked, "refused", "the worker does not have it")
        for execution in answer["resend"]:
            outcome = self.outcomes.get(execution)
            if outcome:
                self.send({"job_result": {"outcomes": [outcome]}})

    # Attempts.

    def is_known(self, execution):
        with self.lock:
            waits = any(job["execution"] == execution for job in self.waiting)
            return waits or any(
                execution in known for known in (self.running, self.outcomes, self.finished)
            )

    def take(self, job):
        if self.is_known(job["execution"]):
            return
        if self.ending or self.drained:
            return self.report(job, "interrupted", "the worker is stopping")
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
        self.send({"job_status": {"started": [{**ref(job), "at": started_at}]}})
        try:
            result = HANDLERS[job["name"]](job["args"], context)
            kind, error = {"succeeded": {"result": result}}, None
        except Exception as problem:  # any exception of a handler fails its attempt
            kind, error = {"failed": {"retryable": True}}, f"{type(problem).__name__}: {problem}"
        clock.cancel()
        self.report(job, kind, error, started_at)

    def report(self, job, kind, error, started_at=None):
        outcome = {**ref(job), "kind": kind, "ended_at": now(), "started_at": started_at}
        outcome["error"] = error
        with self.lock:
            context = self.running.pop(job["execution"], None)
            if context and context.stopped:
                outcome.update(kind=context.stopped, error=context.stopped.replace("_", " "))
            if job["execution"] in self.finished:
                return  # the coordinator revoked the attempt; it expects no outcome
            self.outcomes[job["execution"]] = outcome
        self.send({"job_result": {"outcomes": [outcome]}})
        self.start_waiting()

    def cancel(self, refs):
        for cancelled in refs:
            with self.lock:
                context = self.running.get(cancelled["execution"])
                before = len(self.waiting)
                remaining = [j for j in self.waiting if j["execution"] != cancelled["execution"]]
                self.waiting = remaining
            if context:
                context.stop("cancelled")
            elif len(remaining) < before or not self.is_known(cancelled["execution"]):
                # It waits here, or its dispatch has not arrived yet: either way it must not start.
                self.report(cancelled, "cancelled", "cancelled before it started")

    def release_waiting(self):
        with self.lock:
            waiting, self.waiting = self.waiting, []
        for job in waiting:
            self.report(job, "interrupted", "the worker is stopping")

    def acknowledged(self, executions):
        with self.lock:
            for execution in executions:
                if self.outcomes.pop(execution, None):
                    self.mark_finished(execution)

    def mark_finished(self, execution):
        self.finished[execution] = True
        if len(self.finished) > REMEMBERED:
            self.finished.popitem(last=False)

    def send(self, body):
        try:
            self.out.put_nowait(body)
        except queue.Full:
            pass  # outcomes are stored and sent again on request; the rest is best effort

    # The three loops.

    def send_loop(self):
        batch = []
        while True:
            batch = batch or [self.out.get()]
            while len(batch) < 100 and not self.out.empty():
                batch.append(self.out.get())
            try:
                self.publish(batch)
                batch = []
            except ConnectionError:
                time.sleep(0.5)  # then send the same batch again, which is safe

    def inbox_loop(self):
        while True:
            try:
                self.read_inbox()
            except (OSError, ValueError) as error:
                print(f"lost the connection to the inbox: {error}", file=sys.stderr)
            time.sleep(0.5)

    def main(self):
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        signal.signal(signal.SIGINT, lambda *_: self.stop())
        registered = False
        while not (self.ending and not self.running and not self.outcomes):
            try:
                if registered:
                    self.heartbeat()
                else:
                    # If the answer is lost, so is the secret: the next try needs a new incarnation.
                    self.incarnation = secrets.token_hex(16)
                    self.register()
                    registered = True
                    for loop in (self.inbox_loop, self.send_loop):
                        threading.Thread(target=loop, daemon=True).start()
                    self.wake.set()  # jobs arrive only after the first heartbeat
                    print(f"ready {self.incarnation}", flush=True)
            except ConnectionError as error:
                print(f"no coordinator answers: {error}", file=sys.stderr)
            self.wake.wait(0.2 if self.ending else self.period_s if registered else 1)
            self.wake.clear()
        try:
            if registered:
                self.heartbeat(stopped=True)  # so that nobody waits until the lease expires
        except ConnectionError:
            pass

    def stop(self):
        self.ending = True
        self.release_waiting()
        for context in list(self.running.values()):
            context.stop("interrupted")
        self.wake.set()


def ref(job):
    return {"job": job["job"], "execution": job["execution"]}


def time_left(job):
    """Seconds until the timeout or the deadline of a job, whichever comes first."""
    left = [threading.TIMEOUT_MAX]
    if job.get("timeout_ms"):
        left.append(job["timeout_ms"] / 1000)
    if job.get("deadline"):
        deadline = datetime.datetime.fromisoformat(job["deadline"].replace("Z", "+00:00"))
        left.append((deadline - datetime.datetime.now(datetime.timezone.utc)).total_seconds())
    return max(0, min(left))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", action="append", required=True, help="repeatable")
    parser.add_argument("--token-file", required=True)
    parser.add_argument("--name", default="python")
    options = parser.parse_args()
    with open(options.token_file, encoding="utf-8") as file:
        TOKEN = file.read().strip()
    Worker([url.rstrip("/") for url in options.url], TOKEN, options.name).main()
