#!/usr/bin/env bash
# Tries the whole loop on this machine's GPU in 8 minutes at most, and prints a table of what passed.
#
#     scripts/gpu_check.sh             # sets .venv up first where it is not there, which takes minutes more
#     scripts/gpu_check.sh --dry-run   # prints the commands, and runs none
#
# Everything is written into a new folder under runs/. Without a GPU the same commands run on the processor, as far as
# 8 minutes go; that checks the commands, and says nothing of a GPU. Exit code: 0 where nothing failed, 1 where a
# step failed, or ran out of time on a GPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

LIMIT_S=${LIMIT_S:-480}
BIN=${BIN:-.venv/bin}
OUT=${OUT:-runs/gpu-check-$(date -u +%Y%m%dT%H%M%SZ)}
DRY=no
case "${1:-}" in
  "") ;;
  --dry-run) DRY=yes ;;
  *) echo "usage: scripts/gpu_check.sh [--dry-run]" >&2; exit 2 ;;
esac

optimize=("$BIN/optimize" recipes/qa.py --trials 8 -o "$OUT/best.json" --runs "$OUT")
distill=("$BIN/distill" --from-prompt "$OUT/best.json" -o "$OUT/distilled" -k 1 --epochs 1 --no-gold-arm)
serve=("$BIN/python" -m scripts.ask_variants "$OUT/best.json" "$OUT/distilled")

GPU=yes
nvidia-smi -L >/dev/null 2>&1 || GPU=no

say_machine() {
  if [ "$GPU" = yes ]; then
    nvidia-smi --query-gpu=index,name,driver_version,memory.total --format=csv,noheader | sed 's/^/GPU /'
  else
    echo "no NVIDIA GPU here: the commands run on the processor, which says nothing of a GPU"
  fi
}

table=()
failed=no
# step NAME COMMAND…: runs it within what is left of the time.
step() {
  local name=$1 left=$((LIMIT_S - SECONDS)) began=$SECONDS code=0 result
  shift
  if [ "$failed" != no ] || [ "$left" -le 0 ]; then
    table+=("$(printf '%-10s %-12s' "$name" 'not begun')")
    [ "$failed" != no ] || failed=time
    return
  fi
  echo "--- $name: at most $left s, log $OUT/$name.log"
  timeout --kill-after=30 --signal=INT "$left" "$@" >"$OUT/$name.log" 2>&1 || code=$?
  case $code in
    0) result=passed ;;
    124 | 137) result='out of time'; failed=time ;;
    *) result="failed ($code)"; failed=yes; tail -n 15 "$OUT/$name.log" ;;
  esac
  table+=("$(printf '%-10s %-12s %4d s' "$name" "$result" $((SECONDS - began)))")
}

say_machine
if [ "$DRY" = yes ]; then
  [ -x "$BIN/python" ] || echo "make .venv/.installed"
  for line in "${optimize[*]@Q}" "${distill[*]@Q}" "${serve[*]@Q}"; do
    echo "timeout $LIMIT_S $line"
  done
  exit 0
fi
[ -x "$BIN/python" ] || make .venv/.installed
mkdir -p "$OUT"
SECONDS=0
step optimize "${optimize[@]}"
step distill "${distill[@]}"
step serve "${serve[@]}"

echo
say_machine
"$BIN/python" -c 'from importlib.metadata import packages_distributions, version
names = packages_distributions().get("vllm", []); print("vLLM", ", ".join(f"{n} {version(n)}" for n in names) or "none")' || true
# What was derived of the machine and the model.
for log in "$OUT"/*/logs/engine-0.log; do
  if [ -f "$log" ]; then
    echo "engine $(grep -m 1 '^--- ' "$log" | grep -oE -- '--(dtype|gpu-memory-utilization|[a-z]+-parallel-size|max-model-len) [^ ]+' | tr '\n' ' ')"
  fi
done
printf '%s\n' "${table[@]}"
if [ "$failed" = time ] && [ "$GPU" = no ]; then
  echo "On a processor $LIMIT_S s do not reach the end; what is listed as passed ran."
  exit 0
fi
[ "$failed" = no ]
