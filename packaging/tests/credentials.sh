#!/usr/bin/env bash
# Makes what a guarded daemon and its clients need, for tests: a CA, a certificate for localhost, an API key, and an access document.
#
# Usage: credentials.sh FITMENT DIR [UID]
#   UID  a user of the Unix socket that is the operator too; default: who runs this
# Needs openssl. DIR then holds ca.crt, tls.crt, tls.key, access.yaml, and api-key, the key of `ops`, who may everything. The key ends in 20 days.
set -euo pipefail

fitment=$(realpath "$1") uid=${3:-$(id -u)}
mkdir -p "$2"
cd "$2"

key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
openssl req -x509 "${key[@]}" -days 3 -subj "/CN=a CA for tests" -addext "keyUsage=critical,keyCertSign" -keyout ca.key -out ca.crt 2>/dev/null
openssl req -new "${key[@]}" -subj "/CN=fitment" -keyout tls.key -out tls.csr 2>/dev/null
openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out tls.crt 2>/dev/null \
    -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n')
rm tls.csr

"$fitment" access key create --principal ops --expires-days 20 --json >key.json
python3 - "$uid" <<'END'
import json, sys
made = json.load(open("key.json", encoding="utf-8"))
with open("api-key", "w", encoding="utf-8") as file:
    print(made["key"], file=file)
document = {
    "version": 1,
    "principals": [
        {"id": "ops", "grants": [{"role": "administrator"}]},
        {"id": "caller", "grants": [{"role": "reader"}], "limits": {"requests_per_second": 1, "burst": 2}},
    ],
    "api_keys": [made["entry"]],
    "unix": [{"uid": int(sys.argv[1]), "principal": "ops"}],
}
with open("access.yaml", "w", encoding="utf-8") as file:
    json.dump(document, file, indent=2)
END
rm key.json
chmod 600 tls.key ca.key api-key
"$fitment" access check access.yaml >/dev/null
