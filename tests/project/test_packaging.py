"""What is installed is ours, all of it, and enough."""

import ast
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.project.tree import PACKAGES, PROJECT, ROOT, modules

IMPORTED_AS = {"pynacl": "nacl", "prometheus-client": "prometheus_client", "scikit-learn": "sklearn"}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_provides_a_package_of_ours(package: str) -> None:
    """`node` and `genesis` exist on the package index: it would be imported in place of ours."""
    providers = set(importlib.metadata.packages_distributions().get(package, []))

    assert providers <= {"foedus"}, f"pip uninstall {' '.join(providers - {'foedus'})}"


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_imported_is_what_is_seen_in_the_tree(package: str) -> None:
    spec = importlib.util.find_spec(package)

    assert spec is not None
    assert spec.origin == str(ROOT / package / "__init__.py")


def requirement_name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9_.-]", requirement)[0].lower()


def imported_by(path: Path) -> set[str]:
    found: set[str] = set()
    for part in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(part, ast.Import):
            found |= {name.name.split(".")[0] for name in part.names}
        elif isinstance(part, ast.ImportFrom) and part.module and not part.level:
            found.add(part.module.split(".")[0])
    return found


def test_every_library_that_is_imported_is_declared_and_the_other_way_round() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    needed = {requirement_name(requirement) for requirement in PROJECT["project"]["dependencies"]}
    optional = {
        requirement_name(requirement) for extra in ("sklearn", "torch", "privacy") for requirement in extras[extra]
    }
    declared = {IMPORTED_AS.get(name, name) for name in needed | optional}
    imported = {name for path in modules() for name in imported_by(path)} - set(PACKAGES) - sys.stdlib_module_names

    assert imported <= declared
    assert {IMPORTED_AS.get(name, name) for name in needed} <= imported


def test_the_demo_needs_none_of_the_extras() -> None:
    block = "import sys; sys.modules |= dict.fromkeys(('sklearn', 'torch', 'opacus', 'pandas'));"
    script = f"{block} from examples.heart import baselines; baselines.main()"

    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_every_module_the_patients_and_the_licence(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())

    assert {str(path.relative_to(ROOT)) for path in modules()} <= names
    assert "examples/heart/heart_disease_uci.csv" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_holds_nothing_but_the_packages(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}

    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_the_patients_are_found_where_the_wheel_is_installed(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from examples.heart import data; print(data.CSV)"
    script += "; print(len(data.load_sites()))"

    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert done.stdout.split() == [str(tmp_path / "examples/heart/heart_disease_uci.csv"), "4"]
