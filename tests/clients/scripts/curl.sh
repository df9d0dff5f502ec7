#!/usr/bin/env bash
# curl against the server at CACHE_URL with CACHE_TOKEN. Ends at the first answer that is not as expected.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "curl: $*" >&2
    echo "head: $(cat "$work/head" 2>/dev/null)" >&2
    echo "body: $(head -c 500 "$work/body" 2>/dev/null)" >&2
    exit 1
}

# ask EXPECTED_STATUS PATH [option of curl]...
ask() {
    local expected=$1 path=$2 status
    shift 2
    status=$(curl --silent --show-error --max-time 60 --header "X-API-Token: $CACHE_TOKEN" \
        --dump-header "$work/head" --output "$work/body" --write-out '%{http_code}' "$@" "$CACHE_URL$path") ||
        fail "$path: curl exits with $?"
    [ "$status" = "$expected" ] || fail "$path: $status instead of $expected"
}

field() {
    sed -n "s/^$1: \(.*\)\r$/\1/Ip" "$work/head"
}

body_is() {
    [ "$(cat "$work/body")" = "$1" ] || fail "the body is not $1"
}

body_has() {
    grep -qF -- "$1" "$work/body" || fail "the body has no $1"
}

json=(--header 'Content-Type: application/json')

json_values() {
    ask 201 /v1/kv/curl --request PUT "${json[@]}" --data '{"value":{"a":[1,2.50]},"ttlSec":600}'
    body_has '"expiresAt"'
    ask 200 '/v1/kv/curl?includeMeta=true'
    body_has '{"a":[1,2.50]}'
    body_has '"ttlSec"'
    local etag
    etag=$(field ETag)
    ask 304 /v1/kv/curl --header "If-None-Match: $etag"
    ask 200 /v1/kv/curl --request PUT "${json[@]}" --header "If-Match: $etag" --data '{"value":2}'
    ask 409 /v1/kv/curl --request PUT "${json[@]}" --header "If-Match: $etag" --data '{"value":3}'
    ask 200 /v1/kv/curl --head
    [ "$(field Content-Length)" -gt 0 ] || fail "HEAD without a length"
    ask 204 /v1/kv/curl --request DELETE
    ask 404 /v1/kv/curl
}

raw_values() {
    printf 'line\nand \0 and \377' >"$work/sent"
    ask 201 /v1/kv/curl-raw --request PUT --header 'Content-Type: image/x-test' --data-binary "@$work/sent"
    ask 200 '/v1/kv/curl-raw?raw=true'
    cmp "$work/sent" "$work/body" || fail "raw bytes come back changed"
    [ "$(field Content-Type)" = image/x-test ] || fail "the media type is lost"
    ask 200 /v1/kv/curl-raw
    body_has "\"$(base64 --wrap 0 "$work/sent")\""
}

# curl encodes nothing by itself: the first is sent as the bytes that it is.
keys() {
    ask 201 '/v1/kv/schl%C3%BCssel%2F%E9%8D%B5%20%F0%9F%94%91' --request PUT "${json[@]}" --data '{"value":"ключ"}'
    ask 200 '/v1/kv/schl%c3%bcssel%2f%e9%8d%b5%20%f0%9f%94%91?raw=true'
    body_is ключ
    ask 200 /v1/kv/batch/get "${json[@]}" --data '{"keys":["schlüssel/鍵 🔑","not there"]}'
    body_has '"misses":["not there"]'
    body_has '"value":"ключ"'
}

batches_and_counters() {
    ask 200 /v1/kv/batch/set "${json[@]}" --data '{"items":[{"key":"c1","value":1},{"key":"c2","value":[2]},{"key":"","value":3}]}'
    body_has '"status":"error"'
    ask 200 /v1/kv/batch/get "${json[@]}" --data '{"keys":["c2","c3","c1"]}'
    body_has '"misses":["c3"]'
    ask 200 /v1/kv/incr "${json[@]}" --data '{"key":"c1","delta":9223372036854775806}'
    body_has '"value":9223372036854775807'
    ask 400 /v1/kv/incr "${json[@]}" --data '{"key":"c1","delta":1}'
    ask 200 /v1/kv/batch/delete "${json[@]}" --data '{"keys":["c1","c2","c3"]}'
    body_has '"missing"'
}

# Above 1 MiB curl sends Expect: 100-continue by itself; it is asked to here, whatever its version does.
large_values() {
    local i
    head -c $((LARGE_MIB * 1048576)) /dev/urandom >"$work/large"
    for i in 1 2 3; do
        ask 201 "/v1/kv/curl-large-$i" --request PUT --header 'Content-Type: application/octet-stream' \
            --header 'Expect: 100-continue' --data-binary "@$work/large"
        grep -q '^HTTP/1.1 100 ' "$work/head" || fail "no 100 Continue"
        ask 200 "/v1/kv/curl-large-$i" --header 'Accept: application/octet-stream'
        cmp "$work/large" "$work/body" || fail "$LARGE_MIB MiB come back changed"
        ask 204 "/v1/kv/curl-large-$i" --request DELETE
    done
    { printf '{"value":"' && base64 --wrap 0 "$work/large" && printf '"}'; } >"$work/json"
    base64 --wrap 0 "$work/large" >"$work/text"
    for i in 1 2 3; do
        ask 201 "/v1/kv/curl-json-$i" --request PUT "${json[@]}" --data-binary "@$work/json"
        ask 200 "/v1/kv/curl-json-$i?raw=true"
        cmp "$work/text" "$work/body" || fail "a long string comes back changed"
        ask 204 "/v1/kv/curl-json-$i" --request DELETE
    done
}

chunked_uploads() {
    head -c 3000000 /dev/urandom >"$work/sent"
    # From a pipe curl cannot know the length.
    ask 201 /v1/kv/curl-chunked --header 'Content-Type: application/octet-stream' --upload-file - < <(cat "$work/sent")
    ask 200 '/v1/kv/curl-chunked?raw=true'
    cmp "$work/sent" "$work/body" || fail "a chunked upload comes back changed"
    ask 413 /v1/kv/curl-too-large --request PUT --header 'Content-Type: application/octet-stream' \
        --header 'Expect: 100-continue' --header 'Content-Length: 99999999999' --data-binary x
    ask 401 /v1/kv/curl-chunked --request PUT --header 'X-API-Token: wrong' --data x
}

keep_alive() {
    local url="$CACHE_URL/v1/kv/curl-alive" connects
    connects=$(curl --silent --show-error --write-out '%{num_connects}\n' --output /dev/null \
        --request PUT "${json[@]}" --header "X-API-Token: $CACHE_TOKEN" --data '{"value":1}' "$url" \
        --next --silent --write-out '%{num_connects}\n' --output /dev/null "$url" \
        --next --silent --write-out '%{num_connects}\n' --output /dev/null --head "$url" \
        --next --silent --write-out '%{num_connects}\n' --output /dev/null --request DELETE \
        --header "X-API-Token: $CACHE_TOKEN" "$url" \
        --next --silent --write-out '%{num_connects}\n' --output /dev/null "$url")
    [ "$(echo $connects)" = '1 0 0 0 0' ] || fail "new connections for five requests: $connects"
}

json_values
raw_values
keys
batches_and_counters
keep_alive
chunked_uploads
large_values
echo "curl: everything as expected"
