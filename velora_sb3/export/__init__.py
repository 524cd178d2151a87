"""Policies that leave the training machine: ONNX and C, one step with an explicit state."""

from velora_sb3._normalization import ObservationStatistics
from velora_sb3.export.onnx_policy import OnnxPolicy
from velora_sb3.export.to_c import export_c
from velora_sb3.export.to_onnx import export_onnx

__all__ = ["ObservationStatistics", "OnnxPolicy", "export_c", "export_onnx"]
