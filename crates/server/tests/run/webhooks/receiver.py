"""A receiver of alerts: prints its port, then a line of JSON for each message, with whether its signature holds by Python's own HMAC.

The first argument is the secret, the rest are the statuses of its answers, in their order, and then 200; `hang` answers nothing until it
ends."""
import base64
import hashlib
import hmac
import http.server
import json
import sys
import threading

SECRET = sys.argv[1].encode()
ANSWERS = sys.argv[2:]


def signed(fields, body):
    signed = b".".join([fields["webhook-id"].encode(), fields["webhook-timestamp"].encode(), body])
    tag = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    return hmac.compare_digest("v1," + tag, fields.get("webhook-signature", ""))


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = ANSWERS.pop(0) if ANSWERS else "200"
        fields = {name.lower(): value for name, value in self.headers.items()}
        said = {"answer": answer, "path": self.path, "fields": fields, "signed": signed(fields, body), "body": json.loads(body)}
        print(json.dumps(said), flush=True)
        if answer == "hang":
            threading.Event().wait()
        self.send_response(int(answer))
        if answer != "200":
            self.send_header("Retry-After", "0")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
