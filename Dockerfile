# CPU:  docker build -t saliencymixplus .
# CUDA: docker build -t saliencymixplus:cuda --build-arg BASE=nvidia/cuda:13.0.1-base-ubuntu24.04 .
#       docker run --gpus all …
ARG BASE=python:3.12-slim
FROM ${BASE}

# git: the commit that a run records. make: the README's two commands. libgl, libglib: OpenCV.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        git make python3 python3-venv libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home researcher \
    && install --directory --owner researcher --group researcher /home/researcher/saliencymixplus
USER researcher
WORKDIR /home/researcher/saliencymixplus

# The environment before the sources: it is rebuilt only when pyproject.toml or the lock file changes.
COPY --chown=researcher pyproject.toml requirements.lock Makefile README.md LICENSE ./
COPY --chown=researcher src/saliencymixplus/version.py src/saliencymixplus/__init__.py src/saliencymixplus/
RUN make .venv/installed

COPY --chown=researcher . .
# Files that are newer only by their date must not trigger another installation.
RUN touch .venv/installed
CMD ["make", "repro"]
