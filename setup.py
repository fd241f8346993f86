"""The packages of the wheel; pyproject.toml has all else, but cannot say that one of them lies in another folder."""

from setuptools import find_namespace_packages, setup

OURS = ("promptstill", "optimizer", "distill", "serving")

setup(
    # The recipes are a package inside promptstill: their math.py never stands where Python's own is looked for.
    packages=[
        *find_namespace_packages(include=[*OURS, *(f"{name}.*" for name in OURS)]),
        *("promptstill.recipes", "promptstill.recipes.data"),
    ],
    package_dir={"promptstill.recipes": "recipes"},
)
