"""Field types that REST bodies and custom resources share: one validator, one description."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from backupexport_contract import rules
from backupexport_contract.rules import Rule, first_broken

CEL_KEY = "x-kubernetes-validations"


@dataclass(frozen=True, slots=True)
class Follows:
    """Annotation: the string keeps `rules`; its JSON schema says so to OpenAPI and to the CRD.

    `pattern` is all rules in one regular expression, for OpenAPI, whose readers have no CEL.
    """

    rules: tuple[Rule, ...]
    max_length: int
    pattern: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(schema) | {
            "minLength": 1,
            "maxLength": self.max_length,
            "pattern": f"^(?:{self.pattern})$",
            CEL_KEY: [{"rule": rule.cel, "message": rule.message} for rule in self.rules],
        }

    def _check(self, value: str) -> str:
        broken = first_broken(self.rules, value)
        if broken is not None:
            raise PydanticCustomError(broken.code, broken.message)
        return value


_STORAGE_SEGMENT = r"(?:\.?[A-Za-z0-9_-])+\.?"

ProjectId = Annotated[
    str, Follows(rules.PROJECT_ID, rules.PROJECT_ID_LENGTH, rules.PROJECT_ID[0].pattern)
]
StoragePath = Annotated[
    str,
    Follows(
        rules.STORAGE_PATH, rules.STORAGE_PATH_LENGTH, f"{_STORAGE_SEGMENT}(?:/{_STORAGE_SEGMENT})*"
    ),
]
EmailAddress = Annotated[str, Follows(rules.EMAIL, rules.EMAIL_LENGTH, rules.EMAIL_PATTERN)]

Pattern = Annotated[str, Follows(rules.PATTERN, rules.PATTERN_LENGTH, rules.PATTERN[-1].pattern)]
Patterns = Annotated[list[Pattern], Field(max_length=rules.MOST_PATTERNS)]

Recipient = Annotated[
    str, Follows(rules.RECIPIENT, rules.RECIPIENT_LENGTH, rules.RECIPIENT[-1].pattern)
]
Recipients = Annotated[list[Recipient], Field(max_length=rules.MOST_RECIPIENTS)]

Format = Literal["sql", "tar", "custom"]
Content = Literal["all", "schema", "data"]
Compression = Literal["zstd", "gzip"]
Seconds = Annotated[int, Field(ge=1, le=2**31 - 1)]
# What JSON's readers take for whole numbers without loss.
Bytes = Annotated[int, Field(ge=1, le=2**53 - 1)]
