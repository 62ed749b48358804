#!/usr/bin/env bash
# test_layers.sh: the written order between the folders, held by looking at the #include lines:
#   base <- wire <- {http, tensor <- mllm <- {task, learn}} <- {server, client}
# and each foreign library behind one file. Prints every line that breaks a rule.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
broken=0

# refuse WHAT PATTERN FOLDER...: no #include in these folders may match
refuse() {
    local what=$1 pattern=$2 found
    shift 2
    found=$(grep -rnE "^ *# *include [<\"]($pattern)" --include='*.[ch]' "$@" || true)
    [ -n "$found" ] || return 0
    printf '%s:\n%s\n' "$what" "$found"
    broken=1
}

# one_file HEADER FOLDER: at most one file includes it, and that lies in the folder
one_file() {
    local header=$1 folder=$2 files
    files=$(grep -rlE "^ *# *include [<\"]${header//./\\.}" --include='*.[ch]' \
        api model server client || true)
    [ "$(grep -c . <<<"$files")" -le 1 ] && [[ -z $files || $files == "$folder"/* ]] && return 0
    printf '%s belongs into one file of %s, not:\n%s\n' "$header" "$folder" "$files"
    broken=1
}

refuse "base includes nothing above it" "api/(wire|http)/|model/|server/|client/" api/base
refuse "wire includes base alone" "api/http/|model/|server/|client/" api/wire
refuse "http includes wire and base alone" "model/|server/|client/" api/http
refuse "tensor includes no model" "api/http/|model/(mllm|task|learn|tool)/|server/|client/" model/tensor
refuse "mllm includes tensor and below" "api/http/|model/(task|learn|tool)/|server/|client/" model/mllm
refuse "task includes mllm and below" "api/http/|model/(learn|tool)/|server/|client/" model/task
refuse "learn includes mllm and below" "api/http/|model/(task|tool)/|server/|client/" model/learn
refuse "the server knows no client" "client/|model/tool/" server
refuse "the client knows no server" "server/|model/tool/" client
refuse "jansson stays in api/wire" "jansson\.h" api/base api/http model server client
one_file nettle/sha2.h api/base
one_file microhttpd.h api/http
one_file gnutls/gnutls.h api/http
one_file gnutls/abstract.h api/http
one_file curl/curl.h client
one_file sqlite3.h server
one_file zstd.h api/wire
one_file png.h model/task
one_file jpeglib.h model/task
one_file pcre2.h model/mllm
one_file utf8proc.h model/mllm
exit "$broken"
