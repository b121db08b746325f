"""The ctypes binding of the CUDA driver, against the recorded driver."""

import ctypes
from pathlib import Path

import pytest

from engine.runtime import cuda_driver
from engine.runtime.cuda_driver import Cuda, CudaError, DeviceInfo, driver_version, open_driver
from tests.engine.recorded_gpu import GREATEST_PRIORITY, LEAST_PRIORITY, RecordedDriver


def test_a_machine_without_a_driver_is_told_what_to_install() -> None:
    with pytest.raises(CudaError, match=r"no usable CUDA driver.*install NVIDIA's driver.*cpu"):
        open_driver("libcuda-of-nobody.so.1")


def test_a_library_that_is_no_cuda_driver_is_refused() -> None:
    with pytest.raises(CudaError, match=r"no usable CUDA driver.*cuInit"):
        open_driver("libc.so.6")


def test_every_declared_call_is_used_and_every_used_call_is_declared() -> None:
    source = Path(cuda_driver.__file__).read_text()
    body = source[source.index("class Cuda:") :]
    for name in cuda_driver._SIGNATURES:
        assert f'"{name}"' in body or f".{name}(" in body, name
    used = {word for word in body.replace('"', " ").split() if word.startswith("cu")}
    assert {word for word in used if word.isalnum() and word[2].isupper()} <= set(
        cuda_driver._SIGNATURES
    )


def test_a_machine_without_a_gpu_is_told() -> None:
    with pytest.raises(CudaError, match=r"GPU 0 asked, the CUDA driver lists 0; .*container"):
        Cuda(RecordedDriver(device_count=0))


def test_the_gpu_tells_name_capability_and_driver(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "version").write_text("580.1.2\n")
    monkeypatch.setattr(cuda_driver, "_VERSION_FILES", (tmp_path / "no", tmp_path / "version"))
    info = Cuda(RecordedDriver()).info()
    assert info == DeviceInfo("Recorded GPU", "9.0", "580.1.2 cuda 13000")


def test_a_driver_version_that_is_not_told_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_driver, "_VERSION_FILES", ())
    assert driver_version() == "unknown"


def test_urgent_streams_get_the_greatest_priority() -> None:
    driver = RecordedDriver()
    cuda = Cuda(driver)
    urgent, other = cuda.create_stream(urgent=True), cuda.create_stream(urgent=False)
    assert driver.priorities == {urgent: GREATEST_PRIORITY, other: LEAST_PRIORITY}


def test_memory_is_kept_and_reused_without_waiting_for_the_other_stream() -> None:
    driver = RecordedDriver()
    Cuda(driver)
    assert driver.pool == {3: 0, 4: 2**64 - 1}


def test_copies_keep_the_order_of_their_stream() -> None:
    driver = RecordedDriver()
    cuda = Cuda(driver)
    stream = cuda.create_stream(urgent=True)
    host = cuda.allocate_host(8)
    device = cuda.allocate_async(8, stream)
    ctypes.memmove(host, b"ABCDEFGH", 8)
    cuda.copy_async(device, host, 8, stream)
    cuda.copy_async(host, device + 0, 4, stream)
    assert bytes(driver.memory(device, 8)) != b"ABCDEFGH", "nothing runs before it is waited for"
    cuda.synchronize(stream)
    assert bytes(driver.memory(device, 8)) == b"ABCDEFGH"


def test_a_failed_call_is_named_with_the_drivers_own_word() -> None:
    driver = RecordedDriver()
    driver.capture_fails = True
    cuda = Cuda(driver)
    stream = cuda.create_stream(urgent=True)
    cuda.begin_capture(stream)
    with pytest.raises(CudaError, match=r"cuStreamEndCapture failed: CUDA_ERROR_STREAM.*\(901\)"):
        cuda.end_capture(stream)


def test_out_of_memory_can_be_told_from_other_failures() -> None:
    cuda = Cuda(RecordedDriver(memory_limit=10))
    with pytest.raises(CudaError, match="out of memory in cuMemAllocAsync") as caught:
        cuda.allocate_async(11, cuda.create_stream(urgent=True))
    assert caught.value.is_out_of_memory
