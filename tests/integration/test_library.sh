#!/usr/bin/env bash
# test_library.sh BUILD: the library as another program meets it: installed under a prefix, found by
# pkg-config, examples/ask.c compiled against it. It answers with the built-in student; then the
# loop: corrections go up, a round, the next answer is of version 1, with the cloud's parameters.
source "$(dirname "$(readlink -f "$0")")/edge.sh"
root=$(readlink -f "$here/../..")
asking=0

ask_end() {
    if [ "$asking" -ne 0 ]; then kill -9 "$asking" 2>/dev/null || true; fi
    edge_cleanup
}
trap ask_end EXIT

# ---- installing and compiling ----

for component in lib dev models; do
    cmake --install "$bin" --prefix "$work/prefix" --component "$component" >/dev/null ||
        die "cmake --install of $component"
done
PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name cdcca-edge.pc)")
export PKG_CONFIG_PATH
LD_LIBRARY_PATH=$(dirname "$(find "$work/prefix" -name libcdcca-edge.so.0)")
export LD_LIBRARY_PATH
read -ra flags < <(pkg-config --define-variable=prefix="$work/prefix" --cflags --libs cdcca-edge)
if grep -q '^CDCCA_SANITIZE:BOOL=ON' "$bin/CMakeCache.txt"; then
    flags+=(-fsanitize=address,undefined)
fi
"${CC:-cc}" -std=c11 -Wall -Wextra -Werror "$root/examples/ask.c" "${flags[@]}" -o "$work/ask" ||
    die "examples/ask.c does not compile"
echo 'int main(void) { return 0; }' | "${CC:-cc}" -x c++ -fsyntax-only -Wall -Werror \
    -include cdcca/cdcca.h "${flags[@]}" - 2>/dev/null || die "cdcca.h is no C++"
exported=$(nm -D --defined-only "$LD_LIBRARY_PATH/libcdcca-edge.so.0" |
    awk '$2 == "T" && $3 !~ /^cdcca_[a-z_]*@@CDCCA_EDGE_0$/')
[ -z "$exported" ] || die "the library shows more than its own functions: $exported"

# ---- the built-in student ----

"$bin/cdcca-model" generate-world world:source --count 2 --seed 3 --out "$work/world" \
    >"$work/answer" 2>&1 || die "generate-world"
questions() { jq -r '"'"$work/world"'/\(.image) \(.question)"' "$work/world/questions.jsonl"; }
questions | "$work/ask" "$work/prefix/share/cdcca/models/student" "$work/alone" >"$work/lines" ||
    die "ask with the built-in student"
expect "answers" "$(grep -cE '^[a-z0-9 ]+ \(version 0, entropy [0-9.]+\)$' "$work/lines")" \
    "$(questions | wc -l)"

# ---- the loop ----

lines() { grep -c . "$work/answers" || true; }
answers_are() { [ "$(lines)" -ge "$1" ]; }
uploads_are() { [ "$(curl -sS "$url/tokens" | jq '[.uploads[].instances] | add')" = "$1" ]; }
newest_is() { # VERSION: asks, and looks at which version answered
    local before
    before=$(lines)
    questions | head -n 1 >&9
    until_true "another answer" answers_are $((before + 1))
    tail -n 1 "$work/answers" | grep -q "(version $1,"
}

cloud_start
mkfifo "$work/questions"
"$work/ask" "$work/student" "$work/edge" "$url" <"$work/questions" >"$work/answers" \
    2>>"$work/edge.log" &
asking=$!
exec 9>"$work/questions"
for word in red two yes blue; do
    questions | head -n 1 >&9
    echo "= $word" >&9
done
until_true "four corrections are at the cloud" uploads_are 4
for word in red two yes blue; do
    grep -rqaE "correction[^,}]*$word" "$work/data" || die "the correction '$word' is not at the cloud"
done
distill '{"steps": 4, "holdout": 0}' >/dev/null
until_true "version 1 answers" newest_is 1
exec 9>&-
wait "$asking" || die "exit status $? of ask"
asking=0
same_parameters edge 1
passed
