#!/usr/bin/env bash
# Everything that is checked and measured on a GPU, with programs that were built before.
# usage: xtask/cuda/gpu.sh FOLDER [LOG [CASE:PRECISION...]]
# FOLDER holds `kd`, `bench` and the test programs kd_core, kd_data and kd_models, from
#   xtask/cuda/cuda.sh build --release -p kd-cli --features cuda
#   xtask/cuda/cuda.sh build --release -p kd-suite --bench kd --features cuda
#   xtask/cuda/cuda.sh test --release --no-run -p kd-core -p kd-data -p kd-models --features cuda
# and python3 has PyTorch, whose CUDA libraries are used. Prints a short table; all output goes to
# the folder LOG. Without cases all are timed, which takes a quarter of an hour.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "$1" && pwd)
log=${2:-gpu-log}
mkdir -p "$log"
libraries=$(python3 -c 'import nvidia, glob; print(":".join(d for p in nvidia.__path__ for d in glob.glob(p + "/*/lib")))')
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader

# check NAME COMMAND...: whether it ends well, and in how many seconds.
check() {
    local name=$1 start=$SECONDS result=ok
    shift
    "$@" >"$log/$name.log" 2>&1 || result=FAILED
    printf '%-28s %-6s %4d s\n' "$name" "$result" $((SECONDS - start))
}

# smoke SUITE: whether its smallest preset gives the same weights twice.
smoke() {
    local run
    for run in first second; do
        "$bin/kd" run "$here/../suites/$1.toml" --preset smoke --synthetic --device cuda \
            --out "$log/$1-$run" || return
    done
    diff <(weights "$log/$1-first") <(weights "$log/$1-second")
}

# Digests of all weights in a folder.
weights() { (cd "$1" && find . -name '*.safetensors' -exec sha256sum {} + | sort); }

# bench CASE PRECISION: a step's median in kd and in PyTorch, eager and compiled, in turns.
bench() {
    local case=$1 precision=$2 round tf32=
    [ "$precision" = tf32 ] && tf32=yes
    for round in 1 2; do
        "$bin/bench" --case "$case" --device cuda ${tf32:+--tf32} --json
        python3 "$here/../peer/gpu.py" --case "$case" --mode "$precision"
    done >"$log/$case-$precision.json" 2>"$log/$case-$precision.log"
    python3 "$here/../peer/gpu.py" --case "$case" --mode "$precision" --compile \
        >>"$log/$case-$precision.json" 2>>"$log/$case-$precision.log"
    python3 - "$case" "$precision" "$log/$case-$precision.json" <<'END'
import json, statistics, sys
rows = [json.loads(line) for line in open(sys.argv[3]) if line.startswith("{")]
median = lambda keep: statistics.median([r["median_ms"] for r in rows if keep(r)] or [float("nan")])
ours, eager = median(lambda r: "torch" not in r), median(lambda r: r.get("compile") is False)
compiled = median(lambda r: r.get("compile") is True)
print(f"{sys.argv[1]:<22} {sys.argv[2]:<5} kd {ours:8.3f} ms  torch {eager:8.3f} ({ours / eager:.2f}x)"
      f"  compiled {compiled:8.3f} ({ours / compiled:.2f}x)")
END
}

check operations "$bin/kd_core" cuda_tests
check batches "$bin/kd_data" a_gpu
check networks "$bin/kd_models" a_gpu
check memcheck compute-sanitizer --error-exitcode 1 "$bin/kd_core" cuda_tests --test-threads 1
# Without the convolutions, whose kernels are not ours and take minutes.
check racecheck compute-sanitizer --tool racecheck --error-exitcode 1 "$bin/kd_core" \
    cuda_tests::{batch_norms,linear,pooling,objectives,counts,optimizers} --test-threads 1
check mnist smoke mnist
check cifar10 smoke cifar10
cases=("${@:3}")
if [ ${#cases[@]} -eq 0 ]; then
    for case in resnet18 resnet20 papernot-mnist papernot-cifar10 teacher student30 student300; do
        cases+=("$case-step:f32" "$case-step:tf32")
    done
fi
for case in "${cases[@]}"; do
    bench "${case%:*}" "${case#*:}"
done
