#!/usr/bin/env bash
# Tries a hosted model with your own key, for some 100 calls: a search on 60 rows, then the gate. Prints what the endpoint
# takes, how it was asked, and what it cost in tokens. With a model at usual prices that is a few US cents.
#
#     OPENAI_API_KEY=…  scripts/api_check.sh openai MODEL
#     ANTHROPIC_API_KEY=… scripts/api_check.sh anthropic MODEL     (gemini, bedrock, vertex_ai, azure alike)
#     MISTRAL_API_KEY=… scripts/api_check.sh mistral MODEL
#     MY_KEY=…          scripts/api_check.sh https://HOST/v1 MODEL MY_KEY
#
# Everything is written into a new folder under runs/. Exit code: 0 where both passed, else that of the command that failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

BIN=${BIN:-.venv/bin}
OUT=${OUT:-runs/api-check-$(date -u +%Y%m%dT%H%M%SZ)}
usage() {
  echo "usage: scripts/api_check.sh openai|mistral|openrouter|deepseek|anthropic|gemini|bedrock|vertex_ai|azure|URL MODEL [KEY_VARIABLE]" >&2
  exit 2
}

[ $# -ge 2 ] || usage
url="" key=""
case $1 in
  openai) url=https://api.openai.com/v1 key=OPENAI_API_KEY ;;
  mistral) url=https://api.mistral.ai/v1 key=MISTRAL_API_KEY ;;
  openrouter) url=https://openrouter.ai/api/v1 key=OPENROUTER_API_KEY ;;
  deepseek) url=https://api.deepseek.com/v1 key=DEEPSEEK_API_KEY ;;
  anthropic | gemini | bedrock | vertex_ai | azure) ;; # asked by name; a missing key is told by the command itself
  http*) url=$1 key=OPENAI_API_KEY ;;
  *) usage ;;
esac
model=$2 key=${3:-$key}
if [ -n "$key" ] && [ -z "${!key:-}" ]; then
  echo "There is no key in $key." >&2
  echo "Set it: export $key=…" >&2
  exit 2
fi

mkdir -p "$OUT"
head -n 60 recipes/data/sentiment.jsonl >"$OUT/rows.jsonl"
at=(-p "data=$OUT/rows.jsonl")
if [ -n "$url" ]; then at+=(--base-url "$url" --model "$model"); else at+=(--model "$1/$model"); fi
if [ -n "$key" ]; then at+=(--api-key-env "$key"); fi
"$BIN/optimize" recipes/sentiment.py "${at[@]}" --folds 0 --trials 2 --proposals 0 --no-dspy --no-rivals --window 8 \
  -o "$OUT/best.json" --runs "$OUT"
"$BIN/optimize" recipes/sentiment.py --gate "$OUT/best.json" "${at[@]}" --window 8 --max-drop 1

"$BIN/python" - "$OUT/best.json" <<'PYTHON'
import json, sys

best = json.load(open(sys.argv[1], encoding="utf-8"))
decoding, spent = best["prompt"]["decoding"], best["search"]["spent"]
print(f"\n{best['model']['name']}: the search and its gate passed")
print("sent there:", json.dumps({"layout": best["prompt"]["layout"], **decoding["dialect"]}))
for role, cost in spent["roles"].items():
    print(f"{role}: {cost['calls']} calls, {cost['prompt_tokens']} prompt tokens, {cost['completion_tokens']} reply tokens")
PYTHON
