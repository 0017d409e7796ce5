"""Every environment variable that pe_training reads, typed, with its default. Nobody else reads the environment."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

SAMPLES = Path(__file__).parent / "samples"


class Settings(BaseSettings):
    """Where state lives and where inputs are found. Set two URLs to move storage to a server; nothing else changes."""

    model_config = SettingsConfigDict(env_prefix="PE_", frozen=True, extra="ignore", env_ignore_empty=True)

    home: Path = Field(default=Path(".pe"), description="folder for all state that is not moved elsewhere by a URL")
    artifacts_url: str = Field(default="", description="fsspec URL of the artifact store; default file://$PE_HOME/artifacts")
    artifacts_behind_url: str | None = Field(
        default=None, description="fsspec URL of a store that is read where the first lacks an artifact, and never written"
    )
    database_url: str = Field(default="", description="SQLAlchemy URL of the registry; default SQLite in PE_HOME")
    dagster_home: Path | None = Field(
        default=None, validation_alias="DAGSTER_HOME", description="Dagster's own state; default $PE_HOME/dagster"
    )
    releases: Path | None = Field(default=None, description="folder of dataset releases to watch; default $PE_HOME/releases")
    releases_url: str | None = Field(
        default=None, description="fsspec URL of a folder of dataset releases to watch too, such as s3://bucket/releases"
    )
    manifests: Path | None = Field(default=None, description="folder of manifests to watch; default $PE_HOME/manifests")
    policies: Path | None = Field(default=None, description="folder of promotion policies; default: those shipped")
    release_policy: Path | None = Field(
        default=None, description="file that says what a dataset release may hold; default: the one shipped"
    )
    suites: Path | None = Field(default=None, description="folder of evaluation suites; default: those shipped")
    canary: Path | None = Field(
        default=None, description="file of prompts that a model answers before a stage moves; default: the one shipped"
    )
    rates: Path | None = Field(default=None, description="file of prices; default: the one shipped")
    image_digest: str | None = Field(default=None, description="digest of the container image that this runs in, noted with every attempt")
    signing_key: Path | None = Field(
        default=None, description="file of the private key (PEM, elliptic curve) that new models are signed with"
    )
    trusted_keys: Path | None = Field(
        default=None, description="file or folder of public keys (*.pem), of which one must have signed a model before it is loaded"
    )
    people: Path | None = Field(
        default=None, description="file of who may speak in which role, and the keys or logins that prove who speaks; without it nobody may"
    )
    llm_judge_url: SecretStr | None = Field(
        default=None, description="URL up to /v1 of the OpenAI-compatible endpoint that replies are sent to where a manifest asks for it"
    )
    llm_judge_key: SecretStr | None = Field(default=None, description="key for that endpoint, where it wants one")
    actor: str = Field(default="", description="who acts, for the audit trail; default: the login name")

    @cached_property
    def root(self) -> Path:
        """PE_HOME as an absolute path."""
        return self.home.expanduser().absolute()

    @cached_property
    def artifacts(self) -> str:
        """URL of the artifact store."""
        return self.artifacts_url or f"file://{self.root / 'artifacts'}"

    @cached_property
    def database(self) -> str:
        """URL of the registry."""
        return self.database_url or f"sqlite:///{self.root / 'registry.sqlite'}"

    @cached_property
    def dagster(self) -> Path:
        """Dagster's home."""
        return (self.dagster_home or self.root / "dagster").absolute()

    @cached_property
    def release_inbox(self) -> Path:
        """Folder whose releases the sensor accepts by itself."""
        return self.releases or self.root / "releases"

    @cached_property
    def release_folders(self) -> list[Path]:
        """Folders whose subfolders are dataset releases: the shipped samples, then the watched one."""
        return [SAMPLES / "releases", self.release_inbox]

    @cached_property
    def manifest_folder(self) -> Path:
        """Folder whose YAML files the manifest sensor watches."""
        return self.manifests or self.root / "manifests"

    @cached_property
    def policy_folder(self) -> Path:
        """Folder of promotion policies, one YAML file each."""
        return self.policies or SAMPLES / "policies"

    @cached_property
    def release_policy_file(self) -> Path:
        """What a dataset release may hold."""
        return self.release_policy or SAMPLES / "release_policy.yaml"

    @cached_property
    def suite_folder(self) -> Path:
        """Folder of evaluation suites, one subfolder each."""
        return self.suites or SAMPLES / "suites"

    @cached_property
    def canary_file(self) -> Path:
        """Prompts that a model answers before a stage moves to it."""
        return self.canary or SAMPLES / "canary.yaml"

    @cached_property
    def rates_file(self) -> Path:
        """File of dated prices."""
        return self.rates or SAMPLES / "rates.yaml"

    def run_folder(self, identifier: str) -> Path:
        """Working folder of one run or evaluation: progress feed and log. Nothing here is evidence."""
        return self.root / "runs" / identifier

    def report_page(self, identifier: str) -> Path:
        """Where the page of a decision, a dataset version or a refused release is laid out for people."""
        return self.root / "reports" / f"{identifier}.html"

    def child_environment(self) -> dict[str, str]:
        """Variables that make a child process see the same state, as absolute values."""
        given: dict[str, str | Path | SecretStr | None] = {
            "PE_HOME": self.root, "PE_ARTIFACTS_URL": self.artifacts,
            "PE_ARTIFACTS_BEHIND_URL": self.artifacts_behind_url, "PE_DATABASE_URL": self.database, "DAGSTER_HOME": self.dagster,
            "PE_RELEASES": self.releases, "PE_RELEASES_URL": self.releases_url, "PE_MANIFESTS": self.manifests,
            "PE_POLICIES": self.policies, "PE_RELEASE_POLICY": self.release_policy,
            "PE_SUITES": self.suites, "PE_CANARY": self.canary, "PE_RATES": self.rates,
            "PE_SIGNING_KEY": self.signing_key, "PE_TRUSTED_KEYS": self.trusted_keys,
            "PE_PEOPLE": self.people,
            "PE_LLM_JUDGE_URL": self.llm_judge_url, "PE_LLM_JUDGE_KEY": self.llm_judge_key,
            "PE_IMAGE_DIGEST": self.image_digest, "PE_ACTOR": self.actor,
        }  # fmt: skip
        return {name: _plain(value) for name, value in given.items() if value}

    @cached_property
    def who(self) -> str:
        """Who acts, for the audit trail."""
        return self.actor or getpass.getuser()


