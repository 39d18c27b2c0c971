# SPDX-License-Identifier: BSD-3-Clause
"""TensorFlow without its log, its GPU and its second set of kernels."""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
