"""The README has the figures of the page of the benchmarks."""
import unittest

from harness import place, readme, report
from tests.test_report import META, RECORDS, of

BEFORE, BEHIND = "# A balancer\n\nIt balances.\n", "Below.\n"
VERSIONS = ["evenkeel 0.1.0", "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/", "nginx version: nginx/1.22.1"]


def text_of(*lines):
    return BEFORE + "\n".join([readme.BEGIN, "", *lines, "", readme.END]) + "\n" + BEHIND


class Figures(unittest.TestCase):
    def check(self, records, *lines):
        page = report.page(records, {**META, "duration": "25 minutes, 6 to 13 rounds of 1 s", "versions": VERSIONS})
        found = readme.written(text_of("| what was | before |"), page)
        self.assertEqual(found.splitlines(), text_of(*lines).splitlines())
        self.assertEqual(readme.written(found, page), found)

    def test_they_are_those_of_the_page(self):
        self.check(
            [*RECORDS, *(of(name, 0, us, scenario="body-16k") for name, us in (("evenkeel", 20.68), ("haproxy", 33.9), ("haproxy-32k", 26.14), ("nginx", 1234.4))),
             *(of(name, 0, us, scenario="body-1m") for name, us in (("evenkeel", 182.4), ("haproxy", 594.6), ("haproxy-splice", 600.0)))],
            "| scenario | Evenkeel | HAProxy | nginx |",
            "|---|--:|--:|--:|",
            "| keep-alive, 64 connections, 13 B | 10.5 | 12.3 | 15.0 |",
            "| 16 KiB answers | 20.7 | 26.1 (`haproxy-32k`) | 1,234 |",
            "| 1 MiB answers | 182 | 595 | - |",
            "| TLS, keep-alive | 10.0 | - | 12.5 |",
            "",
            "Run of 2026-11-21, commit abc1234; 25 minutes, 6 to 13 rounds of 1 s; HAProxy 2.6.12, nginx 1.22.1.",
        )

    def test_a_readme_without_a_place_for_them_is_told(self):
        for text in (BEFORE, BEFORE + readme.BEGIN + "\n", BEFORE + readme.END + "\n"):
            with self.assertRaisesRegex(RuntimeError, "no place for its figures"):
                readme.written(text, report.page(RECORDS, META))

    def test_the_readme_in_the_tree_has_those_of_the_page_in_the_tree(self):
        text = place.README.read_text()
        self.assertEqual(text.splitlines(), readme.written(text, place.PAGE.read_text()).splitlines(), "`cargo xtask bench --pages` writes it")
