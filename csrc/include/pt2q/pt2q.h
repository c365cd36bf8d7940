// Everything in the public C++ API.
#pragma once

#include "pt2q/dtype.h"
#include "pt2q/error.h"
#include "pt2q/graph.h"
#include "pt2q/graph_module.h"
#include "pt2q/io.h"
#include "pt2q/log.h"
#include "pt2q/observer.h"
#include "pt2q/op.h"
#include "pt2q/pt2e.h"
#include "pt2q/quantized.h"
#include "pt2q/quantizer.h"
#include "pt2q/quantizers.h"
#include "pt2q/runtime.h"
#include "pt2q/tensor.h"
#include "pt2q/trace.h"
#include "pt2q/version.h"
