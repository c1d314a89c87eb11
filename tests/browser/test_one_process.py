"""Tests of the browser and tests with an event loop run in one process, so that `pytest` alone runs all tests."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.browser.board_process import ROOT

pytestmark = pytest.mark.browser

WITH_BROWSER = "tests/browser/test_page_news.py::test_an_address_that_cannot_be_decoded_is_not_found"
WITH_LOOP = "tests/unit/agents/board/web/test_streaming.py::test_a_client_resumes_after_its_last_event"


def test_an_event_loop_can_run_after_tests_of_the_browser() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", WITH_BROWSER, WITH_LOOP]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
