#!/bin/sh
# The CPU path's tests on an emulated 64-bit ARM processor: NEON kernels, an ARM interpreter with its own packages.
#
#   tests/cpu/on_arm64.sh FOLDER [pytest's arguments]        FOLDER: filled on first use (1 GB), kept for the next
#   WHEEL=dist/umlite-...-aarch64.whl tests/cpu/on_arm64.sh FOLDER [...]     with the kernels of a wheel, no compiler
#
# Needs Debian or Ubuntu with qemu-user, gcc-aarch64-linux-gnu (not for a wheel), the package lists of arm64 (dpkg
# --add-architecture arm64; apt-get update), python3 with pip, and a network on first use. Allow an hour of one core: every
# instruction is translated.
set -eu
folder=$(mkdir -p "$1" && cd "$1" && pwd)
shift
checkout=$(cd "$(dirname "$0")/../.." && pwd)

if ! test -e "$folder/ready"; then
  mkdir -p "$folder/root" "$folder/site"
  python=$(apt-cache depends python3-minimal:arm64 | sed -n 's/.*\(python3\.[0-9]*\)-minimal.*/\1/p' | head -n 1)
  packages=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
    "lib$python-stdlib:arm64" "$python-minimal:arm64" libgomp1:arm64 libstdc++6:arm64 | grep '^[a-z].*:arm64$' | sort -u)
  (cd "$folder" && apt-get download $packages)
  for package in "$folder"/*.deb; do dpkg -x "$package" "$folder/root" && rm "$package"; done
  # A torch whose wheel for ARM brings no CUDA; what it asks for on this processor is left out.
  for group in '--no-deps torch==2.8.*' \
    'filelock typing-extensions sympy networkx jinja2 fsspec numpy<2.4 pytest hypothesis safetensors nibabel platformdirs' \
    'typer rich requests pillow connected-components-3d'; do
    python3 -m pip install --quiet --upgrade --target "$folder/site" --python-version "${python#python}" --only-binary=:all: \
      --platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 $group
  done

  # Programs that the tests start, and the compiler, which runs unemulated and cannot be asked what "native" is.
  echo "import sys; sys.executable = '$folder/python'" > "$folder/site/sitecustomize.py"
  printf '#!/bin/sh\nexec %s -L %s %s "$@"\n' "$(command -v qemu-aarch64)" "$folder/root" "$folder/root/usr/bin/$python" > "$folder/python"
  cat > "$folder/cc" << 'END'
#!/bin/sh
for argument do
  shift
  case "$argument" in -mcpu=native) argument=-mcpu=neoverse-n1 ;; esac
  set -- "$@" "$argument"
done
exec aarch64-linux-gnu-gcc "$@"
END
  chmod +x "$folder/python" "$folder/cc"
  touch "$folder/ready"
fi

cd "$checkout"
export UMLITE_CACHE="$folder/cache" PYTHONPATH="$folder/site" PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1
if test -n "${WHEEL:-}"; then
  rm -rf "$folder/wheel"
  python3 -m zipfile -e "$WHEEL" "$folder/wheel"
  unset CC
  export PATH=/nowhere PYTHONPATH="$folder/wheel:$folder/site" PYTHONSAFEPATH=1 # the wheel's package, not the checkout's
  set -- -o pythonpath=tests "${@:-tests/cpu}"
else
  export CC="$folder/cc"
fi
exec "$folder/python" -m pytest -p no:cacheprovider "${@:-tests/cpu}"
