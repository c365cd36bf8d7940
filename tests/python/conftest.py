"""Shows which code blocks of the source documents ran, after the test results."""

from __future__ import annotations

import sys


def pytest_terminal_summary(terminalreporter):
    documents = sys.modules.get("test_documents")
    if documents is None or not documents.TABLE:
        return
    terminalreporter.section("code blocks of the source documents")
    terminalreporter.write_line("document  block  status")
    for (document, block), status in sorted(documents.TABLE.items()):
        terminalreporter.write_line(f"{document:8}  {block:5}  {status}")
