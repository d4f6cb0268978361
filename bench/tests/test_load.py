"""What the generators print."""
import unittest

from harness import load

WRK = """Running 1s test @ http://127.0.0.1:12000/
  2 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.36ms    1.13ms  20.42ms   88.65%
    Req/Sec    25.13k     2.54k   30.54k    70.00%
  Latency Distribution
     50%    1.06ms
     75%  812.00us
     90%    2.55ms
     99%    5.82ms
  50016 requests in 1.00s, 5.10MB read
{}Requests/sec:  49932.74
Transfer/sec:      5.09MB
"""
H2LOAD = """finished in 1.00s, 92904.00 req/s, 3.10MB/s
requests: 92904 total, 93416 started, 92904 done, {} succeeded, {} failed, 0 errored, 0 timeout
status codes: {} 2xx, 0 3xx, 0 4xx, {} 5xx
"""


class Generators(unittest.TestCase):
    def test_wrk(self):
        found = load.parse_wrk(WRK.format(""))
        self.assertEqual((found["reqs"], found["errs"], round(found["p50"]), round(found["p99"])), (50016, 0, 1060, 5820))
        found = load.parse_wrk(WRK.format("  Socket errors: connect 0, read 3, write 1, timeout 2\n  Non-2xx or 3xx responses: 10\n"))
        self.assertEqual(found["errs"], 16)
        with self.assertRaises(RuntimeError):
            load.parse_wrk("unable to connect")

    def test_h2load(self):
        found = load.parse_h2load(H2LOAD.format(92904, 0, 92904, 0))
        self.assertEqual((found["reqs"], found["errs"], found["rps"]), (92904, 0, 92904))
        self.assertEqual(load.parse_h2load(H2LOAD.format(92000, 904, 92000, 904))["errs"], 1808)
        with self.assertRaises(RuntimeError):
            load.parse_h2load("could not connect")
