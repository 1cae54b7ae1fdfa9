"""How the contracts judge a component."""

import pytest

from frcnn_core.plugin import conformance


@pytest.fixture
def failures():
    """Run a contract, or some of its checks, and return the reason of each that failed."""

    def failures(contract: type, *only: str) -> dict[str, str]:
        checks = [name for name in dir(contract) if name.startswith("test_")]
        assert set(only) <= set(checks)
        left_out = {name: None for name in checks if only and name not in only}
        outcomes = []
        conformance.run(
            lambda: type("TestIt", (contract,), left_out),
            started=lambda check: None,
            finished=outcomes.append,
        )
        assert outcomes, "nothing was checked"
        return {one.check.sentence: one.reason for one in outcomes if one.result == "failed"}

    return failures
