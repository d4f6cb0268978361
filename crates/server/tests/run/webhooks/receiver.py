"""A receiver of alerts: prints its port, then a line of JSON for each message, with whether its signature holds by Python's own HMAC.

The first argument is the secret, the rest are the statuses of its answers, in their order, and then 200; `503/30` asks for a rest of 30 s, and
`hang` answers nothing until it ends. With `tls:CERTIFICATE:KEY` before them it speaks TLS."""
import base64
import hashlib
import hmac
import http.server
import json
import ssl
import sys
import threading

SECRET = sys.argv[1].encode()
ANSWERS = sys.argv[2:]
TLS = ANSWERS.pop(0).split(":")[1:] if ANSWERS and ANSWERS[0].startswith("tls:") else None


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
        status, _, rest = answer.partition("/")
        self.send_response(int(status))
        if status != "200":
            self.send_header("Retry-After", rest or "0")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
    if TLS:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*TLS)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_port, flush=True)
    server.serve_forever()
