#!/usr/bin/env bash
# Builds the image twice, has skopeo and umoci read it, and serves from what umoci unpacks.
#
# Usage: image.sh FITMENT MODELS; MODELS is a folder as `fitment model import` leaves it, and holds all-MiniLM-L6-v2.
# Needs root, skopeo, umoci, iproute2, openssl.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
fitment=$(realpath "$1") models=$(realpath "$2")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

strip -o fitment "$fitment"
"$here/../oci/build.py" --binary fitment --models "$models" --out once
"$here/../oci/build.py" --binary fitment --models "$models" --out again >again.log
diff -r once again
rm -r again
echo "built twice: the same bytes"

tag=$(./fitment --version | cut -d' ' -f2)
skopeo inspect "oci:once:$tag" --format '{{.Os}}/{{.Architecture}} {{len .Layers}} layers {{.Digest}}'
# Copying reads each blob against its digest.
skopeo copy --quiet "oci:once:$tag" "oci-archive:once.tar:$tag"
umoci stat --image "once:$tag" | head -n 5
umoci unpack --image "once:$tag" bundle
programs=$(find bundle/rootfs -type f -perm -u+x -not -path '*/lib*' -printf '/%P ')
[ "$programs" = "/usr/bin/fitment " ] || { echo "other programs: $programs" >&2; exit 1; }
if find bundle/rootfs -perm /6000 | grep .; then exit 1; fi

args=$(python3 -c 'import json; process = json.load(open("bundle/config.json"))["process"]; print(*process["env"], *process["args"])')
echo "runs: $args"
# What a runtime would set, but for the PATH, which starts the chroot; and the metrics, which the chart switches on.
read -ra variables <<<"${args%% /usr/bin/fitment*}"
serve() {
    env -i "PATH=$PATH" "${variables[@]:1}" FITMENT_METRICS__LISTEN=127.0.0.1:9464 "$@" \
        "$here/in_network_of_its_own.sh" "$here/serve_and_match.sh" bundle/rootfs 65532:65532 \
        /usr/bin/fitment serve --config /etc/fitment/fitment.toml
}
serve
# The same with TLS and an access document, where the chart mounts them and by the variables that it sets.
"$here/credentials.sh" fitment bundle/rootfs/guard
chown -R 65532:65532 bundle/rootfs/guard
serve GUARD=/guard FITMENT_TLS__CERTIFICATE=/guard/tls.crt FITMENT_TLS__KEY=/guard/tls.key FITMENT_ACCESS__FILE=/guard/access.yaml
