"""The CRD files are what the models say."""

import json
from pathlib import Path

import pytest
from backupexport_contract import crd_manifests, values_schema

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("file_name", crd_manifests.manifests())
def test_the_file_is_fresh(file_name: str) -> None:
    expected = crd_manifests.as_yaml(crd_manifests.manifests()[file_name])
    assert (ROOT / "crds" / file_name).read_text(encoding="utf-8") == expected, "run `make crds`"
    in_chart = ROOT / "charts/backupexport/files/crds" / file_name
    assert in_chart.resolve() == ROOT / "crds" / file_name, "the chart links to the one file"


def test_the_chart_s_schema_of_deliveries_is_fresh() -> None:
    text = (ROOT / values_schema.FILE).read_text(encoding="utf-8")
    assert values_schema.with_models(text) == text, "run `make crds`"


def test_what_the_chart_knows_of_deliveries_is_fresh() -> None:
    text = (ROOT / values_schema.KINDS_FILE).read_text(encoding="utf-8")
    assert text == values_schema.kinds_text(), "run `make crds`"


def test_a_schema_without_the_place_for_deliveries_is_refused() -> None:
    with pytest.raises(ValueError, match="no definition to write anew"):
        values_schema.with_models("{}")


def test_every_field_is_explained() -> None:
    for manifest in crd_manifests.manifests().values():
        schema = manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        for part in ("spec", "status"):
            for name, field in schema[part]["properties"].items():
                assert field.get("description"), f"{manifest['metadata']['name']} {part}.{name}"


def test_every_spec_field_but_cancel_is_immutable() -> None:
    crd = crd_manifests.manifests()["backupexports.yaml"]
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    guarded = {
        rule["message"].split()[0]
        for rule in spec["x-kubernetes-validations"]
        if "is immutable" in rule["message"]
    }
    assert guarded == set(spec["properties"]) - {"cancel"}


def test_names_of_a_secrets_keys_are_such_as_a_secret_may_have() -> None:
    crd = crd_manifests.manifests()["exporttargets.yaml"]
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    keys = spec["properties"]["keys"]["properties"]
    in_chart = json.loads((ROOT / values_schema.FILE).read_text(encoding="utf-8"))
    pattern = in_chart["definitions"]["secretKey"]["pattern"]
    assert {name: key.get("pattern") for name, key in keys.items()} == dict.fromkeys(keys, pattern)