def _plain(value: str | Path | SecretStr) -> str:
    """As an environment variable holds it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value.absolute() if isinstance(value, Path) else value)


# What a child process may see of its caller: where programs are, which devices, and the credentials of a mirror and of S3.
PASSED_ON = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "PYTHONPATH", "CUDA_VISIBLE_DEVICES", "HF_HOME",
    "GOMP_SPINCOUNT", "WANDB_API_KEY", "WANDB_BASE_URL",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_CA_BUNDLE",
)  # fmt: skip


# What every working process gets, whoever starts it: no network, no telemetry, and the same bits on a GPU.
QUIET = {
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1",
    "WANDB_ERROR_REPORTING": "false", "TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}  # fmt: skip


# How long a thread of OpenMP spins for the next piece of work before it sleeps. By default it is so long that two trainings side by side on
# two cores take six times as long as one alone; with this they take 2.6 times as long, and one alone takes no longer than before.
NEIGHBOURLY = {"GOMP_SPINCOUNT": "10000"}


def be_quiet() -> None:
    """Take :data:`QUIET` and :data:`NEIGHBOURLY` into this process's own environment, before the libraries that read it are imported."""
    os.environ.update({name: value for name, value in NEIGHBOURLY.items() if name not in os.environ} | QUIET)


def environment_of_a_part() -> dict[str, str]:
    """This process's own environment, for a process that does a part of its work; what Dagster told this one is not for it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DAGSTER_PIPES_")}


def inherited(names: Iterable[str] = PASSED_ON) -> dict[str, str]:
    """Those of the caller's environment variables that are set."""
    return {name: os.environ[name] for name in names if name in os.environ}
