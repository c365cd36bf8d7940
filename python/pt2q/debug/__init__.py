"""Finding the layers that lose accuracy: ``sqnr_report``, the numeric debugger it is built on, pictures."""

from pt2q.ao.quantization.pt2e._numeric_debugger import (
    NodeAccuracySummary,
    NodeSourceDebugInfo,
    OutputLogger,
    QuantizationComparisonResult,
    compare_results,
    extract_results_from_loggers,
    generate_numeric_debug_handle,
    prepare_for_propagation_comparison,
)
from pt2q.debug._plots import plot_bars, plot_graphs, plot_observers, plot_sqnr
from pt2q.debug._report import LayerAccuracy, SqnrReport, sqnr_report

__all__ = [
    "LayerAccuracy",
    "NodeAccuracySummary",
    "NodeSourceDebugInfo",
    "OutputLogger",
    "QuantizationComparisonResult",
    "SqnrReport",
    "compare_results",
    "extract_results_from_loggers",
    "generate_numeric_debug_handle",
    "plot_bars",
    "plot_graphs",
    "plot_observers",
    "plot_sqnr",
    "prepare_for_propagation_comparison",
    "sqnr_report",
]
