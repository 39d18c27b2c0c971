# SPDX-License-Identifier: BSD-3-Clause
"""Programs that clip with torch's functions, trained as they are: by stock torch and by `fastclip.patch("torch")`."""
