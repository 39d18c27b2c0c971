# SPDX-License-Identifier: BSD-3-Clause
import os

import pytest
import torch

without = os.environ.get("FASTCLIP_TEST_WITHOUT_EXCHANGE")
if without:  # as with a PyTorch whose tensors have no exchange API
    from fastclip._config import backend

    backend.register_tensor_type = lambda kind: False  # before fastclip.torch is imported
if without == "2.5":  # nor has this one get_total_norm
    from fastclip.torch import _stock

    _stock.get_total_norm, _stock.clip_grads_with_norm_ = _stock._get_total_norm, _stock._clip_grads_with_norm_

# TensorFlow without its log, its GPU and its second set of kernels.
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def one_thread_for_torch():
    """Keep torch's own norm the same from call to call."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["C functions", "capsules"])
def exchange(request):
    """How TensorFlow's tensors are read and made; by capsules where a TensorFlow lacks the functions."""
    from tensorflowcases import CAPSULES, register

    from fastclip.tensorflow._c_functions import NAMES, c_functions

    addresses = c_functions()
    assert len(addresses) == len(NAMES)
    register(*CAPSULES, addresses if request.param == "C functions" else [])
    yield
    register(*CAPSULES, addresses)
