"""A client of Evenkeel's decisions: asks whom to send a request to, and says how it went.

One file, no dependencies. Thread-safe: it holds no state but where the instance is.

    keel = Evenkeel("http://127.0.0.1:9900")
    with keel.attempt("api", key="user 7") as attempt:
        answer = urllib.request.urlopen(f"http://{attempt.address}/orders", timeout=5)
        attempt.answered(answer.status)
        body = answer.read()
"""

import json
import time
import urllib.error
import urllib.parse
import urllib.request


class Refused(Exception):
    """The instance gives no pick, or takes no report. `reason` is a word of its closed list, such as `all_down`."""

    def __init__(self, status, problem):
        super().__init__(problem.get("detail") or f"the instance answers {status}")
        self.status = status
        self.reason = problem.get("reason", "refused")


class Evenkeel:
    """An instance, by the URL of its admin address. `token` is sent as `Authorization: Bearer`."""

    def __init__(self, admin="http://127.0.0.1:9900", token=None, timeout=10.0):
        self._admin = admin.rstrip("/")
        self._timeout = timeout
        self._fields = {"Content-Type": "application/json"}
        if token is not None:
            self._fields["Authorization"] = f"Bearer {token}"
        # No proxy of the environment: the instance is asked, and nobody between.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def pick(self, service, **ask):
        """One pick: `pick`, its id, and `backend` with `id`, `address` and `zone`. `ask` is as the API has it: key, client, zone, kept, tried, ..."""
        return self.picks(service, 1, **ask)[0]

    def picks(self, service, count, **ask):
        """Up to `count` picks in one question; at least one."""
        path = f"/v1/services/{urllib.parse.quote(service, safe='')}/picks"
        return self._post(path, {**ask, "picks": count})["picks"]

    def report(self, pick, **outcome):
        """How an attempt went: status, error, head_ms, total_ms, ... With nothing: well. Gives what becomes of `retry`, if that is asked."""
        path = f"/v1/picks/{urllib.parse.quote(pick, safe='')}/outcome"
        return self._post(path, outcome).get("retry")

    def report_all(self, outcomes):
        """Several at once: pairs of a pick's id and a dict of what `report` takes. Gives a result for each."""
        rows = [{"pick": pick, "outcome": outcome} for pick, outcome in outcomes]
        return self._post("/v1/picks/outcomes", {"outcomes": rows})["results"]

    def attempt(self, service, **ask):
        """A pick to be used in a `with`: reported when that ends, as failed where it ends with an exception."""
        return Attempt(self, service, ask)

    def exchange(self, service, send, idempotent=False, **ask):
        """Calls `send(attempt)` with a backend, and again with another one where that fails and the service says that it may be tried again.

        What fails raises; a status that it tells by `attempt.answered` fails as the instance says of statuses, and the last one's result is given.
        """
        tried = list(ask.pop("tried", []))
        failed, result, attempts = None, None, 0
        while True:
            attempts += 1
            attempt = Attempt(self, service, {**ask, "tried": tried}, {"idempotent": idempotent, "attempts": attempts})
            try:
                attempt.begin()
            except Refused:
                # There is nobody else: what the last one said is what there is.
                if attempts == 1:
                    raise
                break
            failed, result = None, None
            try:
                with attempt:
                    result = send(attempt)
            except Exception as error:
                failed = error
            if not (attempt.retry or {}).get("again"):
                break
            tried.append(attempt.backend["id"])
            time.sleep(attempt.retry["after_ms"] / 1000)
        if failed is not None:
            raise failed
        return result

    def _post(self, path, body):
        request = urllib.request.Request(self._admin + path, json.dumps(body).encode(), self._fields)
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                text = error.read()
            try:
                problem = json.loads(text)
            except ValueError:
                problem = {}
            raise Refused(error.code, problem) from None


class Attempt:
    """One attempt on one backend: `backend`, its `address`, and what became of `retry` once it is over."""

    def __init__(self, keel, service, ask, retry=None):
        self._keel, self._service, self._ask, self._retry = keel, service, ask, retry
        self._outcome = {}
        self.pick, self.retry = None, None

    def begin(self):
        """Asks for the pick, unless it is there."""
        picked = self._keel.pick(self._service, **self._ask)
        self.pick, self.backend, self.address = picked["pick"], picked["backend"], picked["backend"]["address"]
        self._began = time.monotonic()

    def __enter__(self):
        if self.pick is None:
            self.begin()
        return self

    def answered(self, status=None, retry_after=None):
        """The response head came: to be said at once, as it is what the backend's latency is."""
        self._outcome["head_ms"] = self._since()
        if status is not None:
            self._outcome["status"] = status
        if retry_after is not None:
            self._outcome["retry_after_seconds"] = retry_after

    def carried(self, sent=0, received=0):
        """So many bytes."""
        self._outcome.update(sent_bytes=sent, received_bytes=received)

    def __exit__(self, kind, error, trace):
        self._outcome["total_ms"] = self._since()
        if error is not None and not self._took_status(error):
            self._outcome["error"] = fault(error)
        if self._retry is not None:
            self._outcome["retry"] = {**self._retry, "sent": self._outcome.get("error") != "connect"}
        try:
            self.retry = self._keel.report(self.pick, **self._outcome)
        except (Refused, OSError):
            # Over, or of a process that has ended: the answer counts, not that it was told.
            pass
        return False

    def _took_status(self, error):
        # `urllib` raises what other clients answer: an answer it is all the same.
        if isinstance(error, urllib.error.HTTPError):
            self.answered(error.code)
            return True
        return False

    def _since(self):
        return (time.monotonic() - self._began) * 1000


def fault(error):
    """The API's word for what an exception of the standard library says of the backend."""
    while isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    if isinstance(error, ConnectionRefusedError):
        return "connect"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ConnectionError):
        return "reset"
    if isinstance(error, OSError):
        return "connect"
    # What the program itself did wrong is not its backend's.
    return "client_left"
