#!/bin/sh
# Remove from site-packages what serving never loads; debug symbols too. `trim.sh /opt/venv/lib/python3.11/site-packages`
# A new version of a package may need another list: `make test-image` serves forecasts with what is left.
set -eu
cd "$1"
rm -rf pyarrow/libarrow_flight* pyarrow/_flight* pyarrow/libarrow_python_flight* pyarrow/libarrow_s3* pyarrow/_s3fs* \
    onnx/backend/test onnxruntime/transformers onnxruntime/quantization onnxruntime/tools onnxruntime/datasets \
    onnxruntime/capi/libonnxruntime.so.* # for C; the module for Python has the runtime inside
# The services that the product asks: S3, and what credentials come from.
find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name signin \
    -exec rm -r {} +
find . -type d \( -name tests -o -name include -o -name __pycache__ \) -prune -exec rm -r {} +
find . -type f \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.pyi' -o -name '*.h' -o -name '*.cc' \) -delete
# Libraries in *.libs were patched when their wheels were made, and must stay as they are.
find . -type f -name '*.so*' ! -path '*.libs/*' -exec strip --strip-unneeded {} +
