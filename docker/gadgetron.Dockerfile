# Gadgetron with ChiStream's chains beside its own.
#
#   docker build -f docker/gadgetron.Dockerfile -t chistream-gadgetron .
#   docker run --rm -p 127.0.0.1:9002:9002 chistream-gadgetron
#
# GADGETRON is an image of theirs, with the conda environment that they all have.
ARG BASE=docker.io/library/debian:bookworm-slim
ARG GADGETRON=ghcr.io/gadgetron/gadgetron/ubuntu22.04_rt_nocuda:latest

FROM ${BASE} AS wheel
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates python3-venv
COPY docker/build.lock pyproject.toml README.md LICENSE /src/
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r /src/build.lock
COPY gadgets /src/gadgets
COPY simulator /src/simulator
RUN /opt/build/bin/pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir /wheel /src

FROM ${GADGETRON}
ARG CONDA=/opt/conda/envs/gadgetron
# Their images run as this user, and go to root nowhere.
ARG USER=1000
ARG CPU=x86-64-v3
USER root
COPY --from=wheel /wheel /tmp/wheel
COPY docker/warm ${CONDA}/bin/chistream-warm
# What Gadgetron itself was built against stays as it is: numpy, ismrmrd, h5py.
RUN ${CONDA}/bin/pip list --format=freeze | grep -iE '^(numpy|scipy|ismrmrd|h5py|pyfftw|gadgetron)==' \
        > /tmp/kept.txt \
    && ${CONDA}/bin/pip install --no-cache-dir --constraint /tmp/kept.txt /tmp/wheel/*.whl \
    && ${CONDA}/bin/chistream gadgetron install ${CONDA}/share/gadgetron/config \
    && NUMBA_CPU_NAME=${CPU} NUMBA_CPU_FEATURES= ${CONDA}/bin/chistream-warm /opt/chistream/cache \
    && chown -R ${USER} /opt/chistream/cache \
    && rm -rf /tmp/wheel /tmp/kept.txt
ENV NUMBA_CACHE_DIR=/opt/chistream/cache/kernels \
    MPLCONFIGDIR=/opt/chistream/cache/matplotlib \
    CHISTREAM_WISDOM=/opt/chistream/cache/wisdom \
    NUMBA_CPU_NAME=${CPU} \
    NUMBA_CPU_FEATURES=
USER ${USER}
EXPOSE 9002
