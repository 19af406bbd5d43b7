"""Makes the bill of materials twice, and holds it to CycloneDX's schema and to what it says about itself.

Usage: sbom.py; needs cyclonedx-python-lib (packaging/tests/requirements.txt) and cargo with the sources of all dependencies.
"""

import json
import pathlib
import subprocess
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "sbom.py"


def main():
    once, again = (subprocess.check_output([sys.executable, SCRIPT], text=True) for _ in range(2))
    assert once == again, "made twice, it differs"
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(once)
    assert error is None, error
    bill = json.loads(once)
    components = bill["components"]
    references = {component["bom-ref"] for component in components} | {bill["metadata"]["component"]["bom-ref"]}
    assert len(references) == len(components) + 1, "a crate comes twice"
    assert {used for entry in bill["dependencies"] for used in [entry["ref"], *entry["dependsOn"]]} == references
    for component in components:
        own = component["name"].startswith("fitment-")
        assert own or component["hashes"], f"{component['bom-ref']} has no digest"
        assert component["licenses"], f"{component['bom-ref']} has no licence"
    print(f"valid CycloneDX 1.6: {len(components)} crates, each with a licence")


if __name__ == "__main__":
    main()
