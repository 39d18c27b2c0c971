# SPDX-License-Identifier: BSD-3-Clause
"""`fastclip bench`: the same work by fastclip, by its peers and by plain loops over the same memory, in turn."""
