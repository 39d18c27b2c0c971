# SPDX-License-Identifier: BSD-3-Clause
"""A record for people: on the terminal, as Markdown, as plots, and against another record."""
