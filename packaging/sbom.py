#!/usr/bin/env python3
"""Writes the bill of materials of the binary itself: CycloneDX 1.6, one component for each crate that is linked into it.

Usage: sbom.py [--binary FILE] [--target TRIPLE] [--features LIST] > fitment.cdx.json

What is linked is what `cargo tree` resolves for this target and these features, less what runs only while building: `cargo metadata`, which
most tools ask, also names optional crates that nothing switches on. Digests are those of the lock file; nothing is fetched. The same
sources, target, features and binary give the same bytes: there is no time in it, and its serial number is made of its content.
"""

import argparse
import hashlib
import json
import pathlib
import subprocess
import tomllib
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[1]


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def linked(target, features):
    """Each linked package's (name, version), and for each those that it uses."""
    tree = cargo(
        "tree", "--locked", "--package", "fitment", "--edges", "normal,no-proc-macro", "--target", target, "--features", features,
        "--prefix", "depth", "--format", " {p}", "--no-dedupe",
    )
    uses, path = {}, []
    for line in tree.splitlines():
        if not line:
            continue
        depth, name, version = line.split(" ")[:3]
        package = (name, version.removeprefix("v"))
        path[int(depth):] = [package]
        uses.setdefault(package, set())
        if len(path) > 1:
            uses[path[-2]].add(package)
    return path[0], uses


def spdx(expression):
    """The licence of a manifest as an SPDX expression: an older form writes OR as a slash."""
    return " OR ".join(part.strip() for part in expression.split("/"))


def reference(package):
    return f"pkg:cargo/{package[0]}@{package[1]}"


def component(package, kind, described, digest):
    """One component, with what its manifest and the lock file say of it."""
    made = {"type": kind, "bom-ref": reference(package), "name": package[0], "version": package[1], "purl": reference(package)}
    if described.get("description"):
        made["description"] = " ".join(described["description"].split())
    if digest:
        made["hashes"] = [{"alg": "SHA-256", "content": digest}]
    if described.get("license"):
        made["licenses"] = [{"expression": spdx(described["license"])}]
    elif described.get("license_file"):
        made["licenses"] = [{"license": {"name": described["license_file"]}}]
    if described.get("repository"):
        made["externalReferences"] = [{"type": "vcs", "url": described["repository"]}]
    return made


def bill(target, features, binary):
    root, uses = linked(target, features)
    metadata = json.loads(cargo("metadata", "--locked", "--format-version", "1", "--filter-platform", target))
    described = {(package["name"], package["version"]): package for package in metadata["packages"]}
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text(encoding="utf-8"))
    digests = {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}

    subject = component(root, "application", described[root], None)
    if binary:
        subject["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(pathlib.Path(binary).read_bytes()).hexdigest()}]
    subject["properties"] = [{"name": "fitment:target", "value": target}, {"name": "fitment:features", "value": features}]
    content = {
        "metadata": {"component": subject, "lifecycles": [{"phase": "build"}]},
        "components": [component(package, "library", described[package], digests[package]) for package in sorted(uses) if package != root],
        "dependencies": [
            {"ref": reference(package), "dependsOn": [reference(used) for used in sorted(uses[package])]} for package in sorted(uses)
        ],
        # Every crate is named; Rust's standard library and, unless the target is a static one, the C library are linked besides.
        "compositions": [{"aggregate": "incomplete", "dependencies": [reference(root)]}],
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True))
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{serial}", "version": 1, **content}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", help="the file whose digest is noted")
    arguments.add_argument("--target", default="x86_64-unknown-linux-gnu")
    arguments.add_argument("--features", default="", help="features of the crate fitment, with commas")
    given = arguments.parse_args()
    print(json.dumps(bill(given.target, given.features, given.binary), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
