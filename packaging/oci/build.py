#!/usr/bin/env python3
"""Writes an OCI image layout without a daemon, a base image or rights: the binary, what it links, and nothing else.

Usage: build.py --binary FILE --out DIR [--models DIR] [--sbom FILE]

Layers, oldest first, so that what seldom changes is seldom sent:
  1. the C library's files that the binary asks for, as they lie on the machine that builds, with their copyright files; none for a static binary
  2. models (--models): a folder as `fitment model import` leaves it
  3. the binary, the configuration, the user
There is no shell, no package manager and no other program. The same inputs, SOURCE_DATE_EPOCH and Python version give the same digests. Needs
`ldd` and, for the names of the packages in layer 1, `dpkg`.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH") or subprocess.check_output(["git", "-C", ROOT, "log", "-1", "--format=%ct"]))
USER = 65532
MODELS = "usr/share/fitment/models"
ARCHITECTURES = {0x3E: "amd64", 0xB7: "arm64"}
CONFIG = b'# The daemon of this image; FITMENT_* variables win over it.\nlog_format = "json"\n'


class Layer:
    """A tar file whose entries have one time and no names of owners, in the order of their paths."""

    def __init__(self):
        self.entries = {}

    def folder(self, path, mode=0o755, owner=0):
        parent = str(pathlib.PurePosixPath(path).parent)
        if parent != "." and parent not in self.entries:
            self.folder(parent)
        entry = tarfile.TarInfo(f"{path}/")
        entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, mode, owner, owner
        self.entries[path] = (entry, None)

    def file(self, path, content, mode=0o644):
        """`content`: bytes, or a path."""
        parent = str(pathlib.PurePosixPath(path).parent)
        if parent not in self.entries:
            self.folder(parent)
        entry = tarfile.TarInfo(path)
        entry.mode = mode
        entry.size = len(content) if isinstance(content, bytes) else content.stat().st_size
        self.entries[path] = (entry, content)

    def link(self, path, target):
        entry = tarfile.TarInfo(path)
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, target, 0o777
        self.entries[path] = (entry, None)

    def write(self, blobs):
        """Puts the layer, compressed, into the folder of blobs; its descriptor, and the digest of what is in it uncompressed."""
        scratch = blobs / ".layer"
        with scratch.open("wb") as plain, tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path in sorted(self.entries):
                entry, content = self.entries[path]
                entry.mtime = EPOCH
                if content is None:
                    tar.addfile(entry)
                else:
                    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as data:
                        tar.addfile(entry, data)
        packed = blobs / ".packed"
        with scratch.open("rb") as plain, packed.open("wb") as target:
            with gzip.GzipFile(filename="", fileobj=target, mode="wb", compresslevel=6, mtime=0) as zipped:
                shutil.copyfileobj(plain, zipped, 1 << 20)
        diff = digest(scratch)
        scratch.unlink()
        size, name = packed.stat().st_size, digest(packed)
        packed.rename(blobs / name)
        return {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": f"sha256:{name}", "size": size}, f"sha256:{diff}"


def digest(path):
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def blob(blobs, media_type, value):
    """Puts a document into the folder of blobs; its descriptor."""
    data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    name = hashlib.sha256(data).hexdigest()
    (blobs / name).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{name}", "size": len(data)}


def linked(binary):
    """Where the loader finds what the binary asks for: path as it is asked for -> file. Empty for a static binary."""
    answer = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False)
    if "statically linked" in answer.stdout or "not a dynamic executable" in answer.stderr:
        return {}
    answer.check_returncode()
    found = re.findall(r"(?:=> )?(/\S+) \(0x", answer.stdout)
    return {path: pathlib.Path(path).resolve() for path in found}


def libraries(binary):
    """The layer of the C library, or none, and the packages that its files are of."""
    files, layer, packages = linked(binary), Layer(), {}
    for asked, file in sorted(files.items()):
        # Folders are merged, as in Debian since 12: /lib is a link to usr/lib.
        layer.file("usr" + re.sub("^/usr", "", asked), file.read_bytes(), 0o755)
        owner = None
        for path in (str(file), re.sub("^/usr", "", str(file))):
            owner = owner or subprocess.run(["dpkg", "-S", path], capture_output=True, text=True, check=False).stdout.split(":")[0]
        if owner and owner not in packages:
            shown = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", owner], capture_output=True, text=True, check=True)
            packages[owner] = shown.stdout
            notice = pathlib.Path(f"/usr/share/doc/{owner}/copyright")
            if notice.exists():
                layer.file(f"usr/share/doc/{owner}/copyright", notice.read_bytes())
    for name in ("lib", "lib64"):
        if f"usr/{name}" in layer.entries:
            layer.link(name, f"usr/{name}")
    return (layer if files else None), packages


def models(folder):
    layer = Layer()
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        if file.is_file() and not any(part.startswith(".") or part.endswith(".lock") for part in inside.parts):
            layer.file(f"{MODELS}/{inside.as_posix()}", file)
    return layer


def program(binary, sbom):
    layer = Layer()
    layer.file("usr/bin/fitment", binary, 0o755)
    layer.file("etc/passwd", f"fitment:x:{USER}:{USER}::/var/lib/fitment:/nologin\n".encode())
    layer.file("etc/group", f"fitment:x:{USER}:\n".encode())
    layer.file("etc/fitment/fitment.toml", CONFIG)
    for name in ("LICENSE-APACHE", "LICENSE-MIT"):
        layer.file(f"usr/share/doc/fitment/{name}", ROOT / name)
    if sbom:
        layer.file("usr/share/doc/fitment/fitment.cdx.json", sbom)
    layer.folder(MODELS)
    layer.folder("var/lib/fitment", 0o750, USER)
    layer.folder("tmp", 0o1777)
    return layer


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", type=pathlib.Path, required=True)
    arguments.add_argument("--out", type=pathlib.Path, required=True, help="a folder that is not there yet")
    arguments.add_argument("--models", type=pathlib.Path)
    arguments.add_argument("--sbom", type=pathlib.Path)
    given = arguments.parse_args()

    given.binary = given.binary.resolve()
    header = given.binary.open("rb").read(20)
    architecture = ARCHITECTURES[int.from_bytes(header[18:20], "little")]
    version = subprocess.check_output([given.binary, "--version"], text=True).split()[1]
    blobs = given.out / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    base, packages = libraries(given.binary)
    layers = [
        (base, "the C library: " + ", ".join(f"{name} {release}" for name, release in sorted(packages.items()))),
        (models(given.models) if given.models else None, "models"),
        (program(given.binary, given.sbom), "fitment and its configuration"),
    ]
    written = [(*layer.write(blobs), what) for layer, what in layers if layer]
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(EPOCH))
    config = blob(blobs, "application/vnd.oci.image.config.v1+json", {
        "created": created,
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": f"{USER}:{USER}",
            "ExposedPorts": {"7411/tcp": {}, "9464/tcp": {}},
            "Env": [
                "PATH=/usr/bin", "HOME=/var/lib/fitment",
                "FITMENT_DATA_DIR=/var/lib/fitment/data", f"FITMENT_MODELS_DIR=/{MODELS}", "MALLOC_ARENA_MAX=2",
            ],
            "Entrypoint": ["/usr/bin/fitment"],
            "Cmd": ["serve", "--config", "/etc/fitment/fitment.toml"],
            "Volumes": {"/var/lib/fitment": {}},
            "WorkingDir": "/var/lib/fitment",
            "StopSignal": "SIGTERM",
        },
        "rootfs": {"type": "layers", "diff_ids": [diff for _, diff, _ in written]},
        "history": [{"created": created, "created_by": f"packaging/oci: {what}"} for _, _, what in written],
    })
    manifest = blob(blobs, "application/vnd.oci.image.manifest.v1+json", {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [descriptor for descriptor, _, _ in written],
        "annotations": {
            "org.opencontainers.image.title": "fitment",
            "org.opencontainers.image.version": version,
            "org.opencontainers.image.created": created,
            "org.opencontainers.image.licenses": "Apache-2.0 OR MIT",
        },
    })
    manifest["platform"] = {"architecture": architecture, "os": "linux"}
    manifest["annotations"] = {"org.opencontainers.image.ref.name": version}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest]}
    (given.out / "index.json").write_text(json.dumps(index, sort_keys=True), encoding="utf-8")
    (given.out / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}', encoding="utf-8")
    for descriptor, _, what in written:
        print(f"{descriptor['size']:>12}  {what}")
    print(f"{given.out}:{version} {manifest['digest']}")


if __name__ == "__main__":
    main()
