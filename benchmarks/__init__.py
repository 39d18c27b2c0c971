# SPDX-License-Identifier: BSD-3-Clause
"""The ruler: named workloads, the memory limit, the peers, and the table of bars."""
