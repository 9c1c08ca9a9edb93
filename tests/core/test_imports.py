"""Which module may import which, read from the sources; and what a light import loads."""

import ast
import graphlib
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import sparsight

ROOT = Path(__file__).parents[2]
CORE, TORCH, PLUGIN, PAPER = (
    ROOT / "core/sparsight",
    ROOT / "adapters/sparsight_torch",
    ROOT / "tb_plugin/sparsight_tensorboard",
    ROOT / "reproduction/sparsight_paper",
)

# A folder imports only what stands before it, and of what others made only what stands beside it.
ORDER = {
    "errors": set(),
    "warning": set(),
    "globs": set(),
    "system": {"psutil", "pynvml", "tensorboard"},
    "maths": {"numpy"},
    "schema": {"numpy"},
    "measure": {"numpy"},
    "probes": {"numpy", "PIL"},
    "graph": {"numpy", "onnx", "google"},
    "inference": {"numpy", "onnx", "onnxruntime"},
    "runs": {"numpy", "tensorboard", "google_crc32c", "google"},
    "diagnosis": {"numpy"},
    "analysis": {"numpy", "onnx"},
    "figures": {"numpy", "matplotlib", "PIL"},
    "cli": {"typer", "rich"},
    "__main__": set(),
}
OF_CORE = {
    TORCH: {"errors", "warning", "globs", "system", "maths", "schema", "measure", "probes", "runs"},
    PLUGIN: {"errors", "maths", "schema"},
    PAPER: {"errors", "system", "maths", "schema", "measure", "runs", "figures"},
}
NEVER = {
    TORCH: {"onnxruntime", "sparsight_paper"},
    PLUGIN: {"onnx", "onnxruntime", "torch", "sparsight_paper"},
    PAPER: {"onnx", "onnxruntime"},
}


def imported(path: Path, package: Path) -> set[str]:
    """Absolute names of all modules that a source imports, wherever in the file."""
    found = set()
    place = path.relative_to(package.parent).with_suffix("").parts
    place = place[:-1] if place[-1] == "__init__" else place
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            up = len(place) - node.level + (path.name == "__init__.py")
            start = place[:up] if node.level else ()
            base = ".".join([*start, *([node.module] if node.module else [])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found - {""}


def sources(package: Path) -> list[Path]:
    return sorted(package.rglob("*.py"))


def of_core(names: set[str]) -> set[str]:
    parts = [name.split(".") for name in names if name.split(".")[0] == "sparsight"]
    return {part[1] for part in parts if len(part) > 1}


def others(names: set[str]) -> set[str]:
    top = {name.split(".")[0] for name in names}
    return top - set(sys.stdlib_module_names) - {"sparsight"}


@pytest.mark.parametrize("path", sources(CORE), ids=lambda path: str(path.relative_to(CORE)))
def test_core_imports_in_one_direction(path):
    place = path.relative_to(CORE)
    folder = place.parts[0].removesuffix(".py")
    names = imported(path, CORE)
    if folder == "__init__":
        assert others(names) == set()
        return
    assert folder in ORDER, f"{folder} has no place in the order of imports"
    earlier = set(list(ORDER)[: list(ORDER).index(folder)])
    within = {folder} if len(place.parts) > 1 else set()
    assert of_core(names) <= earlier | within | {"__version__"}
    assert others(names) <= ORDER[folder]


@pytest.mark.parametrize("package", [CORE, *OF_CORE], ids=lambda package: package.name)
def test_no_file_imports_what_imports_it(package):
    def module(path: Path) -> str:
        return ".".join(path.relative_to(package.parent).with_suffix("").parts)

    files = {module(path): path for path in sources(package) if path.name != "__init__.py"}
    imports = {name: imported(path, package) for name, path in files.items()}
    of_files = {name: {n for n in found if n in files} for name, found in imports.items()}
    graphlib.TopologicalSorter(of_files).prepare()  # raises CycleError


@pytest.mark.parametrize("package", OF_CORE, ids=lambda package: package.name)
def test_the_others_use_of_core_only_what_they_may(package):
    for path in sources(package):
        names = imported(path, package)
        assert of_core(names) <= OF_CORE[package], path
        assert not others(names) & NEVER[package], path


@pytest.mark.parametrize("package", [CORE, *OF_CORE], ids=lambda package: package.name)
def test_every_folder_is_a_package_that_the_wheel_holds(package):
    """hatchling and ruff leave out what git ignores."""
    folders = {path.parent for path in sources(package)}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []
    command = ["git", "check-ignore", "--no-index", *map(str, sources(package))]
    ignored = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if ignored.returncode == 128:
        pytest.skip("not a git checkout")
    assert ignored.stdout.splitlines() == []


def test_onnx_runtime_is_imported_in_one_place():
    users = [
        path
        for package in (CORE, *OF_CORE)
        for path in sources(package)
        if "onnxruntime" in others(imported(path, package))
    ]
    assert users == [CORE / "inference/runtime.py"]


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in run.stdout.splitlines()[-1].split()}


def test_import_sparsight_stays_light():
    heavy = {"onnx", "onnxruntime", "tensorboard", "torch", "typer", "rich", "PIL", "google"}
    heavy |= {"matplotlib"}
    assert not loaded_by("import sparsight") & heavy
    assert not loaded_by("import sparsight; sparsight.rfav_entropy") & heavy


def test_opening_models_does_not_load_the_reference_evaluation():
    code = "import sys, sparsight.analysis.analyze; print('onnx.reference' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_help_stays_light():
    assert not loaded_by("from sparsight.cli import main; main(['--help'])") & {
        "onnx",
        "onnxruntime",
        "tensorboard",
        "torch",
        "matplotlib",
        "numpy",
        "PIL",
    }


def test_the_front_door_is_honest():
    for name in sparsight.__all__:
        assert getattr(sparsight, name) is not None
    assert dir(sparsight) == sorted(sparsight.__all__)
    assert set(sparsight.__all__) == {*sparsight._HOMES, "SparsightError"}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sparsight.nothing


@pytest.mark.parametrize("path", sources(CORE), ids=lambda path: str(path.relative_to(CORE)))
def test_what_a_module_offers_is_there(path):
    if path.name == "__main__.py":
        return
    parts = path.relative_to(CORE.parent).with_suffix("").parts
    module = importlib.import_module(".".join(p for p in parts if p != "__init__"))
    for name in getattr(module, "__all__", ()):
        assert hasattr(module, name)
