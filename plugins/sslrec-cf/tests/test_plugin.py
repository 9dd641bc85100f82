"""What the plugin offers, and that offering it costs no torch."""

from __future__ import annotations

from sslrec_core.testing import PluginContract


class TestPlugin(PluginContract):
    distribution = "sslrec-cf"
    at_least = 17
