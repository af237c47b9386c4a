#!/bin/sh
# Installs medvqa into a virtual environment made from nothing. The Dockerfile runs it, and so does
# tests/test_container.py, where there is no container engine.
#
#   install.sh SOURCE VENV [cpu|cuda]
#
# SOURCE is the folder with pyproject.toml and constraints.txt. cpu takes PyTorch without CUDA,
# from the index TORCH_INDEX; set that to nothing where pip finds such wheels by itself.
set -eu

source=$1
venv=$2
variant=${3:-cpu}
extras=deidentify,login,ocr,pacs,postgresql,retrieval,serve

case $variant in
cpu) index=${TORCH_INDEX-https://download.pytorch.org/whl/cpu} ;;
cuda) index= ;;
*)
    echo "install.sh: the variant is cpu or cuda, not $variant" >&2
    exit 2
    ;;
esac

python3 -m venv "$venv"
# The local version (2.13.0+cpu) is newer than the plain one to pip, so that the extra index decides.
"$venv/bin/python" -m pip install --no-cache-dir --disable-pip-version-check --no-compile \
    ${index:+--extra-index-url "$index"} --constraint "$source/constraints.txt" "$source[$extras]"
"$venv/bin/medvqa" --version
