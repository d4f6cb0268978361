"""Sends requests through a service of a running Evenkeel, and says who answered: URL SERVICE COUNT."""

import collections
import sys
import urllib.request

from evenkeel import Evenkeel


def main(admin, service, count):
    keel = Evenkeel(admin)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def send(attempt):
        with opener.open(f"http://{attempt.address}/who", timeout=5) as answer:
            attempt.answered(answer.status)
            body = answer.read()
            attempt.carried(received=len(body))
            return body.decode().strip()

    # Asking who answers may be done twice.
    who = collections.Counter(keel.exchange(service, send, idempotent=True) for _ in range(int(count)))
    for name, times in sorted(who.items()):
        print(name, times)

    # Several decisions in one question, and what became of them in one report.
    picks = keel.picks(service, 3, key="user 7")
    results = keel.report_all([(one["pick"], {"status": 200, "head_ms": 1}) for one in picks])
    print("together", len(picks), ",".join(sorted({one["result"] for one in results})))


if __name__ == "__main__":
    main(*sys.argv[1:])
