#!/usr/bin/env bash
# cargo with the feature `cuda`, on a machine that has no CUDA toolkit.
# usage: xtask/cuda/cuda.sh check|clippy|build|test|... --features cuda (any cargo arguments)
# check, clippy and doc need nothing of NVIDIA's. For the others nvcc is fetched once as Python
# wheels (105 MB) into target/. What is built loads the CUDA libraries when a GPU is opened, and so
# also starts where there are none; with a GPU it needs driver 580 or newer, and cuBLAS, cuDNN 9,
# cuRAND and NVRTC of CUDA 13 in the loader's path: those in PyTorch's wheels will do (see gpu.sh).
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
toolkit=13.0.2 # CUDA 13.0, as PyTorch's cu130 wheels
export CUDA_HOME=$root/target/cuda-$toolkit/nvidia/cu13
case ${1-} in
check | clippy | doc) # what the stand-in compiler writes must never reach a real build
    export CUDA_HOME=$root/target/cuda-none CARGO_TARGET_DIR=$root/target/cuda-check
    ;;
*)
    [ -x "$CUDA_HOME/bin/nvcc" ] || python3 -m pip install -q --no-compile --upgrade \
        --target "${CUDA_HOME%/nvidia/cu13}" "cuda-toolkit[nvcc,nvvm,crt,cudart,cccl]==$toolkit"
    ;;
esac
# cudarc and candle-kernels name these to the linker; nothing refers to them, so all are dropped.
mkdir -p "$CUDA_HOME/lib/stubs"
for l in cuda cudart nvrtc curand cublas cublasLt cudnn nccl; do
    [ -e "$CUDA_HOME/lib/stubs/lib$l.so" ] ||
        cc -shared -x c /dev/null -o "$CUDA_HOME/lib/stubs/lib$l.so"
done
export NVCC=$root/xtask/cuda/nvcc
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-80} # PTX: runs on this and every newer GPU
export CUDARC_CUDA_VERSION=13000
CUDAFORGE_THREADS=$(nproc)
# The flag makes cudarc load libraries at run time, candle's own choice (linking)
# notwithstanding; it must not reach build scripts, hence the explicit target.
export CUDAFORGE_THREADS CARGO_BUILD_TARGET=x86_64-unknown-linux-gnu
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS='--cfg feature="dynamic-loading"'
exec cargo "$@"
